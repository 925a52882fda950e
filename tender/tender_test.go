package tender

import (
	"bytes"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/abi/control"
)

func TestExitInWordsAndAsStatus(t *testing.T) {
	for _, c := range []struct {
		e    Exit
		code int
		text string
	}{
		{Exit{Reason: Exited, Status: 3}, 3, "exited with status 3"},
		{Exit{Reason: OutOfMemory, Signal: syscall.SIGKILL}, 137, "memory limit exceeded"},
		{Exit{Reason: Forbidden, Signal: syscall.SIGSYS, Call: 41}, 159, "made the forbidden system call socket (41)"},
		{Exit{Reason: Forbidden, Signal: syscall.SIGSYS, Call: -1}, 159, "made a forbidden system call"},
		{Exit{Reason: Crashed, Signal: syscall.SIGSEGV}, 139, "crashed: segmentation fault"},
		{Exit{Reason: Killed, Signal: syscall.SIGTERM}, 143, "killed: terminated"},
		{Exit{Reason: HostFailed, Detail: "qemu is gone"}, 125, "the tender failed: qemu is gone"},
	} {
		if c.e.Code() != c.code || c.e.String() != c.text {
			t.Errorf("%+v: %d %q, want %d %q", c.e, c.e.Code(), c.e.String(), c.code, c.text)
		}
	}
}

func TestCheck(t *testing.T) {
	good := func() *Spec {
		return &Spec{Name: "web-0.1", Program: os.Stdin, Stdout: os.Stdout, Boot: boot.Config{Args: []string{"/app"}}}
	}
	if err := good().Check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(s *Spec){
		"path":       func(s *Spec) { s.Name = "a/b" },
		"parent":     func(s *Spec) { s.Name = ".." },
		"empty":      func(s *Spec) { s.Name = "" },
		"long":       func(s *Spec) { s.Name = strings.Repeat("a", 65) },
		"no program": func(s *Spec) { s.Program = nil },
		"no stdout":  func(s *Spec) { s.Stdout = nil },
		"tap alone":  func(s *Spec) { s.Tap = os.Stdin },
		"no tap":     func(s *Spec) { s.Boot.NIC.MAC[5] = 1 },
		"no args":    func(s *Spec) { s.Boot.Args = nil },
	} {
		s := good()
		spoil(s)
		if s.Check() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// TestWatchSeesWhatTheGuestSays: the link reads what the watcher lets through.
func TestWatchSeesWhatTheGuestSays(t *testing.T) {
	ours, theirs := net.Pipe()
	seen := new(bytes.Buffer)
	s := &Spec{Watch: func(c io.ReadWriteCloser) io.ReadWriteCloser {
		return struct {
			io.Reader
			io.Writer
			io.Closer
		}{io.TeeReader(c, seen), c, c}
	}}
	l := s.Link(ours)
	said := control.Append(nil, control.Frame{Kind: control.Report, Payload: []byte("hello")})
	if _, err := theirs.Write(said); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	<-l.Done()
	if got := l.Reports(); len(got) != 1 || got[0] != "hello" || !bytes.Equal(seen.Bytes(), said) {
		t.Errorf("reports %q, seen %q", got, seen)
	}
}
