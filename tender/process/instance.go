package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/cgroup"
)

// Instance is one sealed host process.
type Instance struct {
	pid   int
	pidfd *os.File
	group *cgroup.Group
	link  *tender.Link
	done  chan struct{}
	exit  tender.Exit // written before done is closed
}

var (
	_ tender.Instance = (*Instance)(nil)
	_ tender.Sampler  = (*Instance)(nil)
)

func newInstance(c child, group *cgroup.Group, link *tender.Link) *Instance {
	os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", c.pid), []byte("500"), 0) // a guest dies before its host's services
	unix.SetNonblock(c.pidfd, true)                                              // so that waiting takes no thread
	i := &Instance{pid: c.pid, pidfd: os.NewFile(uintptr(c.pidfd), "pidfd"), group: group,
		link: link, done: make(chan struct{})}
	go i.collect()
	return i
}

// PID implements tender.Instance.
func (i *Instance) PID() int { return i.pid }

// Link implements tender.Instance.
func (i *Instance) Link() *tender.Link { return i.link }

// Wait implements tender.Instance.
func (i *Instance) Wait(ctx context.Context) (tender.Exit, error) {
	select {
	case <-i.done:
		return i.exit, nil
	case <-ctx.Done():
		return tender.Exit{}, ctx.Err()
	}
}

// Kill implements tender.Instance.
func (i *Instance) Kill() error { return i.signal(unix.SIGKILL) }

func (i *Instance) signal(sig unix.Signal) error {
	conn, err := i.pidfd.SyscallConn()
	if err != nil {
		return nil // ended, and collected
	}
	var sent error
	err = conn.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) })
	if err != nil || errors.Is(sent, unix.ESRCH) {
		return nil
	}
	return sent
}

// collect waits for the guest's end and cleans up after it.
func (i *Instance) collect() {
	info, usage, err := i.reap()
	if err != nil {
		i.exit = tender.Exit{Reason: tender.HostFailed, Detail: err.Error()}
	} else {
		i.exit = i.ended(info, usage)
	}
	i.link.Finish()
	if err := i.group.Remove(); err != nil && i.exit.Detail == "" {
		i.exit.Detail = err.Error()
	}
	i.pidfd.Close()
	close(i.done)
}

// childInfo is siginfo_t as waitid fills it (include/uapi/asm-generic/siginfo.h).
type childInfo struct {
	signo, errno, code, _ int32
	pid, uid, status      int32
	_                     [100]byte
}

// reap waits until the pidfd is readable, which is when the process has ended.
func (i *Instance) reap() (info childInfo, usage unix.Rusage, err error) {
	conn, err := i.pidfd.SyscallConn()
	if err != nil {
		return info, usage, err
	}
	var failed error
	err = conn.Read(func(fd uintptr) bool {
		failed = waitPidfd(int(fd), &info, &usage)
		return failed != nil || info.pid != 0
	})
	return info, usage, errors.Join(err, failed)
}

// ended puts a wait status in words.
func (i *Instance) ended(info childInfo, usage unix.Rusage) tender.Exit {
	// Not the kernel's ru_maxrss: a process that was made with CLONE_VM has its
	// parent's in it (fs/exec.c, exec_mmap).
	e := tender.Exit{Call: -1, MaxRSS: i.group.PeakMemory(),
		CPUTime: time.Duration(usage.Utime.Nano() + usage.Stime.Nano())}
	const exited = 1 // CLD_EXITED
	if info.code == exited {
		e.Status = int(info.status)
		return e
	}
	e.Signal = syscall.Signal(info.status)
	switch {
	case e.Signal == unix.SIGSYS:
		e.Reason, e.Call = tender.Forbidden, refusedCall(i.pid)
	case e.Signal == unix.SIGKILL && i.group.OOMKilled():
		e.Reason = tender.OutOfMemory
	case isFault(e.Signal):
		e.Reason = tender.Crashed
	default:
		e.Reason = tender.Killed
	}
	return e
}

func isFault(s syscall.Signal) bool {
	switch s {
	case unix.SIGSEGV, unix.SIGBUS, unix.SIGILL, unix.SIGFPE, unix.SIGTRAP, unix.SIGABRT:
		return true
	}
	return false
}

// Sample implements tender.Sampler. At each tick the threads that are on a CPU
// get a signal: one that was chosen by the CPU time it has used would often get
// it when it had just gone to sleep, and the sample would show the sleep.
func (i *Instance) Sample(ctx context.Context, hz int) error {
	if hz < 1 || hz > 1000 {
		return fmt.Errorf("sample %d times a second: want 1 to 1000", hz)
	}
	tick := time.NewTicker(time.Second / time.Duration(hz))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-i.done:
			return nil
		case <-tick.C:
			i.sampleOnce()
		}
	}
}

func (i *Instance) sampleOnce() {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", i.pid))
	if err != nil {
		return
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", i.pid, tid))
		if err == nil && isRunning(b) {
			unix.Tgkill(i.pid, tid, unix.SIGPROF)
		}
	}
}

// isRunning reads the state out of /proc/PID/stat: behind the name, which may
// hold anything, parentheses too.
func isRunning(stat []byte) bool {
	end := bytes.LastIndexByte(stat, ')')
	return end >= 0 && len(stat) > end+2 && stat[end+2] == 'R'
}
