package inet

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"github.com/dewpaas/dew/guest/packet"
)

// held runs f while a call of the endpoint is held up in the middle of sending.
func (w *world) held(from *TCP, link *wire, f func()) {
	w.t.Helper()
	h := &holdUp{Link: link, entered: make(chan struct{}), leave: make(chan struct{})}
	from.stack.link = h
	var done sync.WaitGroup
	done.Go(func() {
		if _, err := from.Send([]byte("held"), 0); err != 0 {
			w.t.Error("send:", err)
		}
	})
	<-h.entered
	f()
	close(h.leave)
	done.Wait() // h stays: others may be sending by it, and it holds nobody up any more
}

// holdUp is a link that keeps the first sender waiting.
type holdUp struct {
	Link
	first          sync.Once
	entered, leave chan struct{}
}

func (h *holdUp) Send(pieces []syscall.Iovec) syscall.Errno {
	h.first.Do(func() {
		close(h.entered)
		<-h.leave
	})
	return h.Link.Send(pieces)
}

// TestNobodyWaitsForASender: frames of a connection are taken off the card, and
// a reader is told that there is nothing, while a call that sends is under way.
// What came meanwhile is there once the call returns, in order.
func TestNobodyWaitsForASender(t *testing.T) {
	w := newWorld(t)
	c, s := w.connect(w.listen(80, 16))
	s.Set(NoDelay, 1)
	s.Send([]byte("one "), 0)
	w.launch()
	s.Send([]byte("two"), 0)
	w.launch()
	w.held(c, w.wa, func() {
		for _, f := range w.flying {
			w.a.Deliver(f.frame)
		}
		w.flying = nil
		buf := make([]byte, 16)
		if n, err := c.Receive(buf, 0); n != 0 || err != syscall.EAGAIN {
			t.Errorf("while a call sends: %d, %v", n, err)
		}
	})
	buf := make([]byte, 16)
	if n, err := c.Receive(buf, 0); string(buf[:n]) != "one two" || err != 0 {
		t.Errorf("received %q, %v", buf[:n], err)
	}
	w.elapse(second)
	if i := s.Info(); i.TotalRetrans != 0 || s.Unacked() != 0 {
		t.Errorf("%d retransmissions, %d bytes not acknowledged", i.TotalRetrans, s.Unacked())
	}
	if n, _ := s.Receive(buf, 0); string(buf[:n]) != "held" {
		t.Errorf("the peer received %q", buf[:n])
	}
}

// TestBacklogIsBounded: who brings more than the backlog holds waits for the
// connection, nothing is lost, and the memory bound has all of it back.
func TestBacklogIsBounded(t *testing.T) {
	w := newWorld(t)
	l := w.listen(80, 16)
	c, s := w.connect(l)
	s.Set(NoDelay, 1)
	var want []byte
	r := rand.New(rand.NewPCG(5, 6))
	for i := range 8 + maxLate {
		p := randomBytes(r, []int{1, 300}[i%2])
		want = append(want, p...)
		s.Send(p, 0)
		w.launch()
	}
	frames := w.flying
	w.flying = nil
	var brought sync.WaitGroup
	w.held(c, w.wa, func() {
		for _, f := range frames[:maxLate] {
			w.a.Deliver(f.frame)
		}
		brought.Go(func() {
			for _, f := range frames[maxLate:] {
				w.a.Deliver(f.frame)
			}
		})
	})
	brought.Wait()
	got := make([]byte, len(want)+1)
	n, err := c.Receive(got, 0)
	if err != 0 || !bytes.Equal(got[:n], want) {
		t.Errorf("received %d of %d bytes, %v", n, len(want), err)
	}
	w.finish(l, c, s)
}

// TestLateSegmentOfAnEndedConnection: what waits when the call under way ends
// the connection is gone with it, and its memory is given back.
func TestLateSegmentOfAnEndedConnection(t *testing.T) {
	w := newWorld(t)
	l := w.listen(80, 16)
	c, s := w.connect(l)
	c.mu.Lock()
	g := packetOf(t, w, s)
	w.a.Deliver(g)
	c.conn.Abort()
	c.unlock(w.clock.now)
	if c.backlog.waiting.Load() || c.Unread() != 0 {
		t.Error("the segment was taken")
	}
	w.finish(l, c, s)
}

// packetOf is a frame with payload that the endpoint sends.
func packetOf(t *testing.T, w *world, from *TCP) []byte {
	t.Helper()
	from.Send([]byte("payload"), 0)
	frames := w.wb.take()
	var p packet.Packet
	if len(frames) != 1 || !packet.Open(frames[0], &p) {
		t.Fatalf("%d frames", len(frames))
	}
	return frames[0]
}
