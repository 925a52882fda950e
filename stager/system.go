package stager

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/dewpaas/dew/abi/image"
)

// Workdir is where an app finds its files.
const Workdir = "/app"

// system are the files that every droplet has, besides what the library OS
// makes up (guest/proc): authorities, time zones, and the places where Cloud
// Foundry's apps expect to be.
func (b *Builder) system() ([]image.Source, error) {
	zones := filepath.Join(b.root.Dir, "lib", "time", "zoneinfo.zip")
	info, err := os.Stat(zones)
	if err != nil {
		return nil, fmt.Errorf("find the time zones of Go: %w", err)
	}
	roots := authorities()
	return []image.Source{
		{Path: "etc/ssl/certs/ca-certificates.crt", Mode: image.ModeRegular | 0o644, Size: uint64(len(roots)),
			Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(roots)), nil }},
		{Path: "usr/share/zoneinfo.zip", Mode: image.ModeRegular | 0o644, Size: uint64(info.Size()),
			Open: func() (io.ReadCloser, error) { return os.Open(zones) }},
		{Path: Workdir[1:], Mode: image.ModeDir | 0o755},
		{Path: "tmp", Mode: image.ModeDir | 0o1777},
		{Path: "home/vcap/app", Mode: image.ModeSymlink | 0o777, Target: Workdir},
		{Path: "home/vcap/tmp", Mode: image.ModeSymlink | 0o777, Target: "/tmp"},
	}, nil
}

// authorities are those that Mozilla trusts without a condition, as PEM. They
// come with dew and not from the host, so that a droplet does not depend on
// where it was built.
func authorities() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil { // a PEM file has no place for conditions
			pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
		}
	}
	return b.Bytes()
}

// isCode tells whether a file is only there to be compiled. A droplet does
// without: what a guest does not need, nobody who owns it should read.
func isCode(name string) bool {
	switch name {
	case "go.mod", "go.sum", "go.work", "go.work.sum", "Procfile":
		return true
	}
	return filepath.Ext(name) == ".go" || strings.HasPrefix(name, "vendor/")
}

// image writes the file-system image.
func (w *work) image(path string) error {
	sources, err := w.system()
	if err != nil {
		return err
	}
	for _, s := range w.sources {
		if !isCode(s.name) {
			sources = append(sources, s.image(w.src()))
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := image.Write(f, sources); err != nil {
		return fmt.Errorf("write the file-system image: %w", err)
	}
	return f.Close()
}

func (s source) image(dir string) image.Source {
	to := image.Source{Path: Workdir[1:] + "/" + s.name, Mode: image.ModeRegular | 0o644, Size: uint64(s.size),
		Open: func() (io.ReadCloser, error) { return os.OpenInRoot(dir, s.name) }}
	switch {
	case s.target != "":
		return image.Source{Path: to.Path, Mode: image.ModeSymlink | 0o777, Target: s.target}
	case s.exec:
		to.Mode |= 0o111
	}
	return to
}
