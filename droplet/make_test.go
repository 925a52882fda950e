package droplet

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dewpaas/dew/abi/image"
)

// program is a small static ELF with a PVH note, whose text is mark.
func program(mark string) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0x3000)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 2)
	le.PutUint16(b[18:], 62)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], 0x401000)
	le.PutUint64(b[32:], 64)
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 3)
	le.PutUint16(b[58:], 64)
	ph := func(i int, kind, flags uint32, off, filesz, memsz uint64) {
		p := b[64+56*i:]
		le.PutUint32(p, kind)
		le.PutUint32(p[4:], flags)
		le.PutUint64(p[8:], off)
		le.PutUint64(p[16:], 0x400000+off)
		le.PutUint64(p[24:], 0x400000+off)
		le.PutUint64(p[32:], filesz)
		le.PutUint64(p[40:], memsz)
		le.PutUint64(p[48:], 4096)
	}
	ph(0, 4, 4, 0xf80, 24, 24)
	ph(1, 1, 5, 0, 0x2000, 0x2000)
	ph(2, 1, 6, 0x2000, 0x1000, 0x9000)
	copy(b[0xf80:], "\x04\x00\x00\x00\x08\x00\x00\x00\x12\x00\x00\x00Xen\x00")
	le.PutUint64(b[0xf90:], 0x400900)
	copy(b[0x1000:], mark)
	return b
}

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
