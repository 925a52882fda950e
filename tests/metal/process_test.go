package metal

import (
	"strings"
	"syscall"
	"testing"

	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/process"
)

// TestTheSameFileBehindTheWall: the ELF that boots in ring 0 runs as a sealed
// host process, tells the same stories and ends in the same ways.
func TestTheSameFileBehindTheWall(t *testing.T) {
	td, err := process.New()
	if err != nil {
		t.Skip(err)
	}
	for story, c := range map[string]struct {
		reason       tender.Reason
		code         int
		stdout, says string
	}{
		"hello": {tender.Exited, 0, "hello [x y] from outside 2\n", ""},
		"faults": {tender.Exited, 0, "nil: runtime error: invalid memory address or nil pointer dereference\n" +
			"divide: runtime error: integer divide by zero\n" +
			"wild: runtime error: invalid memory address or nil pointer dereference\n" +
			"text: runtime error: invalid memory address or nil pointer dereference\nsurvived\n", ""},
		"schedule": {tender.Exited, 0, "sum 49995000\nturns 400\npreempted true\n", ""},
		"float":    {tender.Exited, 0, "wrong 0\n", ""},
		"memory":   {tender.Exited, 0, "enough\n", ""},
		"stderr":   {tender.Exited, 0, "to stdout\n", "to stderr\n"},
		"exit":     {tender.Exited, 42, "", ""},
		"exhaust":  {tender.OutOfMemory, 128 + int(syscall.SIGKILL), "", ""},
		"wild":     {tender.Forbidden, 128 + int(syscall.SIGSYS), "", ""},
	} {
		t.Run(story, func(t *testing.T) {
			stdout, stderr, exit := runOn(t, td, story, func(s *tender.Spec) {
				s.Boot.CPUs = 2
				s.Boot.Args = append(s.Boot.Args, "x", "y")
				s.Boot.Env = []string{"GREETING=from outside"}
				s.Limits.Memory = 128 << 20
			})
			if exit.Reason != c.reason || exit.Code() != c.code || stdout != c.stdout || !strings.Contains(stderr, c.says) {
				t.Errorf("%v, code %d\n%s\nstderr:\n%s", exit, exit.Code(), stdout, stderr)
			}
		})
	}
}
