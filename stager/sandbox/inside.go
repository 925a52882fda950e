package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Inside tells whether this process was started by Run to be the first one of
// a sandbox. Its main must then do nothing but exit with what Serve returns.
func Inside() bool { return os.Args[0] == program }

// Serve sets the sandbox up, runs the command in it and returns the exit status.
func Serve() int {
	unix.CloseOnExec(channelFD)
	channel := os.NewFile(channelFD, "channel")
	s, err := receive(channel)
	if err != nil {
		return tell(channel, report{Err: err.Error()}, nil)
	}
	l, err := s.prepare()
	if err != nil {
		return tell(channel, report{Err: err.Error(), NoSandbox: denied(err)}, nil)
	}
	command, err := s.start()
	if err != nil {
		return tell(channel, report{Err: err.Error(), NoSandbox: denied(err)}, nil)
	}
	if code := tell(channel, report{}, l); code != 0 {
		return code
	}
	channel.Close()
	return reap(command)
}

// errHere wraps what this machine or this user cannot do.
var errHere = errors.New("not possible here")

func denied(err error) bool {
	return errors.Is(err, errHere) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)
}

// start starts the command from a thread of its own, which gives up all that the
// command must not have. The other threads keep their rights, and run nothing.
func (s *setup) start() (pid int, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err = errors.Join(s.join(), s.restrict()); err != nil {
			return
		}
		cmd := &exec.Cmd{Path: s.Args[0], Args: s.Args, Env: s.Env, Dir: s.Dir, Stdout: os.Stdout, Stderr: os.Stderr, SysProcAttr: &syscall.SysProcAttr{}}
		if s.UID >= 0 {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(s.UID), Gid: uint32(s.UID)}
		}
		if failed := cmd.Start(); failed != nil {
			err = fmt.Errorf("start %s: %v", s.Args[0], failed)
			return
		}
		pid = cmd.Process.Pid
	}()
	<-done
	return pid, err
}

// reap waits for the command as the first process of a pid namespace has to:
// orphans are its children too. When it exits the kernel kills what is left.
func reap(command int) int {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR || err == nil && pid != command:
		case err != nil:
			return 125
		case status.Signaled():
			return 128 + int(status.Signal())
		default:
			return status.ExitStatus()
		}
	}
}

func receive(channel *os.File) (*setup, error) {
	b := make([]byte, 1<<20)
	n, err := channel.Read(b)
	if err != nil {
		return nil, fmt.Errorf("read what to do: %w", err)
	}
	s := new(setup)
	if err := json.Unmarshal(b[:n], s); err != nil {
		return nil, fmt.Errorf("read what to do: %w", err)
	}
	return s, nil
}

// tell sends the report, and the listener where there is one.
func tell(channel *os.File, r report, l *os.File) int {
	b, err := json.Marshal(r)
	if err != nil {
		return 125
	}
	var rights []byte
	if l != nil {
		rights = unix.UnixRights(int(l.Fd()))
		defer l.Close()
	}
	if err := unix.Sendmsg(int(channel.Fd()), b, rights, nil, 0); err != nil || r.Err != "" {
		return 125
	}
	return 0
}

// prepare makes what the whole process shares: network, mounts, name.
func (s *setup) prepare() (l *os.File, err error) {
	if s.Listen {
		if l, err = listen(); err != nil {
			return nil, err
		}
	}
	if err := s.fileSystem(); err != nil {
		return nil, err
	}
	if err := unix.Sethostname([]byte("stager")); err != nil {
		return nil, fmt.Errorf("set host name: %w", err)
	}
	return l, nil
}

func (s *setup) join() error {
	for n := range s.Joins {
		f := os.NewFile(uintptr(firstJoin+n), "cgroup")
		_, err := f.WriteString("0")
		f.Close()
		if err != nil {
			return fmt.Errorf("join control group: %w", err)
		}
	}
	return nil
}

// restrict takes away from the calling thread what the command must not have.
func (s *setup) restrict() error {
	for resource, limit := range s.limits() {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("set limit %d: %w", resource, err)
		}
	}
	for c := range uintptr(64) {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			if errors.Is(err, unix.EINVAL) && c > unix.CAP_LAST_CAP {
				break
			}
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	if s.Without&callFilter != 0 {
		return nil
	}
	return s.filter()
}

// maxOpen is how many files a process of a build may have open: the compiler has
// one per imported package.
const maxOpen = 8192

// limits are per process, or per user; a control group bounds the whole.
func (s *setup) limits() map[int]uint64 {
	all := map[int]uint64{unix.RLIMIT_CORE: 0}
	if s.Without&rlimits == 0 {
		all[unix.RLIMIT_NOFILE] = maxOpen
		all[unix.RLIMIT_MEMLOCK] = 0  // pages that cannot be reclaimed
		all[unix.RLIMIT_MSGQUEUE] = 0 // POSIX queues are kernel memory
		all[unix.RLIMIT_RTPRIO] = 0
	}
	if s.FileSize > 0 {
		all[unix.RLIMIT_FSIZE] = s.FileSize
	}
	return all
}

// listen makes the socket that the caller serves, in the sandbox's network,
// where nothing else is: its loopback must be brought up first.
func listen() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("bring loopback up: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return nil, err
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return nil, fmt.Errorf("bring loopback up: %w", err)
	}
	l, err := net.Listen("tcp4", Addr)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return l.(*net.TCPListener).File()
}
