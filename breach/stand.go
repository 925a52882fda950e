package breach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/breach/container"
	"github.com/dewpaas/dew/tender"
)

// spec is what a tender is given.
func (s *scene) spec(stdout *os.File, steps []string) (*tender.Spec, error) {
	program, err := os.Open(s.program)
	if err != nil {
		return nil, err
	}
	s.later(func() { program.Close() })
	s.control = new(recorder)
	spec := &tender.Spec{
		Name: s.name, Program: program, Image: s.image, Stdout: stdout, Limits: s.limits, DieWithCaller: true, Watch: s.control.watch,
		Boot: boot.Config{Args: append([]string{"/attacker"}, steps...), Env: append([]string{"GOTRACEBACK=none"}, s.env...), Workdir: "/", OverlayQuota: 1 << 20},
	}
	if s.street != nil {
		spec.Tap, spec.Boot.NIC = s.street.card, s.street.nic()
	}
	return spec, nil
}

// guarded starts the attacker as its tender starts every guest.
func guarded(s *scene, stdout *os.File, steps []string) (body, error) {
	spec, err := s.spec(stdout, steps)
	if err != nil {
		return nil, err
	}
	if s.row.Tender == Process {
		return s.suite.process.Start(context.Background(), spec)
	}
	if s.alter != nil {
		return s.suite.qemu.Altered(s.alter).Start(context.Background(), spec)
	}
	return s.suite.qemu.Start(context.Background(), spec)
}

// wallOff leaves out the seccomp filter.
func wallOff(s *scene, stdout *os.File, steps []string) (body, error) {
	spec, err := s.spec(stdout, steps)
	if err != nil {
		return nil, err
	}
	return s.suite.process.WithoutWall().Start(context.Background(), spec)
}

// contained starts the attacker in the container that is the baseline.
func contained(v container.Variant) stand {
	return func(s *scene, stdout *os.File, steps []string) (body, error) {
		program, err := os.Open(s.suite.program)
		if err != nil {
			return nil, err
		}
		defer program.Close()
		var network func(int) error
		if s.street != nil {
			network = s.street.admit
		}
		return s.suite.containers.Start(&container.Spec{Network: network, Name: s.name, Variant: v, Dir: s.dir, Program: program,
			Args: steps, Env: s.env, Stdout: stdout, Image: s.image, Limits: s.limits})
	}
}

// bare starts the attacker as an ordinary process of root, which only has a
// mount namespace of its own. It has the descriptors of package abi.
func bare(s *scene, stdout *os.File, steps []string) (body, error) {
	theirs, ours, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	s.control = new(recorder)
	go s.control.drain(ours)
	s.later(func() { ours.Close() })
	record, err := memoryFile("record")
	if err != nil {
		return nil, err
	}
	s.record = record
	s.later(func() { record.Close() })
	cmd := exec.Command(s.program, steps...)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.Dir = s.env, stdout, stdout, s.dir
	cmd.ExtraFiles = []*os.File{3: s.image, 4: theirs, 5: record}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Setsid: true, Pdeathsig: syscall.SIGKILL}
	b := &bareBody{cmd: cmd, done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go b.collect()
	return b, nil
}

type bareBody struct {
	cmd  *exec.Cmd
	done chan struct{}
	exit tender.Exit // written before done is closed
}

func (b *bareBody) collect() {
	b.cmd.Wait()
	state := b.cmd.ProcessState
	b.exit = tender.Exit{Call: -1, Status: state.ExitCode()}
	if u, ok := state.SysUsage().(*syscall.Rusage); ok {
		b.exit.MaxRSS = uint64(u.Maxrss) << 10
	}
	if w, ok := state.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		b.exit.Reason, b.exit.Signal = tender.Killed, w.Signal()
	}
	close(b.done)
}

func (b *bareBody) PID() int { return b.cmd.Process.Pid }

func (b *bareBody) Kill() error {
	if err := b.cmd.Process.Kill(); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

func (b *bareBody) Wait(ctx context.Context) (tender.Exit, error) {
	select {
	case <-b.done:
		return b.exit, nil
	case <-ctx.Done():
		return tender.Exit{}, ctx.Err()
	}
}

func socketPair() (theirs, ours *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make control channel: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}

func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make memory file: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// copyProgram gives the scene a program file of its own, to be attacked.
func (s *scene) copyProgram() error {
	b, err := os.ReadFile(s.suite.program)
	if err != nil {
		return err
	}
	s.program = filepath.Join(s.dir, "program")
	s.set("program", s.program)
	return os.WriteFile(s.program, b, 0o755)
}

// watch is a tender.Spec's Watch.
func (r *recorder) watch(c io.ReadWriteCloser) io.ReadWriteCloser {
	return struct {
		io.Reader
		io.WriteCloser
	}{io.TeeReader(c, r), c}
}
