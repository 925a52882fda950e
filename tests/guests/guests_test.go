package guests

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/process"
)

// yard is where attackers run.
type yard struct {
	inside, outside *process.Tender // with and without the wall
	program         *os.File
	n               atomic.Int32
}

func newYard(t *testing.T) *yard {
	t.Helper()
	inside, err := process.New()
	if err != nil {
		t.Skip(err)
	}
	bin := filepath.Join(t.TempDir(), "attacker")
	build := exec.Command("go", "build", "-o", bin, "./attacker")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the attacker: %v\n%s", err, out)
	}
	f, err := os.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &yard{inside: inside, outside: inside.WithoutWall(), program: f}
}

// spec is one attacker; w is where its output goes.
func (y *yard) spec(attack string, w *os.File) *tender.Spec {
	return &tender.Spec{
		Name: fmt.Sprintf("guests-%d-%d", os.Getpid(), y.n.Add(1)), Program: y.program, Stdout: w,
		Boot:          boot.Config{Args: []string{"attacker", attack}, Env: []string{"GOTRACEBACK=none"}},
		Limits:        tender.Limits{Memory: 64 << 20, CPUs: 1, PIDs: 50},
		DieWithCaller: true,
	}
}

// attack runs one and returns how it ended and what it said.
func (y *yard) attack(t *testing.T, td tender.Tender, name string) (tender.Exit, string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(r, 1<<20))
		r.Close()
		said <- b
	}()
	i, err := td.Start(t.Context(), y.spec(name, w))
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	e, err := i.Wait(ctx)
	if err != nil {
		i.Kill()
		t.Fatalf("the attacker is still alive: %v", err)
	}
	return e, string(bytes.TrimSpace(<-said))
}

// outcome of an attack.
const (
	success = "done"
	death   = "forbidden" // killed by the wall
	nothing = "failed"    // the call was answered by an error
)

func outcome(e tender.Exit, said string) string {
	switch {
	case e.Reason == tender.Forbidden:
		return death
	case e.Reason == tender.Exited && e.Status == 7:
		return nothing
	case e.Reason == tender.Exited && e.Status == 0 && strings.HasSuffix(said, "done"):
		return success
	}
	return e.String() + ": " + said
}

// TestWallStopsCalls: each attack is stopped by the wall. Without the wall most
// succeed, which proves that it is the wall that stopped them; the others are
// stopped by the jail alone, which then has two locks.
func TestWallStopsCalls(t *testing.T) {
	y := newYard(t)
	for _, c := range []struct{ attack, inside, outside string }{
		{"none", success, success},
		{"open", nothing, nothing}, // the root is empty
		{"open-old", death, nothing},
		{"openat2", death, nothing},
		{"socket", death, success},
		{"netlink", death, success},
		{"userns", death, nothing},
		{"mount", death, nothing},
		{"setuid", death, nothing},
		{"exec", death, nothing},
		{"exec-again", nothing, nothing}, // the program's descriptor is gone
		{"exec-image", death, nothing},
		{"fork", death, success},
		{"kill", death, success},
		{"tgkill-other", death, nothing},
		{"prctl", nothing, success},
		{"mmap-exec", death, success},
		{"mmap-shared", death, success},
		{"mprotect", death, success},
		{"read-foreign", death, nothing},
		{"write-poll", death, nothing},
		{"write-image", death, nothing},
		{"epoll-add", death, success},
		{"dup", death, success},
		{"memfd", death, success},
		{"uname", death, success},
		{"vm-read", death, success},
		{"ptrace", death, success},
		{"x32", death, nothing},
	} {
		t.Run(c.attack, func(t *testing.T) {
			if got := outcome(y.attack(t, y.inside, c.attack)); got != c.inside {
				t.Errorf("inside the wall: %s, want %s", got, c.inside)
			}
			if got := outcome(y.attack(t, y.outside, c.attack)); got != c.outside {
				t.Errorf("outside the wall: %s, want %s", got, c.outside)
			}
		})
	}
}

func TestHowGuestsEnd(t *testing.T) {
	y := newYard(t)
	for attack, want := range map[string]tender.Exit{
		"status":     {Reason: tender.Exited, Status: 3},
		"nil":        {Reason: tender.Exited, Status: 2}, // a Go panic
		"memory":     {Reason: tender.OutOfMemory},
		"write-text": {Reason: tender.Exited, Status: 2}, // a fault that Go reports
		"threads":    {Reason: tender.Exited, Status: 2}, // clone failed: the pids limit
	} {
		t.Run(attack, func(t *testing.T) {
			e, said := y.attack(t, y.inside, attack)
			if e.Reason != want.Reason || e.Status != want.Status {
				t.Errorf("%v, want %v\n%s", e, want, said)
			}
			if e.MaxRSS > 80<<20 || e.MaxRSS == 0 && want.Reason == tender.OutOfMemory {
				t.Errorf("it got %d bytes of memory", e.MaxRSS)
			}
		})
	}
}

// TestJailIsEmpty looks around in the jail without the wall, which would not
// answer such questions.
func TestJailIsEmpty(t *testing.T) {
	y := newYard(t)
	_, said := y.attack(t, y.outside, "root")
	const want = `root: 0 <nil>
write: true
proc: false
pid: 1 ppid: 0
uid0: false gid0: false
caps: [[0 0 0] [0 0 0]]
bounding: 0 nnp: 1
socket: 0
host: guest
done`
	if said != want {
		t.Errorf("got\n%s\nwant\n%s", said, want)
	}
}

// TestOnlyTheContractsDescriptorsAreOpen: 3 and 6 belong to a vNIC and an image,
// which the attacker does not get.
func TestOnlyTheContractsDescriptorsAreOpen(t *testing.T) {
	y := newYard(t)
	leak, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()
	if _, said := y.attack(t, y.outside, "fds"); said != "0 1 2 4 5 7 8\ndone" {
		t.Errorf("open: %s", said)
	}
}

func TestKill(t *testing.T) {
	y := newYard(t)
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	i, err := y.inside.Start(t.Context(), y.spec("spin", null))
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Kill(); err != nil {
		t.Fatal(err)
	}
	e, err := i.Wait(t.Context())
	if err != nil || e.Reason != tender.Killed || e.Code() != 137 {
		t.Errorf("%v, %v", e, err)
	}
	if err := i.Kill(); err != nil {
		t.Errorf("a second kill: %v", err)
	}
}
