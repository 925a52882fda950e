package router

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// guard is a connection with deadlines that cost one atomic store. The
// runtime's own deadlines change a timer heap at every step of every request;
// here the reaper looks at all connections a few times a second and sets the
// runtime's deadline only when the time is up.
type guard struct {
	conn net.Conn
	tcp  *net.TCPConn // nil when conn is not plain TCP
	// read and write hold the reaper's tick by which the present operation
	// must be done; 0: no limit; expired: the reaper has struck.
	read, write atomic.Int64
	reaper      *reaper
}

const expired = -1

// tick is the reaper's resolution. Time-outs are late by up to two ticks.
const tick = 250 * time.Millisecond

func (g *guard) open(c net.Conn, r *reaper) {
	g.conn, g.reaper = c, r
	g.tcp, _ = c.(*net.TCPConn)
	r.add(g)
}

// close may be called more than once and from any goroutine.
func (g *guard) close() {
	g.reaper.remove(g)
	g.conn.Close()
}

// readWithin and writeWithin begin an operation that must end within d; 0
// lifts the limit. They fail when the limit before was already broken.
func (g *guard) readWithin(d time.Duration) error  { return g.arm(&g.read, d) }
func (g *guard) writeWithin(d time.Duration) error { return g.arm(&g.write, d) }

func (g *guard) arm(a *atomic.Int64, d time.Duration) error {
	var limit int64
	if d > 0 {
		limit = g.reaper.ticks.Load() + int64(d/tick) + 1
	}
	if a.Swap(limit) == expired {
		a.Store(expired)
		return os.ErrDeadlineExceeded
	}
	return nil
}

// abort wakes whoever reads or writes; the connection is good for nothing but
// close after that.
func (g *guard) abort() { g.conn.SetDeadline(time.Unix(1, 0)) }

func (g *guard) strike(now int64) {
	if d := g.read.Load(); d > 0 && d < now && g.read.CompareAndSwap(d, expired) {
		g.conn.SetReadDeadline(time.Unix(1, 0))
	}
	if d := g.write.Load(); d > 0 && d < now && g.write.CompareAndSwap(d, expired) {
		g.conn.SetWriteDeadline(time.Unix(1, 0))
	}
}

// control runs f on the descriptor; false when there is none any more.
func (g *guard) control(f func(fd uintptr)) bool {
	tcp := g.tcp
	if tcp == nil {
		inner, ok := g.conn.(interface{ NetConn() net.Conn })
		if !ok {
			return false
		}
		if tcp, ok = inner.NetConn().(*net.TCPConn); !ok {
			return false
		}
	}
	raw, err := tcp.SyscallConn()
	return err == nil && raw.Control(f) == nil
}

// quiet reports whether the peer has neither closed the connection nor sent
// anything: the only state in which an idle one may be used again.
func (g *guard) quiet() bool {
	var n int
	var err error
	var b [1]byte
	ok := g.control(func(fd uintptr) {
		n, _, err = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return !ok || n <= 0 && err == syscall.EAGAIN
}

// Poll bits of Linux, include/uapi/asm-generic/poll.h.
const (
	pollErr   = 0x8
	pollHup   = 0x10
	pollRdHup = 0x2000
)

type pollFD struct {
	fd      int32
	events  int16
	revents int16
}

// peerState asks the kernel whether the peer reset the connection (broken) or
// will send no more (ended).
func (g *guard) peerState() (broken, ended bool) {
	g.control(func(fd uintptr) {
		p := pollFD{fd: int32(fd), events: pollRdHup}
		broken, ended = pollNow(&p)
	})
	return broken, ended
}

// reaper owns the deadlines of all connections and the clock they are
// measured with.
type reaper struct {
	ticks atomic.Int64
	mu    sync.Mutex // guards all
	all   map[*guard]struct{}
}

func newReaper() *reaper {
	r := &reaper{all: map[*guard]struct{}{}}
	r.ticks.Store(1)
	return r
}

func (r *reaper) add(g *guard) {
	r.mu.Lock()
	r.all[g] = struct{}{}
	r.mu.Unlock()
}

func (r *reaper) remove(g *guard) {
	r.mu.Lock()
	delete(r.all, g)
	r.mu.Unlock()
}

// run strikes until stop is closed. also is called after each round.
func (r *reaper) run(stop <-chan struct{}, also func()) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		r.strike(r.ticks.Add(1))
		also()
	}
}

func (r *reaper) strike(now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for g := range r.all {
		g.strike(now)
	}
}
