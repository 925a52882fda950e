package foundation

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// status runs a verb and returns its exit status.
func (s *site) status(args ...string) (int, string) {
	out, err := s.run(args...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), out
	}
	if err != nil {
		s.Fatal(err)
	}
	return 0, out
}

// TestExplain: who owns the cell is told what it enforces, whether a connection
// is allowed, and what passes a vNIC.
func TestExplain(t *testing.T) {
	s := newSite(t, "")
	s.must("push", "front", "-p", ".")
	s.must("push", "back", "-p", ".")
	if status, out := s.status("reach", "front", "back:8080"); status != 1 || !strings.Contains(out, "no: default deny: no network policy from front to back allows tcp 8080") ||
		!strings.Contains(out, "the kernel's rules say the same, for 1 pair") {
		t.Errorf("%d: %s", status, out)
	}
	policy := `{"policies":[{"source":{"id":"` + s.guid("front") + `"},"destination":{"id":"` + s.guid("back") + `","protocol":"tcp","ports":{"start":8080,"end":8080}}}]}`
	if _, err := s.api("POST", "/networking/v1/external/policies", policy); err != nil {
		t.Fatal(err)
	}
	s.until("the policy holds", func() bool { status, _ := s.status("reach", "front", "back:8080"); return status == 0 })
	if status, out := s.status("reach", "front", "10.1.2.3:5432"); status != 1 || !strings.Contains(out, "none of the security groups") {
		t.Errorf("%d: %s", status, out)
	}
	if status, out := s.status("reach", "front", "nobody:1"); status != 2 || !strings.Contains(out, "there is no app \"nobody\"") {
		t.Errorf("%d: %s", status, out)
	}
	if out := s.must("topology"); !strings.Contains(out, "-> app back, tcp 8080: network policy") || !strings.Contains(out, "<- route front.apps.localhost") {
		t.Error(out)
	}
	var drawn struct {
		Apps []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(s.must("topology", "--json")), &drawn); err != nil || len(drawn.Apps) != 2 {
		t.Errorf("%v: %+v", err, drawn)
	}
	s.captures()
	s.reports()
}

// reports tells what an attacker would get, and that it is more than before.
func (s *site) reports() {
	s.Helper()
	s.must("set-env", "front", "API_KEY=hunter2")
	allowed := filepath.Join(s.TempDir(), "allowed.json")
	text := s.must("breach", "front", "--json")
	if strings.Contains(text, "hunter2") || !strings.Contains(text, `"name": "API_KEY"`) || !strings.Contains(text, "app back") {
		s.Error(text)
	}
	if err := os.WriteFile(allowed, []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
	s.must("breach", "front", "--expect", allowed)
	s.must("set-env", "front", "MORE=1")
	s.twins()
	if status, out := s.status("breach", "front", "--expect", allowed); status != 1 || !strings.Contains(out, "\n   secret MORE from environment") {
		s.Errorf("%d: %s", status, out)
	}
}

// captures records a request to an app from outside.
func (s *site) captures() {
	s.Helper()
	path := filepath.Join(s.TempDir(), "frames.pcapng")
	done := make(chan string)
	go func() {
		_, out := s.status("tcpdump", "front/0", "-c", "2", "-w", path)
		done <- out
	}()
	s.until("two frames are recorded", func() bool {
		s.get(s.Context(), "front", "/")
		select {
		case out := <-done:
			if !strings.Contains(out, "2 frames, 0 dropped") {
				s.Error(out)
			}
			return true
		default:
			return false
		}
	})
	b, err := os.ReadFile(path)
	if err != nil || len(b) < 100 || string(b[:4]) != "\x0a\x0d\x0d\x0a" {
		s.Errorf("%d bytes, %v", len(b), err)
	}
}

// drawn is the topology but for the host's own addresses: other foundations on
// this host, of tests that run at the same time, come and go with theirs.
func (s *site) drawn() string {
	s.Helper()
	lines := strings.Split(s.must("topology"), "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasSuffix(l, " is protected: the host") }), "\n")
}

// twins try, are stopped, and leave nothing behind.
func (s *site) twins() {
	s.Helper()
	before := s.drawn()
	out := s.must("breach", "front", "--live", "--attack", "spoof-neighbour", "--attack", "ptrace", "--attack", "false-sum")
	for _, want := range []string{"\nallowed   app back, tcp ", "\nstopped   app back, udp ", "\nstopped   spoof-neighbour", "\nstopped   ptrace", "\nstopped   false-sum", " predictions held: "} {
		if !strings.Contains("\n"+out, want) {
			s.Errorf("no %q in\n%s", want, out)
		}
	}
	s.until("the places are given back", func() bool { return s.drawn() == before })
	if log := s.must("logs", "front", "--recent"); strings.Contains(log, "iptables") && strings.Count(log, "iptables") > 4 {
		s.Errorf("twins are told of in the app's log\n%s", log)
	}
}
