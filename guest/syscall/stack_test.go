package syscall

import (
	"os/exec"
	"regexp"
	"testing"
)

// TestCallsStayOnTheStack: a Call that moves to the heap takes its pointers
// along, and nothing would adjust those when the caller's stack moves. The
// compiler says what it moves.
func TestCallsStayOnTheStack(t *testing.T) {
	b, err := exec.Command("go", "build", "-gcflags=-m", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if !regexp.MustCompile(`leaking param content: c\b`).Match(b) {
		t.Error("the compiler does not say what it decided")
	}
	for _, m := range regexp.MustCompile(`(?m)^.*moved to heap: (c|m|v|iov|msg)$`).FindAllString(string(b), -1) {
		t.Error(m)
	}
}
