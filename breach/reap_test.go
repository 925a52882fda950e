package breach

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/dewpaas/dew/tender/process"
)

// TestReap: what a dead run has left goes, what a living one has stays.
func TestReap(t *testing.T) {
	tender, err := process.New()
	if err != nil {
		t.Skip(err)
	}
	parent := t.TempDir()
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	folder := func(pid int) string {
		path := filepath.Join(parent, fmt.Sprintf("%s%d-1", folderPrefix, pid))
		if err := os.MkdirAll(filepath.Join(path, "jail"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	dead, alive := folder(gone.Process.Pid), folder(os.Getpid())
	if err := (&Suite{parent: parent, process: tender}).reap(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dead); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dead, err)
	}
	if _, err := os.Stat(alive); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]bool{fmt.Sprintf("breach-%d-3", gone.Process.Pid): true, fmt.Sprintf("breach-%d-3", os.Getpid()): false, "breach-x-1": false, "breach-1": false,
		"breach--1-1": false, "other-1-1": false} {
		if got := isDead(name, groupPrefix); got != want {
			t.Errorf("%s dead: %v", name, got)
		}
	}
}
