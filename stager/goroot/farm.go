package goroot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
)

// farm is a shadow that is being made.
type farm struct {
	installed string
	dir       string
	real      map[string]bool // folders below src that are no links
}

// make builds the shadow beside its place and moves it there as a whole.
func (i Installed) make(dir string, files map[string]string) error {
	cache := filepath.Dir(dir)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(cache, "making-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := os.Chmod(temp, 0o755); err != nil { // sandboxed builds read it as somebody else
		return err
	}
	f := &farm{installed: i.Dir, dir: temp, real: map[string]bool{}}
	if err := f.fill(files); err != nil {
		return err
	}
	err = os.Rename(temp, dir)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) {
		return nil // another process made the same at the same time
	}
	return err
}

func (f *farm) fill(files map[string]string) error {
	entries, err := os.ReadDir(f.installed)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == "src" {
			continue
		}
		if err := os.Symlink(filepath.Join(f.installed, e.Name()), filepath.Join(f.dir, e.Name())); err != nil {
			return err
		}
	}
	if err := f.open("."); err != nil {
		return err
	}
	for name, text := range files {
		if err := f.write(name, text); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

// write puts a file below src, in place of a link.
func (f *farm) write(name, text string) error {
	if err := f.open(path.Dir(name)); err != nil {
		return err
	}
	place := filepath.Join(f.dir, "src", name)
	if err := os.Remove(place); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(place, []byte(text), 0o644)
}

// open makes a folder real: its entries become links to the installed ones.
func (f *farm) open(folder string) error {
	if f.real[folder] {
		return nil
	}
	if folder != "." {
		if err := f.open(path.Dir(folder)); err != nil {
			return err
		}
	}
	f.real[folder] = true
	place := filepath.Join(f.dir, "src", folder)
	if err := os.Remove(place); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Mkdir(place, 0o755); err != nil {
		return err
	}
	source := filepath.Join(f.installed, "src", folder)
	entries, err := os.ReadDir(source)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if err := os.Symlink(filepath.Join(source, e.Name()), filepath.Join(place, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
