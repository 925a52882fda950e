package process

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/cgroup"
)

func newTender(t *testing.T) *Tender {
	t.Helper()
	td, err := New()
	if err != nil {
		t.Skip(err)
	}
	return td
}

// open opens a file for the test's time.
func open(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestScriptTellsWhichCallFailed: the child stops there and the parent knows.
func TestScriptTellsWhichCallFailed(t *testing.T) {
	s := new(script)
	s.do("get a session", unix.SYS_SETSID)
	s.do("enter nowhere", unix.SYS_CHDIR, s.text("/no/such/folder"))
	s.do("never", unix.SYS_EXIT_GROUP, 0)
	_, err := s.run(0)
	if !errors.Is(err, syscall.ENOENT) || !strings.HasPrefix(err.Error(), "enter nowhere:") {
		t.Fatal(err)
	}
	if s.calls[0].result == 0 || s.calls[2].result != 0 {
		t.Errorf("results %#x, %#x", s.calls[0].result, s.calls[2].result)
	}
}

func TestStartLeavesNothingBehindOnFailure(t *testing.T) {
	td := newTender(t)
	notELF := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(notELF, []byte("not a program"), 0o755); err != nil {
		t.Fatal(err)
	}
	spec := &tender.Spec{Name: "process-test", Program: open(t, notELF), Stdout: os.Stdout, Boot: boot.Config{Args: []string{"x"}}}
	var descriptors []int
	for range 3 {
		_, err := td.Start(t.Context(), spec)
		if !errors.Is(err, syscall.ENOEXEC) || !strings.Contains(err.Error(), "execute the droplet") {
			t.Fatal(err)
		}
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		descriptors = append(descriptors, len(entries))
	}
	if descriptors[2] > descriptors[1] { // the first start also opened the runtime's poller
		t.Errorf("descriptors are leaking: %v", descriptors)
	}
	// The name is free again: its cgroup is gone.
	g, err := td.groups.Create("process-test", cgroup.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	g.Remove()
}

func TestBootRecordIsSealed(t *testing.T) {
	spec := &tender.Spec{Boot: boot.Config{Args: []string{"/app"}}, Limits: tender.Limits{Memory: 64 << 20, CPUs: 1.5}}
	f, size, err := bootRecord(spec)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, syscall.EPERM) {
		t.Errorf("write: %v", err)
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, int64(size)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := boot.Decode(b)
	if err != nil || c.MemoryLimit != 64<<20 || c.CPUs != cpus(1.5) || c.Seed == [32]byte{} {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestEnvironment(t *testing.T) {
	spec := &tender.Spec{Boot: boot.Config{CPUs: 2, Env: []string{"A=b", "DEW_BOOT=9:9:9"}}, Limits: tender.Limits{Memory: 100 << 20}}
	if got := strings.Join(environment(spec, 4096), " "); got != "DEW_BOOT=1:4096:2 A=b GOMEMLIMIT=94371840" {
		t.Error(got)
	}
	spec.Boot.Env = []string{"GOMEMLIMIT=1GiB"}
	if got := strings.Join(environment(spec, 1), " "); got != "DEW_BOOT=1:1:2 GOMEMLIMIT=1GiB" {
		t.Error(got)
	}
}

// TestProgramThatStrangersMayNotExecuteIsCopied: an instance's user is nobody's.
func TestProgramThatStrangersMayNotExecuteIsCopied(t *testing.T) {
	name := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(name, []byte("bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := open(t, name)
	got, err := executable(f)
	if err != nil || got == f {
		t.Fatal(got == f, err)
	}
	defer got.Close()
	b, err := io.ReadAll(io.NewSectionReader(got, 0, 100))
	if err != nil || !bytes.Equal(b, []byte("bytes")) {
		t.Errorf("%q, %v", b, err)
	}
	if err := os.Chmod(name, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := executable(f); err != nil || got != f {
		t.Errorf("copied without need, %v", err)
	}
}

func TestIsRunning(t *testing.T) {
	for stat, want := range map[string]bool{"7 (app) R 1": true, "7 (app) S 1": false, "7 (a) R b) S 1": false, "7 (a) S) R 1": true, "": false, "7 (app)": false} {
		if isRunning([]byte(stat)) != want {
			t.Errorf("%q: %v", stat, !want)
		}
	}
}

func TestCallOf(t *testing.T) {
	const record = `6,1049,1,-;audit: type=1326 audit(1795.1:12): auid=1 uid=2 gid=2 ses=4 pid=10610 comm="app" exe="/x" sig=31 arch=c000003e syscall=56 compat=0 ip=0x481732 code=0x80000000`
	if got := callOf([]byte(record), 10610); got != 56 {
		t.Error(got)
	}
	for _, other := range []string{"", "audit: type=1326 ", strings.Replace(record, "1326", "1300", 1), strings.Replace(record, "10610", "1061", 1)} {
		if got := callOf([]byte(other), 10610); got != -1 {
			t.Errorf("%q: %d", other, got)
		}
	}
}
