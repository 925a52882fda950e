package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dewpaas/dew/abi/control"
	"github.com/dewpaas/dew/tender"
)

func TestParsePublish(t *testing.T) {
	for in, want := range map[string]publish{
		"8080:80": {"127.0.0.1:8080", 80, false}, "0.0.0.0:1:2": {"0.0.0.0:1", 2, false}, "[::1]:5:6": {"[::1]:5", 6, false}, "0:9": {"127.0.0.1:0", 9, false},
		"8053:53/udp": {"127.0.0.1:8053", 53, true}, "80:80/tcp": {"127.0.0.1:80", 80, false},
	} {
		got, err := parsePublish([]string{in})
		if err != nil || got[0] != want {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "80", "80:", ":", "80:0", "80:65536", "x:80", "a:b:c", "70000:80", "53:53/sctp"} {
		if got, err := parsePublish([]string{in}); err == nil {
			t.Errorf("%s: %v", in, got)
		}
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[string]size{"64": 64, "64k": 64 << 10, "256M": 256 << 20, "1GB": 1 << 30, "": 0, "M": 0, "-1": 0, "1T": 0, "1.5G": 0} {
		var s size
		if err := s.UnmarshalText([]byte(in)); s != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v", in, s, err)
		}
	}
}

func TestCallerIsGone(t *testing.T) {
	for name, want := range map[string]bool{"run-1": false, "run-x": false, "web-1": false, "run-2147483600": true} {
		if callerIsGone(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

// quiet is an instance that only has a link.
type quiet struct {
	tender.Instance
	link *tender.Link
}

func (q quiet) Link() *tender.Link { return q.link }

// TestStacksThroughTheSocket: verb, socket, link and back, in many frames.
func TestStacksThroughTheSocket(t *testing.T) {
	ours, guest := net.Pipe()
	link := tender.NewLink(ours)
	defer link.Close()
	stacks := strings.Repeat("goroutine 7 [running]:\n", 10_000)
	go func() {
		for {
			q, err := control.Read(guest)
			if err != nil {
				return
			}
			guest.Write(control.AppendReply(nil, q.ID, []byte(stacks)))
		}
	}()
	socket := filepath.Join(t.TempDir(), "s")
	o, err := serveOperator(socket, quiet{link: link}, "elf")
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	if _, err := serveOperator(socket, quiet{link: link}, "elf"); err == nil {
		t.Error("a second run took the socket over")
	}
	var out bytes.Buffer
	if code := run(t.Context(), &console{out: &out, err: &out}, []string{"stacks", socket}); code != 0 || out.String() != stacks {
		t.Fatalf("status %d, %d bytes of %d", code, out.Len(), len(stacks))
	}
}

func TestStacksWithoutARun(t *testing.T) {
	var out bytes.Buffer
	if code := run(t.Context(), &console{out: &out, err: &out}, []string{"stacks", "/no/such/socket"}); code != 1 || !strings.Contains(out.String(), "dew run --control") {
		t.Errorf("status %d: %s", code, out.String())
	}
}

// TestRun runs the attacker, which needs no library OS, from the command line
// to the exit status.
func TestRun(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: seals a host process")
	}
	bin := filepath.Join(t.TempDir(), "attacker")
	if out, err := exec.Command("go", "build", "-o", bin, "../../tests/guests/attacker").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	for _, c := range []struct {
		attack   string
		code     int
		out, err string
	}{
		{"none", 0, "done\n", ""},
		{"status", 3, "", "crash record"},
		{"nil", 2, "", "nil pointer dereference"},
		{"memory", 137, "", "memory limit exceeded"},
		{"socket", 159, "", "forbidden system call"},
	} {
		t.Run(c.attack, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run(t.Context(), &console{out: &out, err: &errs}, []string{"run", "-m", "64M", bin, "--", c.attack})
			if code != c.code || out.String() != c.out || !strings.Contains(errs.String(), c.err) {
				t.Errorf("status %d, want %d\n%s\n%s", code, c.code, out.String(), errs.String())
			}
		})
	}
}

// TestInterruptEndsAGuestThatDoesNotListen: the second one kills.
func TestInterruptEndsAGuestThatDoesNotListen(t *testing.T) {
	ours, _ := net.Pipe()
	g := &stubborn{quiet: quiet{link: tender.NewLink(ours)}, dead: make(chan struct{})}
	defer g.link.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	again := make(chan os.Signal, 2)
	again <- os.Interrupt
	again <- os.Interrupt
	var out bytes.Buffer
	e, err := attend(ctx, g, again, &console{out: &out, err: &out})
	if err != nil || e.Code() != 137 {
		t.Errorf("%v, %v", e, err)
	}
}

// stubborn ends when it is killed, and only then.
type stubborn struct {
	quiet
	dead chan struct{}
}

func (s *stubborn) Kill() error { close(s.dead); return nil }

func (s *stubborn) Wait(ctx context.Context) (tender.Exit, error) {
	select {
	case <-s.dead:
		return tender.Exit{Reason: tender.Killed, Signal: 9}, nil
	case <-ctx.Done():
		return tender.Exit{}, ctx.Err()
	}
}
