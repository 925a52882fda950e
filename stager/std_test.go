package stager

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dewpaas/dew/stager/sandbox"
)

// tiny is a builder with layers of its own, of packages that compile quickly, and
// the shadow that others have made.
func tiny(t *testing.T) *Builder {
	t.Helper()
	common := t.TempDir()
	check(t, os.Symlink(filepath.Join(workshop(t).c.Common, "goroot"), filepath.Join(common, "goroot")))
	b, err := New(t.Context(), Config{Cache: t.TempDir(), Common: common, SandboxOptional: true, Std: [][]string{{"errors"}, {"unicode/utf8", "errors", "unicode"}}})
	check(t, err)
	return b
}

// compiled are the packages that a layer has.
func compiled(t *testing.T, b *Builder, i int) (files []string) {
	t.Helper()
	build, _ := b.layerPlace(i)
	found, err := filepath.Glob(filepath.Join(build, "??", "*-a"))
	check(t, err)
	for _, f := range found {
		files = append(files, filepath.Base(f))
	}
	return files
}

func TestLayersOfTheStandardLibrary(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles package runtime")
	}
	b := tiny(t)
	alone, err := b.work(t.Context(), &Request{Files: os.DirFS("/dev/null")})
	check(t, err)
	defer alone.remove()
	if dir, err := alone.std(); dir != "" || err != nil {
		t.Errorf("a build without tenant gets %q, %v", dir, err)
	}
	// Interrupted in the middle of the first layer: what is there stays.
	ctx, interrupt := context.WithCancel(t.Context())
	var steps []string
	check(t, ignore(b.Warm(ctx, func(step string) { steps = append(steps, step); interrupt() }), context.Canceled))
	if _, complete := b.layerPlace(0); len(steps) != 1 {
		t.Errorf("steps %q", steps)
	} else if _, err := os.Stat(complete); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an interrupted layer is complete: %v", err)
	}
	// A build that comes gets the first layer, and no more.
	w, err := b.work(t.Context(), &Request{Tenant: "a", Files: os.DirFS("/dev/null")})
	check(t, err)
	defer w.remove()
	dir, err := w.std()
	check(t, err)
	if first, _ := b.layerPlace(0); dir != first {
		t.Errorf("std is in %s", dir)
	}
	// The second layer has what the first has; then there is nothing to do.
	steps = nil
	check(t, b.Warm(t.Context(), func(step string) { steps = append(steps, step) }))
	if len(steps) != 1 || !strings.Contains(steps[0], "many services") {
		t.Errorf("steps %q", steps)
	}
	first, second := compiled(t, b, 0), compiled(t, b, 1)
	if len(first) == 0 || len(second) <= len(first) || slices.ContainsFunc(first, func(f string) bool { return !slices.Contains(second, f) }) {
		t.Errorf("layers of %d and %d files", len(first), len(second))
	}
	check(t, b.Warm(t.Context(), func(step string) { t.Error("warm, and yet:", step) }))
	// A cache gets each layer once, and again when it was removed.
	cache := filepath.Join(t.TempDir(), "build")
	for _, want := range []bool{true, false, true} {
		if want {
			check(t, os.RemoveAll(cache))
			check(t, os.Mkdir(cache, 0o755))
		}
		before, err := filepath.Glob(filepath.Join(cache, "??", "*"))
		check(t, err)
		for _, f := range before {
			check(t, os.Remove(f))
		}
		check(t, w.share(cache))
		if after, _ := filepath.Glob(filepath.Join(cache, "??", "*")); (len(after) > 0) != want {
			t.Errorf("%d files are shared, want any: %v", len(after), want)
		}
	}
	for _, w := range []*work{w, alone} {
		if dir, _ := w.std(); dir != filepath.Join(b.base(), "1", "build") {
			t.Errorf("std is in %s", dir)
		}
	}
}

// Whoever waits for a layer is done when the one who makes it is, and can stop.
func TestALayerIsMadeOnce(t *testing.T) {
	b := tiny(t)
	b.c.Std = [][]string{{"internal/goarch"}} // compiles at once
	build, _ := b.layerPlace(0)
	check(t, os.MkdirAll(filepath.Dir(build), 0o700))
	lock, err := lockDir(filepath.Dir(build))
	check(t, err)
	wait := func(ctx context.Context) (waits chan struct{}, done chan error) {
		waits, done = make(chan struct{}), make(chan error)
		go func() {
			done <- b.Warm(ctx, func(step string) {
				if strings.HasPrefix(step, "wait") {
					close(waits)
				} else if ctx != t.Context() {
					t.Error("did not wait:", step)
				}
			})
		}()
		return waits, done
	}
	ctx, stop := context.WithCancel(t.Context())
	waits, done := wait(ctx)
	<-waits
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	waits, done = wait(t.Context())
	<-waits
	lock.Close()
	check(t, <-done)
}

func TestWhoWaitsHastensTheIdle(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make control groups")
	}
	b := tiny(t)
	w, err := b.work(t.Context(), &Request{Limits: Limits{Shares: usualShares}})
	check(t, err)
	defer w.remove()
	w.idly = true
	g, err := w.limit(&sandbox.Config{})
	check(t, err)
	defer g.remove()
	has := func(v1, v2 string) {
		t.Helper()
		got := ""
		for _, file := range []string{"/sys/fs/cgroup/cpu/dew/", "/sys/fs/cgroup/dew/", "/sys/fs/cgroup/cpu,cpuacct/dew/"} {
			for _, name := range []string{"cpu.shares", "cpu.weight"} {
				if b, err := os.ReadFile(file + groupName(w) + "/" + name); err == nil {
					got = strings.TrimSpace(string(b))
				}
			}
		}
		if got != v1 && got != v2 {
			t.Errorf("shares %q, want %s or %s", got, v1, v2)
		}
	}
	has("2", "1")
	leave, other := b.crowd.wait(), b.crowd.wait()
	has("1024", "128")
	leave()
	has("1024", "128")
	other()
	has("2", "1")
}
