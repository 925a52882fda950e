package kernel

import (
	"bufio"
	"bytes"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// allowed are the functions of the Go runtime that kernel code may call: they
// neither allocate nor need an m. The panics are fatal kernel errors.
var allowed = regexp.MustCompile(`^runtime\.(memmove|memclrNoHeapPointers|memequal|duffzero|duffcopy|morestack|morestack_noctxt|panic[A-Za-z0-9]*)$`)

var packages = []string{"kernel", "cpu", "mem", "thread", "virtio", "firmware", "entropy"}

// TestKernelCodeCallsNothingThatAllocates reads the compiler's listing of each
// package and fails for a call of the runtime that is not allowed: allocation,
// write barriers, maps, interfaces, defer. It is the rule of doc.go.
func TestKernelCodeCallsNothingThatAllocates(t *testing.T) {
	for _, name := range packages {
		functions, calls := listing(t, "../"+name)
		if functions == 0 {
			t.Errorf("%s: the listing names no function", name)
		}
		for call, from := range calls {
			if strings.HasPrefix(call, "runtime.") && !allowed.MatchString(call) {
				t.Errorf("%s: %s calls %s", name, from, call)
			}
		}
	}
}

// TestTheListingShowsAllocations makes sure that the check can fail.
func TestTheListingShowsAllocations(t *testing.T) {
	_, calls := listing(t, "../../abi/boot")
	if _, ok := calls["runtime.newobject"]; !ok {
		t.Errorf("abi/boot allocates, but its listing calls only %v", calls)
	}
}

var (
	functionLine = regexp.MustCompile(`^(\S+) STEXT`)
	callLine     = regexp.MustCompile(`\t(?:CALL|JMP)\t([^\s(]+(?:\([^)]*\)\.[^\s(]+)?)\(SB\)`)
)

// listing compiles a package and returns how many functions it has and, of
// each function called, one caller.
func listing(t *testing.T, dir string) (functions int, calls map[string]string) {
	cmd := exec.Command("go", "build", "-gcflags=-S", ".")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", dir, err, out)
	}
	calls = map[string]string{}
	in := ""
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if m := functionLine.FindStringSubmatch(line); m != nil {
			in = m[1]
			functions++
		}
		// Package initialisation is the program's, and equality functions of
		// types belong to it too.
		if strings.HasSuffix(in, ".init") || strings.HasPrefix(in, "type:") {
			continue
		}
		if m := callLine.FindStringSubmatch(line); m != nil {
			calls[m[1]] = in
		}
	}
	return functions, calls
}
