package inet

import (
	"bytes"
	"math/rand/v2"
	"syscall"
	"testing"
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
	start := w.clock.now
	w.pour(c, s, data)
	t.Logf("%d ms, info %+v", (w.clock.now-start)/1e6, c.Info())
	w.pour(s, c, data)
	c.Close()
	s.Close()
	w.elapse(100 * second)
	if len(w.a.conns)+len(w.b.conns) != 0 {
		t.Errorf("%d and %d connections are left", len(w.a.conns), len(w.b.conns))
	}
	l.Close()
	for _, s := range []*Stack{w.a, w.b} {
		if used, _ := s.Memory(); used != 0 {
			t.Errorf("%d bytes are held", used)
		}
	}
}

func TestTransferOverALossyWire(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		w := newWorld(t)
		l := w.listen(80, 16)
		w.pass = lossy(r, .05*float64(seed%4), .02*float64(seed%3), .05*float64(seed%5))
		c, s := w.connect(l)
		start := w.clock.now
		w.pour(c, s, randomBytes(r, 300_000))
		t.Logf("seed %d: %d ms, retrans %d", seed, (w.clock.now-start)/1e6, c.Info().TotalRetrans)
	}
}
