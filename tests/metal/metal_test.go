package metal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/qemu"
)

// run boots the program to tell a story and returns what it said and how it
// ended.
func run(t *testing.T, story string, change func(*tender.Spec)) (stdout, stderr string, exit tender.Exit) {
	path, err := exec.LookPath(qemu.Name)
	if err != nil {
		t.Skipf("needs %s", qemu.Name)
	}
	return runOn(t, &qemu.Tender{Binary: path, Accel: qemu.TCG}, story, change)
}

func runOn(t *testing.T, td tender.Tender, story string, change func(*tender.Spec)) (stdout, stderr string, exit tender.Exit) {
	out, outEnd := pipe(t)
	errs, errsEnd := pipe(t)
	s := &tender.Spec{
		Name: fmt.Sprintf("metal-%d-%s", os.Getpid(), story), Program: file(t, program(t)), Stdout: outEnd, Stderr: errsEnd,
		Boot:          boot.Config{Args: []string{"/app", story}, Workdir: "/", Hostname: "metal", MemoryLimit: 128 << 20},
		DieWithCaller: true,
	}
	if change != nil {
		change(s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	i, err := td.Start(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Kill()
	outEnd.Close()
	errsEnd.Close()
	told := make(chan string, 1)
	go func() { told <- text(errs) }()
	stdout = text(out)
	stderr = <-told
	if exit, err = i.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return stdout, stderr, exit
}

func pipe(t *testing.T) (r, w *os.File) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	r.SetReadDeadline(time.Now().Add(60 * time.Second))
	return r, w
}

func file(t *testing.T, b []byte) *os.File {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, b, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func text(r io.Reader) string {
	b, _ := io.ReadAll(r)
	return string(b)
}

func TestStories(t *testing.T) {
	for _, c := range []struct {
		story string
		cpus  uint64
		want  string
	}{
		{"hello", 1, "hello [x y] from outside 1\n"},
		{"hello", 3, "hello [x y] from outside 3\n"},
		{"faults", 1, "nil: runtime error: invalid memory address or nil pointer dereference\n" +
			"divide: runtime error: integer divide by zero\n" +
			"wild: runtime error: invalid memory address or nil pointer dereference\n" +
			"text: runtime error: invalid memory address or nil pointer dereference\nsurvived\n"},
		{"schedule", 1, "sum 49995000\nturns 400\npreempted true\n"},
		{"schedule", 2, "sum 49995000\nturns 400\npreempted true\n"},
		{"float", 1, "wrong 0\n"},
		{"float", 2, "wrong 0\n"},
		{"memory", 1, "enough\n"},
		{"memory", 2, "enough\n"},
	} {
		t.Run(fmt.Sprint(c.story, c.cpus), func(t *testing.T) {
			stdout, stderr, exit := run(t, c.story, func(s *tender.Spec) {
				s.Boot.CPUs = c.cpus
				s.Boot.Args = append(s.Boot.Args, "x", "y")
				s.Boot.Env = []string{"GREETING=from outside"}
			})
			if stdout != c.want || stderr != "" || exit.Reason != tender.Exited || exit.Status != 0 {
				t.Errorf("%v\n%s\nstderr:\n%s\nwant\n%s", exit, stdout, stderr, c.want)
			}
		})
	}
}

func TestEnds(t *testing.T) {
	for story, c := range map[string]struct {
		reason tender.Reason
		code   int
		says   string
	}{
		"exit":    {tender.Exited, 42, ""},
		"crash":   {tender.Crashed, 128 + int(syscall.SIGABRT), "nil pointer dereference"},
		"exhaust": {tender.OutOfMemory, 128 + int(syscall.SIGKILL), "raise the memory limit"},
		"wild":    {tender.Forbidden, 128 + int(syscall.SIGSYS), "system call 41"},
	} {
		t.Run(story, func(t *testing.T) {
			_, stderr, exit := run(t, story, nil)
			if exit.Reason != c.reason || exit.Code() != c.code || !strings.Contains(stderr, c.says) {
				t.Errorf("%v, code %d, stderr %s", exit, exit.Code(), stderr)
			}
		})
	}
}

func TestOutputsAreToldApart(t *testing.T) {
	stdout, stderr, _ := run(t, "stderr", nil)
	if stdout != "to stdout\n" || stderr != "to stderr\n" {
		t.Errorf("stdout %q, stderr %q", stdout, stderr)
	}
}

// TestALogThatCanBeReadToo: a terminal is one, and a file of os.Create.
func TestALogThatCanBeReadToo(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	check(t, err)
	defer f.Close()
	_, stderr, exit := run(t, "stderr", func(s *tender.Spec) { s.Stdout = f })
	if b, err := os.ReadFile(f.Name()); string(b) != "to stdout\n" || stderr != "to stderr\n" {
		t.Errorf("%v: stdout %q, %v, stderr %q", exit, b, err, stderr)
	}
}

// TestNothingOfALongLogIsLost: more than the console's ring and a pipe hold.
func TestNothingOfALongLogIsLost(t *testing.T) {
	if stdout, _, _ := run(t, "log", nil); len(stdout) != 300001 {
		t.Errorf("%d bytes", len(stdout))
	}
}

func TestAnIdleGuestUsesNoCPU(t *testing.T) {
	_, _, busy := run(t, "hello", nil)
	stdout, _, exit := run(t, "idle", nil)
	if stdout != "idle\ndone\n" || exit.CPUTime > busy.CPUTime+300*time.Millisecond {
		t.Errorf("%s: %v of CPU, of which %v to start", stdout, exit.CPUTime, busy.CPUTime)
	}
}

// TestClocks: a guest that was told how fast its clocks go, and one that has
// measured them, sleep as long as they meant to and know the hour.
func TestClocks(t *testing.T) {
	path, err := exec.LookPath(qemu.Name)
	if err != nil {
		t.Skipf("needs %s", qemu.Name)
	}
	jail, err := os.MkdirTemp("/tmp", "metal-jail-")
	check(t, err)
	t.Cleanup(func() { os.Remove(jail) })
	told, err := qemu.Find(t.Context(), jail)
	check(t, err)
	told.Accel = qemu.TCG
	for name, td := range map[string]*qemu.Tender{"told": told, "measured": {Binary: path, Accel: qemu.TCG}} {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			stdout, stderr, exit := runOn(t, td, "clock", nil)
			whole := time.Since(begun)
			var slept, at int64
			if _, err := fmt.Sscan(stdout, &slept, &at); err != nil || exit.Status != 0 {
				t.Fatalf("%s%s%v: %v", stdout, stderr, exit, err)
			}
			if slept < int64(200*time.Millisecond) || slept > int64(whole) || at < begun.UnixMilli() || at > time.Now().UnixMilli() {
				t.Errorf("slept %v of %v, and then it was %v of [%v, now]", time.Duration(slept), whole, at, begun.UnixMilli())
			}
		})
	}
}

// TestOtherMachines boots on chipsets with ACPI and PCI, of which the tender
// makes no use. Their exit status is all that comes back.
func TestOtherMachines(t *testing.T) {
	path, err := exec.LookPath(qemu.Name)
	if err != nil {
		t.Skipf("needs %s", qemu.Name)
	}
	elf := file(t, program(t))
	record := boot.Encode(&boot.Config{Args: []string{"/app", "hello", "x"}, Env: []string{"GREETING=hi"}, Workdir: "/", CPUs: 2, Seed: [32]byte{1}})
	module := file(t, append(record, make([]byte, -len(record)&4095)...))
	for _, machine := range []string{"q35", "pc"} {
		t.Run(machine, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, path, "-M", machine+",accel=tcg", "-cpu", "max", "-smp", "2", "-m", "128", "-kernel", elf.Name(), "-initrd", module.Name(),
				"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
				"-device", "virtio-serial-pci,id=s,max_ports=4,disable-legacy=on", "-chardev", "null,id=no", "-device", "virtserialport,chardev=no,nr=1,bus=s.0",
				"-chardev", "stdio,id=out", "-device", "virtserialport,chardev=out,nr=2,bus=s.0",
				"-chardev", "null,id=err", "-device", "virtserialport,chardev=err,nr=3,bus=s.0")
			var said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &said, &said
			err := cmd.Run()
			var status *exec.ExitError
			if said.String() != "hello [x] hi 2\n" || !errors.As(err, &status) || status.ExitCode() != 17 {
				t.Errorf("%v: %s", err, &said)
			}
		})
	}
}
