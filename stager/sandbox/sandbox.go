package sandbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sys/unix"
)

// UID is the first of the users as which sandboxed commands run when the caller
// is root; there are UIDs of them. They lie outside of the ranges that
// distributions and systemd hand out (systemd.io/UIDS-GIDS), and outside of that
// of guests (tender/process). What a command may write must belong to its user.
const (
	UID  = 0x7800_0000
	UIDs = 1 << 20
)

// Addr is where the handler of a Config is reached in the sandbox.
const Addr = "127.0.0.1:8080"

// ErrUnavailable is returned where this machine or this user cannot make
// namespaces.
var ErrUnavailable = errors.New("no sandbox")

// Mount shows a folder of the host in the sandbox.
type Mount struct {
	Host     string
	Inside   string // absolute
	Writable bool
	Programs bool // files in it may be executed
}

// Config is one command.
type Config struct {
	Args   []string // Args[0] is a path in the sandbox
	Env    []string // all of it
	Dir    string   // working directory in the sandbox
	Mounts []Mount
	// Root is an empty folder, over which the sandbox's file system is mounted where
	// nobody else sees it: one may be that of several sandboxes.
	Root   string
	Stdout io.Writer
	Stderr io.Writer
	// Handler is reached by HTTP at Addr; nil: no network at all.
	Handler http.Handler
	// Join are files of control groups to which "0" is written to join them.
	Join     []*os.File
	FileSize uint64 // limit of each file that is written, in bytes; 0: none
	User     uint32 // as which it runs if the caller is root; 0: UID

	without guard // for tests, which prove what guards are good for
}

// guard is a set of things that stop what has taken a command over.
type guard int

const (
	callFilter guard = 1 << iota
	noExec
	hiddenProc
	rlimits
)

// program is what the re-executed caller is called, so that Inside knows.
const program = "dew-sandbox"

// setup is what the first process is told.
type setup struct {
	Args, Env []string
	Dir       string
	Root      string // an empty folder to build the file system on
	Mounts    []Mount
	Listen    bool
	Joins     int // descriptors from firstJoin on
	FileSize  uint64
	UID       int // -1: as it is
	Without   guard
}

// report is what it tells. A listener comes along as a descriptor.
type report struct {
	Err       string
	NoSandbox bool // Err means that namespaces cannot be used here
}

const (
	channelFD = 3
	firstJoin = 4
)

// Run runs the command and returns its exit status, or an error where it did
// not run to its end: the context's when that ended first.
func Run(ctx context.Context, c *Config) (status int, err error) {
	own, others, err := channel()
	if err != nil {
		return 0, err
	}
	defer own.Close()
	cmd := c.command(others)
	outputs, err := c.pipes(cmd)
	if err != nil {
		others.Close()
		return 0, err
	}
	wait, err := start(cmd)
	others.Close()
	outputs.started()
	if err != nil {
		outputs.wait()
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stop()
	served, err := c.attend(own)
	if err != nil {
		cmd.Process.Kill()
	}
	state := wait()
	served()
	outputs.wait()
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case err != nil:
		return 0, err
	}
	return exitStatus(state), nil
}

func exitStatus(s syscall.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}

// channel is a pair of sockets that keep messages apart.
func channel() (own, others *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make the sandbox's channel: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "sandbox"), os.NewFile(uintptr(fds[1]), "sandbox"), nil
}

// command is this program again, in namespaces of its own.
func (c *Config) command(channel *os.File) *exec.Cmd {
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return &exec.Cmd{Path: "/proc/self/exe", Args: []string{program}, Env: []string{}, Dir: "/", SysProcAttr: attr,
		ExtraFiles: append([]*os.File{channel}, c.Join...)}
}

// start starts cmd on a thread that lives as long as it does: the kernel sends
// the parent-death signal when the thread ends, not the process (prctl(2)).
func start(cmd *exec.Cmd) (wait func() syscall.WaitStatus, err error) {
	started := make(chan error, 1)
	ended := make(chan syscall.WaitStatus, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		cmd.Wait() // the state tells more than the error
		ended <- cmd.ProcessState.Sys().(syscall.WaitStatus)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return func() syscall.WaitStatus { return <-ended }, nil
}

// outputs copies what the command writes.
type outputs struct {
	ends   []*os.File // the command's
	copies sync.WaitGroup
}

func (c *Config) pipes(cmd *exec.Cmd) (*outputs, error) {
	o := &outputs{}
	for _, out := range []struct {
		to   io.Writer
		file *io.Writer
	}{{c.Stdout, &cmd.Stdout}, {c.Stderr, &cmd.Stderr}} {
		if out.to == nil {
			continue
		}
		r, w, err := os.Pipe()
		if err != nil {
			o.started()
			return nil, err
		}
		*out.file = w // a file: package exec must not wait for it
		o.ends = append(o.ends, w)
		o.copies.Go(func() {
			defer r.Close()
			io.Copy(out.to, r)
			io.Copy(io.Discard, r) // a writer that fails must not stop the command
		})
	}
	return o, nil
}

func (o *outputs) started() {
	for _, f := range o.ends {
		f.Close()
	}
	o.ends = nil
}

func (o *outputs) wait() { o.copies.Wait() }

// maxConnections to the handler are open at once: the go command has as many as
// it downloads modules at a time, ten.
const maxConnections = 64

// attend tells the first process what to do, hears how that went, and serves
// the handler until the returned function is called.
func (c *Config) attend(channel *os.File) (served func(), err error) {
	served = func() {}
	s := setup{Args: c.Args, Env: c.Env, Dir: c.Dir, Root: c.Root, Mounts: c.Mounts, Listen: c.Handler != nil, Joins: len(c.Join), FileSize: c.FileSize, UID: -1, Without: c.without}
	if os.Geteuid() == 0 {
		s.UID = int(cmp.Or(c.User, UID))
	}
	message, err := json.Marshal(s)
	if err != nil {
		return served, err
	}
	if _, err := channel.Write(message); err != nil {
		return served, fmt.Errorf("tell the sandbox what to do: %w", err)
	}
	r, l, err := readReport(channel)
	if err != nil {
		return served, err
	}
	if r.Err != "" {
		if l != nil {
			l.Close()
		}
		if r.NoSandbox {
			return served, fmt.Errorf("%w: %s", ErrUnavailable, r.Err)
		}
		return served, errors.New("sandbox: " + r.Err)
	}
	if l == nil {
		return served, nil
	}
	server := &http.Server{Handler: c.Handler, ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(netutil.LimitListener(l, maxConnections)) }()
	return func() { server.Close(); <-done }, nil
}

func readReport(channel *os.File) (r report, l net.Listener, err error) {
	b, oob := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(int(channel.Fd()), b, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return r, nil, fmt.Errorf("hear from the sandbox: %w", err)
	}
	if n == 0 {
		return r, nil, errors.New("sandbox: its first process died")
	}
	if messages, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil && len(messages) > 0 {
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil || len(fds) != 1 {
			return r, nil, fmt.Errorf("hear from the sandbox: %d descriptors, %w", len(fds), err)
		}
		f := os.NewFile(uintptr(fds[0]), "listener")
		l, err = net.FileListener(f)
		f.Close()
		if err != nil {
			return r, nil, fmt.Errorf("hear from the sandbox: %w", err)
		}
	}
	return r, l, json.Unmarshal(b[:n], &r)
}
