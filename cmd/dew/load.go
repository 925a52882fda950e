package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dewpaas/dew/droplet"
)

// load opens what runs: program, files, arguments. Folders and packages are
// built first.
func (l *launch) load(ctx context.Context) error {
	name := l.run.Droplet
	if isELF(name) {
		return l.loadELF(name)
	}
	store, err := runStore()
	if err != nil {
		return err
	}
	d, err := l.droplet(ctx, store, name)
	if err != nil {
		return err
	}
	start, err := l.command(d.Manifest())
	if err != nil {
		return err
	}
	if l.spec.Program, err = d.Program(start.Program.Name); err != nil {
		return err
	}
	l.onClose(func() { l.spec.Program.Close() })
	if l.spec.Image, err = d.Image(); err != nil {
		return err
	}
	if image := l.spec.Image; image != nil {
		l.onClose(func() { image.Close() })
	}
	b := &l.spec.Boot
	b.Args, b.Workdir = append(start.Args, l.run.Args...), d.Manifest().Workdir
	b.Env = append([]string{"HOME=" + b.Workdir, "TMPDIR=/tmp"}, append(b.Env, start.Env...)...)
	return nil
}

// loadELF runs a droplet's program alone, as the linker and stager/pvh left it.
func (l *launch) loadELF(name string) (err error) {
	if l.spec.Program, err = os.Open(name); err != nil {
		return err
	}
	l.onClose(func() { l.spec.Program.Close() })
	if l.run.Image != "" {
		if l.spec.Image, err = os.Open(l.run.Image); err != nil {
			return err
		}
		l.onClose(func() { l.spec.Image.Close() })
	}
	l.spec.Boot.Args, l.spec.Boot.Workdir = append([]string{"/" + filepath.Base(name)}, l.run.Args...), "/"
	return nil
}

func isELF(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	magic := make([]byte, 4)
	_, err = f.ReadAt(magic, 0)
	return err == nil && string(magic) == "\x7fELF"
}

// keepDroplets is how long a droplet that nobody runs stays in the cache.
const keepDroplets = 7 * 24 * time.Hour

// runStore is where droplets are unpacked, once for all their runs.
func runStore() (*droplet.Store, error) {
	dir, err := cacheDir("droplets")
	if err != nil {
		return nil, err
	}
	return droplet.OpenStore(dir)
}

// droplet finds or makes the droplet in the store.
func (l *launch) droplet(ctx context.Context, store *droplet.Store, name string) (*droplet.Droplet, error) {
	info, err := os.Stat(name)
	_, _, isModule := moduleSource(name)
	switch {
	case isModule, err == nil && info.IsDir() && !isLayout(name):
		d, err := buildDroplet(ctx, l.out, store, name, nil)
		if err != nil {
			return nil, err
		}
		return d, sweep(store)
	case err != nil:
		return nil, fmt.Errorf("open the droplet: %w", err)
	}
	d, err := droplet.Open(name)
	if err != nil {
		return nil, withHint(err, "`dew build` makes droplets of folders with Go programs")
	}
	defer d.Close()
	if have, err := store.Open(d.Digest()); err == nil {
		return have, nil
	}
	kept, err := store.Import(d)
	if err != nil {
		return nil, err
	}
	return kept, sweep(store)
}

func isLayout(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "oci-layout"))
	return err == nil
}

func sweep(store *droplet.Store) error {
	_, err := store.Sweep(func(_ string, used time.Time) bool { return time.Since(used) < keepDroplets })
	return err
}

// command finds what to start.
func (l *launch) command(m *droplet.Manifest) (*droplet.Start, error) {
	command := l.run.Command
	if command == "" {
		var ok bool
		if command, ok = m.Processes[l.run.Process]; !ok {
			return nil, withHint(fmt.Errorf("the droplet has no process type %q", l.run.Process), choices(m))
		}
	}
	return m.Start(command, l.spec.Boot.Env)
}

func choices(m *droplet.Manifest) string {
	var names []string
	for _, p := range m.Programs {
		names = append(names, p.Name)
	}
	hint := "--command starts one of its programs: " + strings.Join(names, ", ")
	if len(m.Processes) > 0 {
		hint = "its process types are " + strings.Join(slices.Sorted(maps.Keys(m.Processes)), ", ") + "; " + hint
	}
	return hint
}
