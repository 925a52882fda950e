package stager

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/stager/pvh"
)

// assemble makes the droplet of what the compiler left.
func (w *work) assemble(p *plan, store *droplet.Store) (*droplet.Droplet, error) {
	spec := &droplet.Spec{Image: filepath.Join(w.dir, "image"),
		Manifest: droplet.Manifest{Processes: p.processes, Workdir: Workdir, Toolchain: w.root.Version}}
	var infos []*buildinfo.BuildInfo
	for _, t := range p.programs {
		path, info, err := w.convert(t)
		if err != nil {
			return nil, fmt.Errorf("program %s: %w", t.name, err)
		}
		infos = append(infos, info)
		spec.Programs = append(spec.Programs, droplet.ProgramFile{Name: t.name, Package: info.Path, Path: path})
	}
	spec.Manifest.Modules = modules(infos)
	if err := w.image(spec.Image); err != nil {
		return nil, err
	}
	subjects, err := subjects(spec)
	if err != nil {
		return nil, err
	}
	if spec.SBOM, err = w.sbom(infos[0], spec.Manifest.Modules); err != nil {
		return nil, err
	}
	if spec.Provenance, err = w.provenance(p, spec.Manifest.Modules, subjects); err != nil {
		return nil, err
	}
	return store.Write(spec)
}

// subjects are what a droplet's provenance speaks of.
func subjects(spec *droplet.Spec) ([]material, error) {
	files := []droplet.ProgramFile{{Name: "image", Path: spec.Image}}
	var all []material
	for _, p := range append(spec.Programs, files...) {
		f, err := os.Open(p.Path)
		if err != nil {
			return nil, err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return nil, err
		}
		all = append(all, material{Name: p.Name, Digest: map[string]string{"sha256": hex.EncodeToString(h.Sum(nil))}})
	}
	return all, nil
}

// convert makes a program bootable and reads what the linker recorded.
func (w *work) convert(t target) (path string, info *buildinfo.BuildInfo, err error) {
	b, err := w.bootable(t.name)
	if errors.Is(err, pvh.ErrNoAnchor) {
		if err = w.addOS(t); err == nil {
			b, err = w.bootable(t.name)
		}
	}
	if err != nil {
		return "", nil, err
	}
	path = filepath.Join(w.dir, "program-"+t.name)
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return "", nil, err
	}
	info, err = readBuildInfo(path)
	return path, info, err
}

// bootable reads a program that was built and gives it its entry.
func (w *work) bootable(name string) ([]byte, error) {
	b, err := readProgram(filepath.Join(w.out(), name))
	if err != nil {
		return nil, err
	}
	if b, err = pvh.Convert(b); err != nil {
		return nil, fmt.Errorf("make it bootable: %w", err)
	}
	return b, nil
}

// readProgram reads what a build left, which may be anything.
func readProgram(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("the go command did not build it")
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > droplet.MaxProgram {
		return nil, because(ErrLimit, "it has %d bytes, more than %d", info.Size(), droplet.MaxProgram)
	}
	b := make([]byte, info.Size())
	_, err = f.ReadAt(b, 0)
	return b, err
}

// modules are all that were linked into any of the programs, by path.
func modules(infos []*buildinfo.BuildInfo) []droplet.Module {
	seen := map[droplet.Module]bool{}
	for _, i := range infos {
		for _, m := range append([]*debug.Module{&i.Main}, i.Deps...) {
			if m.Replace != nil {
				m = m.Replace
			}
			if m.Path != "" {
				seen[droplet.Module{Path: m.Path, Version: strings.TrimSuffix(m.Version, "(devel)"), Sum: m.Sum}] = true
			}
		}
	}
	var list []droplet.Module
	for m := range seen {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b droplet.Module) int {
		if c := strings.Compare(a.Path, b.Path); c != 0 {
			return c
		}
		return strings.Compare(a.Version, b.Version)
	})
	return list
}
