package droplet

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dewpaas/dew/abi/image"
	"github.com/dewpaas/dew/droplet/droplettest"
)

func program(mark string) []byte { return droplettest.Program(mark) }

func files(t testing.TB, contents map[string]string) string {
	var sources []image.Source
	for name, text := range contents {
		sources = append(sources, image.Source{Path: name, Mode: image.ModeRegular | 0o644, Size: uint64(len(text)),
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }})
	}
	var b bytes.Buffer
	check(t, image.Write(&b, sources))
	return write(t, b.Bytes())
}

func write(t testing.TB, b []byte) string {
	path := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(path, b, 0o644))
	return path
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// spec is a droplet with two programs and a file.
func spec(t testing.TB) *Spec {
	return &Spec{
		Manifest: Manifest{Workdir: "/app", Toolchain: "go1.26.8", Processes: map[string]string{"web": "hello -port $PORT", "worker": "bin/work"},
			Modules: []Module{{Path: "example.com/hello"}, {Path: "golang.org/x/net", Version: "v0.1.0", Sum: "h1:abc="}}},
		Programs:   []ProgramFile{{"work", "example.com/hello/work", write(t, program("work"))}, {"hello", "example.com/hello", write(t, program("hello"))}},
		Image:      files(t, map[string]string{"app/public/index.html": "<p>hello"}),
		SBOM:       []byte(`{"bomFormat":"CycloneDX"}`),
		Provenance: []byte(`{"_type":"https://in-toto.io/Statement/v1"}`),
	}
}

func store(t testing.TB) *Store {
	s, err := OpenStore(t.TempDir())
	check(t, err)
	return s
}

// exported is a droplet as one file.
func exported(t testing.TB) string {
	d, err := store(t).Write(spec(t))
	check(t, err)
	path := filepath.Join(t.TempDir(), "app.dew")
	check(t, d.WriteFile(path))
	return path
}
