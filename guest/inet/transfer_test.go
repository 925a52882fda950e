package inet

import (
	"bytes"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/dewpaas/dew/guest/packet"
)

// pour sends all of data on one endpoint and reads it at the other.
func (w *world) pour(from, to *TCP, data []byte) {
	w.t.Helper()
	var got []byte
	buf := make([]byte, 100_000)
	sent := 0
	w.until(3600*second, "all bytes arrived", func() bool {
		for sent < len(data) {
			n, err := from.Send(data[sent:], 0)
			if err == syscall.EAGAIN {
				break
			}
			if err != 0 {
				w.t.Fatalf("send: %v", err)
			}
			sent += n
		}
		for {
			n, err := to.Receive(buf, 0)
			if err == syscall.EAGAIN || n == 0 {
				if err != 0 && err != syscall.EAGAIN {
					w.t.Fatalf("receive: %v", err)
				}
				break
			}
			got = append(got, buf[:n]...)
		}
		return len(got) >= len(data)
	})
	if !bytes.Equal(got, data) {
		w.t.Fatal("other bytes arrived than were sent")
	}
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestTransfer(t *testing.T) {
	w := newWorld(t)
	l := w.listen(80, 16)
	c, s := w.connect(l)
	data := randomBytes(rand.New(rand.NewPCG(1, 2)), 3_000_000)
	w.pour(c, s, data)
	if i := c.Info(); i.TotalRetrans != 0 || i.BytesSent != 3_000_000 || i.SendMSS != 1448 {
		t.Errorf("%+v", i)
	}
	w.pour(s, c, data)
	w.finish(c, s, l)
}

// TestTransferOverALossyWire: whatever the wire does, exactly the bytes that
// were sent arrive. Each seed is a wire of its own.
func TestTransferOverALossyWire(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 0))
		w := newWorld(t)
		w.delay = []int64{20_000, 2e6, 30e6}[seed%3]
		l := w.listen(80, 16)
		pass := lossy(r, []float64{0, .01, .05, .2}[seed%4], []float64{0, .02, .1}[seed/4%3], []float64{0, .05, .3}[seed/12%3])
		if w.pass = pass; seed%2 == 0 {
			w.pass = each(pass)
		}
		t.Logf("seed %d, delay %d us", seed, w.delay/1000) // shown if it fails
		c, s := w.connect(l)
		start := w.clock.now
		w.pour(c, s, randomBytes(r, 400_000))
		i := c.Info()
		t.Logf("%d ms, %d retransmissions of %d bytes", (w.clock.now-start)/1e6, i.TotalRetrans, i.BytesRetrans)
		w.pour(s, c, randomBytes(r, 50_000))
		w.finish(l, c, s)
	}
}

// finish closes everything and asserts that nothing is left behind.
func (w *world) finish(ends ...*TCP) {
	w.t.Helper()
	for _, e := range ends {
		e.Close()
	}
	w.pass = nil
	w.elapse(20 * 60 * second)
	for _, s := range []*Stack{w.a, w.b} {
		if len(s.conns) != 0 || len(s.waits.byFlow) != 0 || len(s.timers.heap) != 0 || len(s.tcpPorts) != 0 {
			w.t.Errorf("left: %d connections, %d waiting, %d timers, %d ports", len(s.conns), len(s.waits.byFlow), len(s.timers.heap), len(s.tcpPorts))
		}
		if used, _ := s.Memory(); used != 0 {
			w.t.Errorf("%d bytes are still held", used)
		}
	}
}

// TestTimestampsNeverGoBack: of two that read the clock, the earlier may get
// the connection later. Its segments must not look old: a peer drops those
// (RFC 7323 section 5.3), and the time-out after that is felt.
func TestTimestampsNeverGoBack(t *testing.T) {
	w := newWorld(t)
	c, _ := w.connect(w.listen(80, 16))
	c.Set(NoDelay, 1)
	w.elapse(second)
	last, sent := uint32(0), 0
	w.pass = func(toB bool, frame []byte) [][]byte {
		if toB {
			var p packet.Packet
			var o packet.Options
			packet.Open(frame, &p)
			packet.TCP(p.Payload).Options(&o)
			if sent++; sent > 1 && int32(o.Time-last) < 0 {
				t.Errorf("timestamp %d after %d", o.Time, last)
			}
			last = o.Time
		}
		return [][]byte{frame}
	}
	c.Send([]byte("one"), 0)
	w.launch()
	w.clock.now -= 20e6
	c.Send([]byte("two"), 0)
	w.launch()
	if sent != 2 {
		t.Fatalf("%d segments", sent)
	}
}
