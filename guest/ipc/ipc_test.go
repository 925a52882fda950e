package ipc

import (
	"bytes"
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dewpaas/dew/guest/fd"
)

func TestPipeIsAtomicUpToAPage(t *testing.T) {
	r, w := Pipe()
	if n, err := w.Write(make([]byte, pipeSize+5), fd.AtPosition); n != pipeSize || err != 0 {
		t.Fatalf("wrote %d: %v", n, err)
	}
	r.Read(make([]byte, atomicSize-1), fd.AtPosition)
	if _, err := w.Write(make([]byte, atomicSize), fd.AtPosition); err != syscall.EAGAIN {
		t.Errorf("part of an atomic write: %v", err)
	}
	if w.Ready()&fd.Writable != 0 {
		t.Error("writable without room for a page")
	}
	r.Read(make([]byte, 1), fd.AtPosition)
	if n, err := w.Write(make([]byte, atomicSize), fd.AtPosition); n != atomicSize || err != 0 {
		t.Errorf("wrote %d: %v", n, err)
	}
}

func TestPipeEnds(t *testing.T) {
	r, w := Pipe()
	w.Write([]byte("last"), fd.AtPosition)
	w.Closing()
	b := make([]byte, 10)
	if n, err := r.Read(b, fd.AtPosition); n != 4 || err != 0 {
		t.Errorf("read %d: %v", n, err)
	}
	if n, err := r.Read(b, fd.AtPosition); n != 0 || err != 0 {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if r.Ready()&fd.HungUp == 0 {
		t.Error("the reader is not told that the writer is gone")
	}
	r, w = Pipe()
	r.Closing()
	if _, err := w.Write(b, fd.AtPosition); err != syscall.EPIPE {
		t.Errorf("without a reader: %v", err)
	}
}

// TestRingKeepsOrder compares with a plain slice over random steps.
func TestRingKeepsOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var ring buffer
	var plain []byte
	for i := range 20000 {
		p := make([]byte, rng.IntN(300))
		if rng.IntN(2) == 0 {
			for k := range p {
				p[k] = byte(i + k)
			}
			n := ring.write(p, 1000)
			plain = append(plain, p[:n]...)
		} else {
			n := ring.read(p)
			if !bytes.Equal(p[:n], plain[:n]) {
				t.Fatalf("step %d read other bytes", i)
			}
			plain = plain[n:]
		}
		if ring.n != len(plain) || len(plain) > 1000 {
			t.Fatalf("step %d: %d bytes, want %d", i, ring.n, len(plain))
		}
	}
}

func TestEventCounts(t *testing.T) {
	e := NewEvent(2, true)
	b := make([]byte, 8)
	for range 2 {
		if _, err := e.Read(b, fd.AtPosition); err != 0 || get64(b) != 1 {
			t.Fatalf("a semaphore gave %d: %v", get64(b), err)
		}
	}
	if _, err := e.Read(b, fd.AtPosition); err != syscall.EAGAIN {
		t.Errorf("empty: %v", err)
	}
	put64(b, maxEvent)
	e.Write(b, fd.AtPosition)
	put64(b, 1)
	if _, err := e.Write(b, fd.AtPosition); err != syscall.EAGAIN || e.Ready()&fd.Writable != 0 {
		t.Errorf("overflow: %v", err)
	}
	put64(b, ^uint64(0))
	if _, err := e.Write(b, fd.AtPosition); err != syscall.EINVAL {
		t.Errorf("the one value that is refused: %v", err)
	}
}

func TestTimerExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var timer Timer
		timer.Set(time.Second, 100*time.Millisecond)
		b := make([]byte, 8)
		if _, err := timer.Read(b, 0); err != syscall.EAGAIN {
			t.Errorf("too early: %v", err)
		}
		time.Sleep(time.Second + 250*time.Millisecond)
		synctest.Wait()
		if _, err := timer.Read(b, 0); err != 0 || get64(b) != 3 {
			t.Errorf("%d expiries, %v; want 3", get64(b), err)
		}
		if left, interval := timer.Set(0, 0); left != 50*time.Millisecond || interval != 100*time.Millisecond {
			t.Errorf("left %v, interval %v", left, interval)
		}
		time.Sleep(time.Second)
		if timer.Ready() != 0 {
			t.Error("a disarmed timer fired")
		}
	})
}

func TestEpollLevelEdgeAndOneShot(t *testing.T) {
	for name, c := range map[string]struct {
		events uint32
		want   [3]int // events in a row without reading; the last after another write
	}{
		"level":    {syscall.EPOLLIN, [3]int{1, 1, 1}},
		"edge":     {syscall.EPOLLIN | edgeTriggered, [3]int{1, 0, 1}},
		"one shot": {syscall.EPOLLIN | oneShot, [3]int{1, 0, 0}},
		"other":    {syscall.EPOLLPRI, [3]int{0, 0, 0}},
	} {
		p, e := NewEpoll(), NewEvent(1, false)
		if err := p.Control(syscall.EPOLL_CTL_ADD, 4, e, EpollEvent{Events: c.events}); err != 0 {
			t.Fatal(err)
		}
		out := make([]EpollEvent, 4)
		var got [3]int
		got[0], got[1] = p.Wait(out, 0), p.Wait(out, 0)
		b := make([]byte, 8)
		b[0] = 1
		e.Write(b, 0)
		got[2] = p.Wait(out, 0)
		if got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		p.Close()
	}
}

