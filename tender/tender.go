package tender

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/elastic/go-seccomp-bpf/arch"

	"github.com/dewpaas/dew/abi/boot"
)

// Tender starts guests of one kind.
type Tender interface {
	// Start returns when the guest's first instruction is about to run. The
	// files of the spec remain the caller's, who closes them when Start has
	// returned: the Go runtime of a process that has a tap open is woken for
	// each frame to the guest. On error nothing of the guest is left behind.
	Start(ctx context.Context, s *Spec) (Instance, error)
}

// Spec is all that one guest gets.
type Spec struct {
	Name    string      // unique on this host; letters, digits, '-', '.' and '_'
	Program *os.File    // the droplet's ELF; only read, its page cache is shared by all instances
	Image   *os.File    // the file-system image, nil for none
	Boot    boot.Config // ImageSize, MemoryLimit, CPUs and Seed are filled in by the tender where zero
	Tap     *os.File    // open tap, IFF_NO_PI|IFF_VNET_HDR, header of 12 bytes, non-blocking; nil for no vNIC
	Stdout  *os.File    // write end of a pipe; made blocking, which a guest relies on
	Stderr  *os.File    // the same; nil: as Stdout
	Limits  Limits

	// Watch, where it is set, is given our end of the control channel and
	// returns what the Link reads and writes instead: for those who look at
	// what a guest really says.
	Watch func(io.ReadWriteCloser) io.ReadWriteCloser

	// DieWithCaller ends the guest when the calling process ends, however it
	// ends: right for `dew run`, wrong for a cell, whose guests outlive it.
	DieWithCaller bool
}

// Link returns the link on our end of the guest's control channel.
func (s *Spec) Link(conn io.ReadWriteCloser) *Link {
	if s.Watch != nil {
		conn = s.Watch(conn)
	}
	return NewLink(conn)
}

// Limits are enforced from outside the guest.
type Limits struct {
	Memory uint64  // bytes, guest and its tender together; 0: none
	CPUs   float64 // of a host's CPUs, by quota; 0: none
	Shares int     // of the CPUs when they are all wanted, beside those of others; 0: as many as the kernel gives unasked
	PIDs   int     // threads of the guest; 0: DefaultPIDs
}

// DefaultPIDs bounds the threads of a guest whose spec does not: a Go program
// has a few more than GOMAXPROCS.
const DefaultPIDs = 512

// Instance is one running or ended guest.
type Instance interface {
	// Wait returns how the guest ended, or ctx's error.
	Wait(ctx context.Context) (Exit, error)
	// Kill ends the guest now. Killing one that has ended is no error.
	Kill() error
	// Link is the control channel. It closes when the guest ends.
	Link() *Link
	// PID is the host process to look for: the guest itself, or its VMM.
	PID() int
}

// Sampler is an Instance whose CPU samples are triggered from outside, because
// its guest has no timer signal of its own.
type Sampler interface {
	// Sample sends SIGPROF to the threads that are running, hz times a second,
	// until ctx ends.
	Sample(ctx context.Context, hz int) error
}

// Reason says why a guest ended.
type Reason int

const (
	Exited      Reason = iota // by itself, see Status
	Killed                    // by a signal from outside: its caretaker or the host
	Crashed                   // by a fault that the program does not handle, see Signal
	OutOfMemory               // it passed its memory limit
	Forbidden                 // it made a call that the wall does not let through
	HostFailed                // the tender could not go on; the guest is not to blame
)

// Exit is how a guest ended.
type Exit struct {
	Reason  Reason
	Status  int            // exit status, when Reason is Exited
	Signal  syscall.Signal // when it ended by a signal
	Call    int            // number of the refused call when Forbidden and known, else -1
	Detail  string         // more about HostFailed
	CPUTime time.Duration  // user and system
	MaxRSS  uint64         // bytes, high-water mark of its control group; 0: not known
}

// Code is the exit status of a shell that ran the guest as a command.
func (e Exit) Code() int {
	switch {
	case e.Signal != 0:
		return 128 + int(e.Signal)
	case e.Reason == HostFailed:
		return 125
	default:
		return e.Status
	}
}

// String says it in words for people.
func (e Exit) String() string {
	switch e.Reason {
	case Exited:
		return fmt.Sprintf("exited with status %d", e.Status)
	case OutOfMemory:
		return "memory limit exceeded"
	case Forbidden:
		if e.Call >= 0 {
			return "made the forbidden system call " + callName(e.Call)
		}
		return "made a forbidden system call"
	case Crashed:
		return "crashed: " + e.Signal.String()
	case Killed:
		return "killed: " + e.Signal.String()
	default:
		return "the tender failed: " + e.Detail
	}
}

// callName is the name of a system call of x86-64, with its number.
func callName(n int) string {
	if name := arch.X86_64.SyscallNumbers[n]; name != "" {
		return fmt.Sprintf("%s (%d)", name, n)
	}
	return strconv.Itoa(n)
}

// Check refuses a spec that no tender could run.
func (s *Spec) Check() error {
	switch {
	case !validName(s.Name):
		return fmt.Errorf("instance name %q: want 1 to 64 letters, digits, '-', '.' or '_', and no dot in front", s.Name)
	case s.Program == nil:
		return fmt.Errorf("instance %s: no program", s.Name)
	case s.Stdout == nil:
		return fmt.Errorf("instance %s: no stdout", s.Name)
	case (s.Tap != nil) != s.Boot.HasNIC():
		return fmt.Errorf("instance %s: tap and the boot record's NIC must come together", s.Name)
	case len(s.Boot.Args) == 0:
		return fmt.Errorf("instance %s: no argument 0", s.Name)
	}
	return nil
}

// validName keeps a name harmless as one element of a path.
func validName(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
	return s != "" && len(s) <= 64 && s[0] != '.' && strings.Trim(s, letters) == ""
}
