package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/cgroup"
)

// instance is one QEMU process.
type instance struct {
	process *os.Process
	link    *tender.Link
	words   *os.File
	group   *cgroup.Group // nil: none
	procs   []*os.File    // of group, until the process is in it
	done    chan struct{}
	exit    tender.Exit // valid when done is closed
}

// run starts QEMU in its namespaces. The goroutine that starts it stays on its
// thread until QEMU ends, because the kernel's parent-death signal follows the
// thread and not the process.
func (m *machine) run(s *tender.Spec) (*instance, error) {
	conn, err := net.FileConn(m.control)
	if err != nil {
		return nil, err
	}
	m.control.Close()
	cmd := exec.Command(m.binary, m.args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.Stdout, cmd.Stderr = m.words, m.words
	cmd.ExtraFiles = m.inherited
	// A session of its own: the terminal's Ctrl-C is for the caller, who asks
	// the program to end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if m.jail != "" {
		m.namespaces(cmd.SysProcAttr)
	}
	if s.DieWithCaller {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	i := &instance{words: m.words, group: m.group, procs: m.procs, done: make(chan struct{})}
	started := make(chan error)
	go i.watch(cmd, started)
	if err := <-started; err != nil {
		conn.Close()
		return nil, err
	}
	i.link = s.Link(conn)
	close(started)
	return i, nil
}

// watch owns the process from start to end.
func (i *instance) watch(cmd *exec.Cmd, started chan error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	i.process = cmd.Process
	if err := i.join(); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		started <- err
		return
	}
	started <- nil
	<-started // the link is there
	cmd.Wait()
	i.link.Finish()
	i.exit = i.judge(cmd.ProcessState)
	i.words.Close()
	if i.group != nil {
		i.group.Remove()
	}
	close(i.done)
}

// join puts the process into its control group, milliseconds before the guest
// runs: QEMU is still reading its command line.
func (i *instance) join() error {
	for _, f := range i.procs {
		if _, err := f.WriteString(strconv.Itoa(i.process.Pid)); err != nil {
			return fmt.Errorf("enter control group: %w", err)
		}
	}
	i.procs = nil
	return nil
}

// Verdicts of guest/kernel, which it tells by QEMU's exit status 2*v+1; QEMU
// itself ends with 0, 1 or a signal.
const (
	verdictExited    = 8
	verdictCrashed   = 9
	verdictMemory    = 10
	verdictForbidden = 11
)

// judge turns how QEMU ended and what the guest told into an Exit.
func (i *instance) judge(p *os.ProcessState) tender.Exit {
	e := tender.Exit{CPUTime: p.UserTime() + p.SystemTime(), Call: -1}
	if i.group != nil {
		e.MaxRSS = i.group.PeakMemory()
	}
	status, told := i.link.ExitStatus()
	w, _ := p.Sys().(syscall.WaitStatus)
	switch {
	case w.Signaled() && i.group != nil && i.group.OOMKilled():
		e.Reason, e.Signal = tender.OutOfMemory, syscall.SIGKILL
	case w.Signaled():
		e.Reason, e.Signal = tender.Killed, w.Signal()
	case told && p.ExitCode() == 2*verdictExited+1:
		e.Reason, e.Status = tender.Exited, status
	case told && p.ExitCode() == 2*verdictCrashed+1 && status > 128:
		e.Reason, e.Signal = tender.Crashed, syscall.Signal(status-128)
	case p.ExitCode() == 2*verdictMemory+1:
		e.Reason, e.Signal = tender.OutOfMemory, syscall.SIGKILL
	case p.ExitCode() == 2*verdictForbidden+1:
		e.Reason, e.Signal = tender.Forbidden, syscall.SIGSYS
	case p.ExitCode() == 1 && len(i.link.Marks()) == 0:
		e.Reason, e.Detail = tender.HostFailed, "QEMU: "+p.String()+": "+i.lastWords()
	default:
		// QEMU itself ends with 1, before the guest's kernel is up. Anything
		// else is what a guest in ring 0 can choose: it has no verdict of ours
		// to give, so it has crashed.
		e.Reason, e.Signal, e.Detail = tender.Crashed, syscall.SIGABRT, "QEMU: "+p.String()+": "+i.lastWords()
	}
	return e
}

// lastWords is the beginning of what QEMU itself said, on one line.
func (i *instance) lastWords() string {
	b := make([]byte, 1024)
	n, _ := i.words.ReadAt(b, 0)
	return strings.ToValidUTF8(strings.Join(strings.Fields(string(b[:n])), " "), "?")
}

// Wait implements tender.Instance.
func (i *instance) Wait(ctx context.Context) (tender.Exit, error) {
	select {
	case <-i.done:
		return i.exit, nil
	case <-ctx.Done():
		return tender.Exit{}, ctx.Err()
	}
}

// Kill implements tender.Instance.
func (i *instance) Kill() error {
	if err := i.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Link implements tender.Instance.
func (i *instance) Link() *tender.Link { return i.link }

// PID implements tender.Instance.
func (i *instance) PID() int { return i.process.Pid }
