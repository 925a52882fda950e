package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDemo: the readme's first command, from nothing to a pushed app and back to
// nothing. The programs that it runs without a foundation are tested elsewhere.
func TestDemo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: the demo makes network namespaces")
	}
	dew, scratch := build(t, filepath.Join("..", "..", "cmd", "dew")), t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // a cold cache compiles a large app
	defer cancel()
	c := exec.CommandContext(ctx, dew, "demo", "--only", "foundation")
	c.Env = append(os.Environ(), "TMPDIR="+scratch)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) } // it takes its foundation down
	c.WaitDelay = patience
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "10 of 10 checks passed") {
		t.Fatalf("%v\n%s", err, out)
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	// The keeper of the guests ends on its own, once it has none.
	deadline := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for running(t, scratch) != "" {
		select {
		case <-deadline:
			t.Fatalf("still runs: %q", running(t, scratch))
		case <-tick.C:
		}
	}
}

// running is the command line of a host process that names a folder, or "".
func running(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f) // gone when the process is
		if err == nil && strings.Contains(string(text), folder) {
			return string(text)
		}
	}
	return ""
}
