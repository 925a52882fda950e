package metal

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/abi/control"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/qemu"
)

// TestQuestionsAndSignalsComeIn: the control channel is the console's first
// port, and an event on it wakes the guest out of HLT.
func TestQuestionsAndSignalsComeIn(t *testing.T) {
	path, err := exec.LookPath(qemu.Name)
	if err != nil {
		t.Skipf("needs %s", qemu.Name)
	}
	out, outEnd := pipe(t)
	s := &tender.Spec{Name: fmt.Sprintf("metal-%d-term", os.Getpid()), Program: file(t, program(t)), Stdout: outEnd, DieWithCaller: true,
		Boot: boot.Config{Args: []string{"/app", "term"}, Workdir: "/", MemoryLimit: 128 << 20}}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	i, err := (&qemu.Tender{Binary: path, Accel: qemu.TCG}).Start(ctx, s)
	check(t, err)
	defer i.Kill()
	outEnd.Close()
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the guest says %q", lines.Text())
	}
	stacks, err := i.Link().Ask(ctx, control.Stacks, nil)
	if err != nil || !strings.Contains(string(stacks), "main.term") {
		t.Errorf("stacks: %v\n%s", err, stacks)
	}
	check(t, i.Link().Signal(ctx, syscall.SIGTERM))
	if !lines.Scan() || lines.Text() != "terminated" {
		t.Errorf("the guest says %q", lines.Text())
	}
	if e, err := i.Wait(ctx); err != nil || e.Reason != tender.Exited || e.Status != 0 {
		t.Errorf("%v, %v", e, err)
	}
}
