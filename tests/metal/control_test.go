package metal

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/abi/control"
	"github.com/dewpaas/dew/cmd/dew/profile"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/qemu"
)

// story starts a story of the app in QEMU and returns when it has said ready.
func story(t *testing.T, ctx context.Context, name string, cpus uint64) (tender.Instance, *bufio.Scanner) {
	t.Helper()
	path, err := exec.LookPath(qemu.Name)
	if err != nil {
		t.Skipf("needs %s", qemu.Name)
	}
	out, outEnd := pipe(t)
	s := &tender.Spec{Name: fmt.Sprintf("metal-%d-%s", os.Getpid(), name), Program: file(t, program(t)), Stdout: outEnd, DieWithCaller: true,
		Boot: boot.Config{Args: []string{"/app", name}, Workdir: "/", MemoryLimit: 128 << 20, CPUs: cpus}}
	i, err := (&qemu.Tender{Binary: path, Accel: qemu.TCG}).Start(ctx, s)
	check(t, err)
	t.Cleanup(func() { i.Kill() })
	outEnd.Close()
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the guest says %q", lines.Text())
	}
	return i, lines
}

// TestCPUProfile: the kernel samples what runs, by running time. A program that
// spins gives about as many samples as were asked for, all in its loop; one
// that sleeps gives next to none.
func TestCPUProfile(t *testing.T) {
	for name, c := range map[string]struct {
		cpus     uint64
		min, max int
	}{"spin": {1, 50, 1 << 30}, "spin2": {2, 50, 1 << 30}, "term": {1, 0, 40}} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			i, _ := story(t, ctx, strings.TrimSuffix(name, "2"), c.cpus)
			_, err := i.Link().Ask(ctx, control.CPUStart, binary.LittleEndian.AppendUint32(nil, 1000))
			check(t, err)
			<-time.After(time.Second)
			answer, err := i.Link().Ask(ctx, control.CPUStop, nil)
			check(t, err)
			path := filepath.Join(t.TempDir(), "app")
			check(t, os.WriteFile(path, program(t), 0o644))
			symbols, err := profile.OpenSymbols(path)
			check(t, err)
			p, err := profile.CPU(answer, symbols)
			check(t, err)
			all, hot := int64(0), int64(0)
			for _, s := range p.Sample {
				all += s.Value[0]
				if f := s.Location[0].Line; len(f) > 0 && f[0].Function.Name == "main.hotLoop" {
					hot += s.Value[0]
				}
			}
			if all < int64(c.min) || all > int64(c.max) || c.min > 0 && hot < all/2 {
				t.Errorf("%d samples, %d of them in the loop", all, hot)
			}
		})
	}
}

// TestQuestionsAndSignalsComeIn: the control channel is the console's first
// port, and an event on it wakes the guest out of HLT.
func TestQuestionsAndSignalsComeIn(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	i, lines := story(t, ctx, "term", 1)
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
