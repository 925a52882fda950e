package main

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestScratch: what killed processes left goes with the next that needs such a folder,
// and what others hold, or own, stays.
func TestScratch(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	left, foreign := filepath.Join(temp, "dew-test-left"), filepath.Join(temp, "dew-test-foreign")
	for _, dir := range []string{left, foreign} {
		if err := os.MkdirAll(filepath.Join(dir, "full"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	keeps := []string{}
	if os.Chown(foreign, 12345, 12345) == nil { // as root
		keeps = append(keeps, foreign)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(temp, "dew-test-link")); err != nil {
		t.Fatal(err)
	}
	keeps = append(keeps, filepath.Join(temp, "dew-test-link"))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			dir, remove, err := scratch("test")
			if err != nil {
				t.Error(err)
				return
			}
			defer remove()
			if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
				t.Error(err)
			}
			other, end, err := scratch("test")
			if err != nil {
				t.Error(err)
				return
			}
			end()
			if _, err := os.Stat(filepath.Join(dir, "mine")); err != nil {
				t.Errorf("%s, which made %s, took it: %v", other, dir, err)
			}
		})
	}
	all.Wait()
	there, err := filepath.Glob(filepath.Join(temp, "*"))
	if err != nil || len(there) != len(keeps) {
		t.Errorf("%v are left, want %v; %v", there, keeps, err)
	}
}
