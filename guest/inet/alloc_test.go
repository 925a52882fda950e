package inet

import (
	"syscall"
	"testing"
)

// relay is a Link to another stack.
type relay struct {
	to      *Stack
	frames  [][]byte
	n       int
	storage [64][]byte
}

// Send copies into memory that is used again and again.
func (r *relay) Send(pieces []syscall.Iovec) syscall.Errno {
	if r.storage[r.n] == nil {
		r.storage[r.n] = make([]byte, 1<<17)
	}
	k := gather(r.storage[r.n], pieces)
	r.frames = append(r.frames, r.storage[r.n][:k])
	r.n = (r.n + 1) % len(r.storage)
	return 0
}

// pass delivers what was sent.
func (r *relay) pass() bool {
	if len(r.frames) == 0 {
		return false
	}
	for _, f := range r.frames {
		r.to.Deliver(f)
	}
	r.frames = r.frames[:0]
	return true
}

// TestNothingIsAllocated: neither a request with its answer nor bulk data
// allocates, once the connection is warm.
func TestNothingIsAllocated(t *testing.T) {
	if raceDetector {
		t.Skip("needs a build without the race detector, under which sync.Pool forgets on purpose")
	}
	w := newWorld(t)
	ra, rb := &relay{to: w.b}, &relay{to: w.a}
	w.a.link, w.b.link = ra, rb
	quiet := func() {
		for more := true; more; {
			more = ra.pass()
			more = rb.pass() || more
		}
	}
	l := w.listen(80, 1)
	c := w.a.NewTCP()
	c.Connect(Addr{addrB, 80})
	quiet()
	s, err := l.Accept()
	if err != 0 {
		t.Fatal(err)
	}
	request, answer, buf := make([]byte, 200), make([]byte, 800), make([]byte, 1<<16)
	exchange := func() {
		w.clock.now += 1e5
		c.Send(request, 0)
		quiet()
		if n, _ := s.Receive(buf, 0); n != len(request) {
			t.Fatal("no request")
		}
		s.Send(answer, 0)
		quiet()
		if n, _ := c.Receive(buf, 0); n != len(answer) {
			t.Fatal("no answer")
		}
	}
	bulk := func() {
		for range 20 {
			w.clock.now += 1e5
			s.Send(buf, 0)
			quiet()
			for n, err := c.Receive(buf, 0); err == 0 && n > 0; n, err = c.Receive(buf, 0) {
			}
			quiet()
		}
	}
	u, v := w.a.NewUDP(), w.b.NewUDP()
	v.Bind(Addr{Port: 53})
	datagram := func() {
		u.SendTo(request, Addr{addrB, 53}, 0)
		quiet()
		v.Receive(buf, 0)
	}
	for name, f := range map[string]func(){"a request": exchange, "bulk": bulk, "a datagram": datagram} {
		for range 50 {
			f()
		}
		if n := testing.AllocsPerRun(200, f); n >= 1 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}
