package breach

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// puppet is a process that makes the system calls that it is told to, from
// inside its own walls: as if who attacks it had taken it over. It is led by
// ptrace(2), which nobody but the host's root may; and by a process of its own
// (Lead), since to the parent of a puppet its stops would look like its end.
type puppet struct {
	orders *gob.Encoder
	news   *gob.Decoder
	filled uintptr // bytes of its memory that were put
	gone   bool    // it has ended, by its own call
}

// order is what the leader is told: to make a call, to write, to read.
type order struct {
	Call  bool
	Words []uintptr // of the call: number, arguments
	Put   []byte
	See   int
	At    uintptr
}

// news is how that went.
type news struct {
	Value int64
	Seen  []byte
	Data  uintptr // where there is memory to write, in the first
	Gone  bool
	Err   string
}

// leaderName is how a leader knows that it is one.
const leaderName = "dew-breach-leader"

// Leads tells whether this process was started to lead puppets. Programs that
// make attacks ask first of all, and call Lead then.
func Leads() bool { return len(os.Args) == 2 && os.Args[0] == leaderName }

// takeOver leads a process while do runs. It stands still meanwhile, and goes on
// as before afterwards if it still lives.
func takeOver(pid int, do func(*puppet) error) error {
	cmd := exec.Command("/proc/self/exe", fmt.Sprint(pid))
	cmd.Args[0], cmd.Stderr = leaderName, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start a leader: %w", err)
	}
	p := &puppet{orders: gob.NewEncoder(in), news: gob.NewDecoder(out)}
	first, err := p.listen()
	if err == nil {
		p.filled = first.Data
		err = do(p)
	}
	in.Close()
	if err = errors.Join(err, cmd.Wait()); err != nil {
		return fmt.Errorf("take over process %d: %w", pid, err)
	}
	return nil
}

func (p *puppet) listen() (n news, err error) {
	if err := p.news.Decode(&n); err != nil {
		return n, fmt.Errorf("hear the leader: %w", err)
	}
	p.gone = p.gone || n.Gone
	if n.Err != "" {
		return n, errors.New(n.Err)
	}
	return n, nil
}

func (p *puppet) tell(o order) (news, error) {
	if p.gone {
		return news{Value: -int64(unix.EPERM)}, nil
	}
	if err := p.orders.Encode(o); err != nil {
		return news{}, fmt.Errorf("tell the leader: %w", err)
	}
	return p.listen()
}

// call makes it make a system call, and returns what the kernel answers:
// negative is an errno. Once it has ended, or where a filter traps the call, the
// answer is EPERM.
func (p *puppet) call(number uintptr, args ...uintptr) (int64, error) {
	n, err := p.tell(order{Call: true, Words: append([]uintptr{number}, args...)})
	return n.Value, err
}

// put writes bytes into its memory, and returns where. What cannot be written
// makes the call fail that needs it.
func (p *puppet) put(b []byte) uintptr {
	at := p.filled
	p.filled += (uintptr(len(b)) + 15) &^ 15
	p.tell(order{Put: b, At: at})
	return at
}

// text is a C string in its memory.
func (p *puppet) text(s string) uintptr { return p.put(append([]byte(s), 0)) }

// see reads its memory.
func (p *puppet) see(at uintptr, n int) string {
	seen, _ := p.tell(order{See: n, At: at})
	return string(seen.Seen)
}

// Lead is the leader's life: it returns its exit status.
func Lead() int {
	runtime.LockOSThread() // tracing is a thread's
	orders, reports := gob.NewDecoder(os.Stdin), gob.NewEncoder(os.Stdout)
	var l leader
	fmt.Sscan(os.Args[1], &l.pid)
	err := l.seize()
	say := func(n news, err error) bool {
		if n.Gone = l.gone; err != nil {
			n.Err = err.Error()
		}
		return reports.Encode(n) == nil && err == nil
	}
	if !say(news{Data: l.data}, err) {
		return 0 // what ends with its leader goes on (ptrace(2))
	}
	for {
		var o order
		if err := orders.Decode(&o); err != nil {
			if !errors.Is(err, io.EOF) || l.release() != nil {
				return 1
			}
			return 0
		}
		if !say(l.do(o)) {
			return 0
		}
	}
}

// leader is the tracer of one process.
type leader struct {
	pid   int
	saved unix.PtraceRegs
	at    uint64  // of a syscall instruction
	data  uintptr // of memory that may be written
	gone  bool
	fresh bool // it runs another program since
}

func (l *leader) do(o order) (n news, err error) {
	switch {
	case o.Call:
		n.Value, err = l.call(o.Words)
	case o.Put != nil:
		unix.PtracePokeData(l.pid, o.At, o.Put) // what is not there makes the call fail
	case o.See > 0:
		n.Seen = make([]byte, o.See)
		seen, _ := unix.PtracePeekData(l.pid, o.At, n.Seen)
		n.Seen = n.Seen[:max(seen, 0)]
	}
	return n, err
}

// seize stops the process in a system call that waits.
func (l *leader) seize() error {
	if err := unix.PtraceSeize(l.pid); err != nil {
		return err
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if err := unix.PtraceInterrupt(l.pid); err != nil {
			return err
		}
		if _, err := l.wait(); err != nil || l.gone {
			return err
		}
		if err := unix.PtraceGetRegs(l.pid, &l.saved); err != nil {
			return err
		}
		code := make([]byte, 2)
		if _, err := unix.PtracePeekText(l.pid, uintptr(l.saved.Rip-2), code); err == nil && bytes.Equal(code, []byte{0x0f, 0x05}) {
			l.at = l.saved.Rip - 2
			l.data = uintptr(l.saved.Rsp-64<<10) &^ 15 // far below what it uses of its stack
			return nil
		}
		if err := unix.PtraceCont(l.pid, 0); err != nil {
			return err
		}
	}
	return errors.New("it is never found waiting in a system call")
}

func (l *leader) release() error {
	if l.gone {
		return nil
	}
	if l.fresh {
		return unix.PtraceDetach(l.pid)
	}
	return errors.Join(unix.PtraceSetRegs(l.pid, &l.saved), unix.PtraceDetach(l.pid))
}

// wait returns the signal that it stopped with.
func (l *leader) wait() (unix.Signal, error) {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(l.pid, &status, unix.WALL, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("wait for it: %w", err)
		}
		l.gone = !status.Stopped()
		return status.StopSignal(), nil
	}
}

func (l *leader) call(words []uintptr) (int64, error) {
	r := l.saved
	r.Rip, r.Rax, r.Orig_rax = l.at, uint64(words[0]), ^uint64(0)
	for i, to := range []*uint64{&r.Rdi, &r.Rsi, &r.Rdx, &r.R10, &r.R8, &r.R9} {
		*to = 0
		if i+1 < len(words) {
			*to = uint64(words[i+1])
		}
	}
	if err := unix.PtraceSetRegs(l.pid, &r); err != nil {
		return 0, err
	}
	for range 100 {
		if err := unix.PtraceSingleStep(l.pid); err != nil {
			return 0, err
		}
		signal, err := l.wait()
		if err != nil || l.gone || signal == unix.SIGSYS {
			return -int64(unix.EPERM), err
		}
		var now unix.PtraceRegs
		if err := unix.PtraceGetRegs(l.pid, &now); err != nil {
			return 0, err
		}
		if now.Rip != l.at {
			l.fresh = words[0] == unix.SYS_EXECVE && now.Rax == 0
			return int64(now.Rax), nil
		}
	}
	return 0, fmt.Errorf("system call %d is not made", words[0])
}
