package inet

import (
	"bytes"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/dewpaas/dew/guest/fd"
)

// hermit is a stack without a vNIC.
func hermit(t *testing.T) *Stack {
	h := &handClock{c: &clock{now: 1e9, wake: map[*Stack]int64{}}}
	h.s = New(Config{Clock: h, Fixed: true})
	return h.s
}

func TestLoopback(t *testing.T) {
	w := newWorld(t)
	for name, s := range map[string]*Stack{"with a vNIC": w.a, "without": hermit(t)} {
		for _, ip := range [][4]byte{{127, 0, 0, 1}, {127, 1, 2, 3}, {}, addrA} {
			if ip == addrA && !s.hasNIC() {
				continue
			}
			l := s.NewTCP()
			l.Bind(Addr{Port: 80})
			l.Listen(1)
			c := s.NewTCP()
			if err := c.Connect(Addr{ip, 80}); err != syscall.EINPROGRESS {
				t.Fatalf("%s, %v: %v", name, ip, err)
			}
			end, err := l.Accept()
			if err != 0 || c.TakeError() != 0 || c.Ready() != fd.Writable {
				t.Fatalf("%s, %v: accept %v, ready %#x", name, ip, err, c.Ready())
			}
			peer, _ := end.Peer()
			if local := c.Local(); local != peer || s.isLocal(local.IP) == false {
				t.Errorf("%s, %v: local %v, the other end says %v", name, ip, local, peer)
			}
			exchange(t, c, end)
			c.Close()
			if n, err := end.Receive(make([]byte, 1), 0); n != 0 || err != 0 {
				t.Errorf("the end: %d, %v", n, err)
			}
			end.Close()
			l.Close()
		}
		if n := len(s.conns); n != 0 {
			t.Errorf("%s: %d connections are left", name, n)
		}
	}
	if n := len(w.wa.take()); n != 0 {
		t.Errorf("%d frames of the loopback left the guest", n)
	}
}

// exchange sends much in both directions between two ends of one stack.
func exchange(t *testing.T, a, b *TCP) {
	t.Helper()
	data := randomBytes(rand.New(rand.NewPCG(1, 1)), 500_000)
	for _, dir := range [][2]*TCP{{a, b}, {b, a}} {
		var got []byte
		buf := make([]byte, 64<<10)
		for sent := 0; len(got) < len(data); {
			n, err := dir[0].Send(data[sent:], 0)
			if err != 0 && err != syscall.EAGAIN {
				t.Fatal(err)
			}
			sent += n
			k, err := dir[1].Receive(buf, 0)
			if err != 0 && err != syscall.EAGAIN || n == 0 && k == 0 {
				t.Fatalf("stuck after %d of %d bytes: %v", len(got), len(data), err)
			}
			got = append(got, buf[:k]...)
		}
		if !bytes.Equal(got, data) {
			t.Fatal("other bytes arrived")
		}
	}
}

func TestLoopbackRefuses(t *testing.T) {
	s := hermit(t)
	c := s.NewTCP()
	if err := c.Connect(Addr{loopbackIP, 81}); err != syscall.EINPROGRESS {
		t.Fatal(err)
	}
	if err := c.TakeError(); err != syscall.ECONNREFUSED {
		t.Errorf("nobody listens: %v", err)
	}
	if err := s.NewTCP().Connect(Addr{[4]byte{10, 0, 0, 9}, 80}); err != syscall.ENETUNREACH {
		t.Errorf("without a vNIC: %v", err)
	}
	u := s.NewUDP()
	u.Connect(Addr{loopbackIP, 53})
	if _, err := u.Send([]byte("x"), 0); err != 0 {
		t.Fatal(err)
	}
	if _, _, _, err := u.Receive(make([]byte, 9), 0); err != syscall.ECONNREFUSED {
		t.Errorf("nobody has port 53: %v", err)
	}
}

// TestSelfConnect: a connection to itself is the simplest simultaneous open.
func TestSelfConnect(t *testing.T) {
	s := hermit(t)
	c := s.NewTCP()
	c.Bind(Addr{loopbackIP, 40000})
	if err := c.Connect(Addr{loopbackIP, 40000}); err != syscall.EINPROGRESS {
		t.Fatal(err)
	}
	if n, err := c.Send([]byte("hello"), 0); n != 5 || err != 0 {
		t.Fatal(n, err)
	}
	buf := make([]byte, 10)
	if n, err := c.Receive(buf, 0); n != 5 || err != 0 || string(buf[:5]) != "hello" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	c.Close()
}

// TestLoopbackNeverOnTheWire: a frame from outside with an address of ours, or
// of the loopback, is nobody's.
func TestLoopbackNeverOnTheWire(t *testing.T) {
	w := newWorld(t)
	l := w.listen(80, 1)
	defer l.Close()
	for name, change := range map[string]func(src, dst *[4]byte){
		"from the loopback": func(src, _ *[4]byte) { *src = loopbackIP },
		"to the loopback":   func(_, dst *[4]byte) { *dst = loopbackIP },
		"from ourselves":    func(src, _ *[4]byte) { *src = addrB },
		"from nobody":       func(src, _ *[4]byte) { *src = [4]byte{} },
		"from a group":      func(src, _ *[4]byte) { *src = [4]byte{224, 0, 0, 1} },
		"broadcast":         func(_, dst *[4]byte) { *dst = [4]byte{255, 255, 255, 255} },
		"for another":       func(_, dst *[4]byte) { dst[3]++ },
	} {
		src, dst := addrA, addrB
		change(&src, &dst)
		w.b.Deliver(rewritten(src, dst, macB))
		if n := len(w.wb.take()); n != 0 {
			t.Errorf("%s: %d answers", name, n)
		}
	}
	w.b.Deliver(rewritten(addrA, addrB, [6]byte{2, 9, 9, 9, 9, 9}))
	if n := len(w.wb.take()); n != 0 {
		t.Error("a frame for another MAC was taken")
	}
	w.b.Deliver(rewritten(addrA, addrB, macB))
	if n := len(w.wb.take()); n != 1 {
		t.Error("the good frame of this test has no answer")
	}
}
