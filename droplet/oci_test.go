package droplet

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

func sample(t testing.TB) *artifact {
	d, err := Open(exported(t))
	check(t, err)
	d.Close()
	return d.artifact
}

func TestManifestsMustAgree(t *testing.T) {
	a := sample(t)
	for name, c := range map[string][2]string{
		"another type":        {TypeDroplet, "application/vnd.oci.image.config.v1+json"},
		"layer of no type":    {TypeSBOM, "text/plain"},
		"image as program":    {TypeImage, TypeProgram},
		"two SBOMs":           {TypeProvenance, TypeSBOM},
		"compressed":          {TypeImage, TypeImage + "+gzip"},
		"sha512":              {`"digest":"sha256:`, `"digest":"sha512:`},
		"version":             {`"schemaVersion":2`, `"schemaVersion":1`},
		"another program":     {a.manifest.Programs[0].SHA256, strings.Repeat("0", 64)},
		"another size":        {`"size":12288`, `"size":12289`},
		"negative size":       {`"size":12288`, `"size":-1`},
		"no upper case":       {a.manifest.Image.SHA256, strings.ToUpper(a.manifest.Image.SHA256)},
		"more after the JSON": {`]}`, `]}{}`},
	} {
		raw := strings.Replace(string(a.raw), c[0], c[1], 1)
		if raw == string(a.raw) {
			t.Errorf("%s: changes nothing", name)
		}
		if got, err := parseArtifact([]byte(raw), a.config); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestManifestIsChecked(t *testing.T) {
	a := sample(t)
	for name, c := range map[string][2]string{
		"format":    {`"format":1`, `"format":2`},
		"kernel":    {`"kernel":"go"`, `"kernel":"osv"`},
		"contract":  {`"contract":1`, `"contract":99`},
		"order":     {`"name":"hello"`, `"name":"zebra"`},
		"workdir":   {`"workdir":"/app"`, `"workdir":"/app/.."`},
		"type":      {`"worker"`, `"wor ker"`},
		"digest":    {`"sha256":"`, `"sha256":"g`},
		"size":      {`"size":12288`, `"size":0`},
		"escapes":   {`"worker":"bin/work"`, `"worker":"bin/work \u001b[2J"`},
		"module":    {`"path":"golang.org/x/net"`, `"path":"golang.org\nx/net"`},
		"long":      {`"toolchain":"go1`, `"toolchain":"` + strings.Repeat("x", maxString) + `go1`},
		"no object": {`{`, `[`},
	} {
		config := strings.Replace(string(a.config), c[0], c[1], 1)
		if config == string(a.config) {
			t.Errorf("%s: changes nothing", name)
		}
		if m, err := parseManifest([]byte(config)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

// FuzzManifest: refused, or written again it says the same.
func FuzzManifest(f *testing.F) {
	f.Add(sample(f).config)
	f.Add([]byte(`{"format":1,"kernel":"go"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		once, err := json.Marshal(m)
		check(t, err)
		again, err := parseManifest(once)
		check(t, err)
		twice, err := json.Marshal(again)
		check(t, err)
		if !bytes.Equal(once, twice) {
			t.Fatalf("%s\n%s", once, twice)
		}
	})
}

// FuzzOpen: a file is refused, or what a store takes of it comes out as it was
// announced.
func FuzzOpen(f *testing.F) {
	b, err := os.ReadFile(exported(f))
	check(f, err)
	f.Add(b)
	f.Add(b[:4096])
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := dir + "/fuzz"
		check(t, os.WriteFile(path, b, 0o644))
		d, err := Open(path)
		if err != nil {
			if d != nil || !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		defer d.Close()
		kept, err := store(t).Import(d)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		for _, p := range kept.Manifest().Programs {
			file, err := kept.Program(p.Name)
			check(t, err)
			var got bytes.Buffer
			got.ReadFrom(file)
			file.Close()
			if sum(got.Bytes()) != p.SHA256 {
				t.Fatalf("%s has other bytes", p.Name)
			}
		}
	})
}