func TestEpollRefusesLoopsAndFiles(t *testing.T) {
	a, b := NewEpoll(), NewEpoll()
	if err := a.Control(syscall.EPOLL_CTL_ADD, 3, b, EpollEvent{}); err != 0 {
		t.Fatal(err)
	}
	for _, p := range []*Epoll{a, b} {
		if err := b.Control(syscall.EPOLL_CTL_ADD, 4, p, EpollEvent{}); err != syscall.ELOOP {
			t.Errorf("a loop: %v", err)
		}
	}
	e := NewEvent(0, false)
	if err := a.Control(syscall.EPOLL_CTL_MOD, 5, e, EpollEvent{}); err != syscall.ENOENT {
		t.Errorf("change of what is not there: %v", err)
	}
	a.Control(syscall.EPOLL_CTL_ADD, 5, e, EpollEvent{})
	if err := a.Control(syscall.EPOLL_CTL_ADD, 5, e, EpollEvent{}); err != syscall.EEXIST {
		t.Errorf("twice: %v", err)
	}
}

func TestEpollWaitIsWokenAndTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewEpoll()
		r, w := Pipe()
		p.Control(syscall.EPOLL_CTL_ADD, 3, r, EpollEvent{Events: syscall.EPOLLIN})
		out := make([]EpollEvent, 1)
		begin := time.Now()
		if n := p.Wait(out, time.Second); n != 0 || time.Since(begin) != time.Second {
			t.Errorf("%d events after %v", n, time.Since(begin))
		}
		go func() {
			time.Sleep(time.Second)
			w.Write([]byte("x"), fd.AtPosition)
		}()
		if n := p.Wait(out, -1); n != 1 || out[0].Events != syscall.EPOLLIN {
			t.Errorf("%d events, %x", n, out[0].Events)
		}
	})
}

// paths names sockets by their path alone.
type paths struct{}

func (paths) Bind(p string) (any, syscall.Errno) { return "/" + p, 0 }
func (paths) Find(p string) (any, syscall.Errno) { return "/" + p, 0 }

func unixAddr(name string) []byte { return append([]byte{syscall.AF_UNIX, 0}, name...) }

func TestUnixStream(t *testing.T) {
	u := NewUnixNet(paths{})
	l, _ := u.Open(syscall.SOCK_STREAM, 0)
	c, _ := u.Open(syscall.SOCK_STREAM, 0)
	addr := unixAddr("sock\x00")
	if err := c.Connect(addr); err != syscall.ECONNREFUSED {
		t.Errorf("nobody there: %v", err)
	}
	l.Bind(addr)
	if err := l.Listen(0); err != 0 {
		t.Fatal(err)
	}
	if err := c.Connect(addr); err != 0 {
		t.Fatal(err)
	}
	another, _ := u.Open(syscall.SOCK_STREAM, 0)
	if err := another.Connect(addr); err != syscall.EAGAIN {
		t.Errorf("backlog is full: %v", err)
	}
	if l.Ready()&fd.Readable == 0 {
		t.Error("the listener is not readable")
	}
	s, err := l.Accept()
	if err != 0 {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("0123456789"), unixBuffer/10+100)
	n, err := c.Send(big, nil, 0)
	if n != unixBuffer || err != 0 || c.Ready()&fd.Writable != 0 {
		t.Errorf("sent %d, %v, ready %x", n, err, c.Ready())
	}
	c.Closing()
	got := make([]byte, len(big))
	if n, _, _, err := s.Receive(got, nil, 0); err != 0 || !bytes.Equal(got[:n], big[:unixBuffer]) {
		t.Errorf("received %d, %v", n, err)
	}
	if n, _, _, err := s.Receive(got, nil, 0); n != 0 || err != 0 {
		t.Errorf("after the end: %d, %v", n, err)
	}
	if _, err := s.Send([]byte("x"), nil, 0); err != syscall.EPIPE {
		t.Errorf("to nobody: %v", err)
	}
	l.Closing()
	if err := another.Connect(addr); err != syscall.ECONNREFUSED {
		t.Errorf("to a closed listener: %v", err)
	}
}

func TestUnixDatagramsKeepTheirBounds(t *testing.T) {
	u := NewUnixNet(paths{})
	a, _ := u.Open(syscall.SOCK_DGRAM, 0)
	b, _ := u.Open(syscall.SOCK_DGRAM, 0)
	a.Bind(unixAddr("\x00here"))
	b.Bind(unixAddr("")) // a name is found for it
	for _, s := range []string{"one", "", "three"} {
		if n, err := b.Send([]byte(s), unixAddr("\x00here"), 0); n != len(s) || err != 0 {
			t.Fatalf("sent %d: %v", n, err)
		}
	}
	p, from := make([]byte, 2), make([]byte, 110)
	n, addrLen, got, err := a.Receive(p, from, syscall.MSG_TRUNC)
	if n != 3 || got&syscall.MSG_TRUNC == 0 || err != 0 || addrLen != 8 {
		t.Errorf("n %d, flags %x, address of %d bytes, %v", n, got, addrLen, err)
	}
	if n, _, _, err := a.Receive(p, from, 0); n != 0 || err != 0 {
		t.Errorf("the empty one: %d, %v", n, err)
	}
	sent := 0
	for ; sent < 10*maxQueue; sent++ {
		if _, err := b.Send([]byte("x"), unixAddr("\x00here"), 0); err != 0 {
			if err != syscall.EAGAIN {
				t.Error(err)
			}
			break
		}
	}
	if sent >= 10*maxQueue {
		t.Error("the queue has no end")
	}
}
