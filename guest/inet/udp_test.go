package inet

import (
	"bytes"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/guest/packet"
)

// rewritten is a SYN to port 80 with addresses of the test's choice.
func rewritten(src, dst [4]byte, mac [6]byte) []byte {
	b := segment(dst, &packet.TCPFields{SourcePort: 5000, DestinationPort: 80, Seq: 1, Flags: packet.SYN, Window: 100}, &packet.Options{}, nil, 0)
	ip := packet.IPv4(b[packet.LinkSize:])
	ip.Set(&packet.IPv4Fields{Source: src, Destination: dst, Protocol: packet.ProtoTCP, TTL: 64, Length: len(ip)})
	seg := packet.TCP(ip[packet.IPv4Size:])
	seg.SetSum(0)
	seg.SetSum(^uint16(packet.Pseudo(src, dst, packet.ProtoTCP, len(seg)).Add(packet.SumOf(seg))))
	packet.Ethernet(b[packet.VNetSize:]).Set(mac, macA)
	return b
}

func bound(t *testing.T, s *Stack, a Addr) *UDP {
	t.Helper()
	u := s.NewUDP()
	if err := u.Bind(a); err != 0 {
		t.Fatal(err)
	}
	return u
}

// TestDatagrams of all sizes, those beyond the MTU in fragments that arrive in
// any order.
func TestDatagrams(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(9, 9))
	a, b := bound(t, w.a, Addr{Port: 1000}), bound(t, w.b, Addr{Port: 53})
	b.Set(ReceiveBuffer, 1<<20)
	for _, n := range []int{0, 1, 100, 1472, 1473, 2000, 9000, 65507} {
		data := randomBytes(r, n)
		if k, err := a.SendTo(data, Addr{addrB, 53}, 0); k != n || err != 0 {
			t.Fatalf("%d bytes: sent %d, %v", n, k, err)
		}
		frames := w.wa.take()
		if whole := n <= 1472; whole != (len(frames) == 1) {
			t.Errorf("%d bytes went in %d frames", n, len(frames))
		}
		r.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
		for _, f := range frames {
			w.b.Deliver(f)
		}
		buf := make([]byte, 70000)
		if b.Unread() != n {
			t.Errorf("%d bytes wait", b.Unread())
		}
		k, full, from, err := b.Receive(buf, 0)
		if err != 0 || k != n || full != n || !bytes.Equal(buf[:k], data) || from != (Addr{addrA, 1000}) {
			t.Fatalf("%d bytes: received %d of %d from %v, %v", n, k, full, from, err)
		}
	}
	if _, err := a.SendTo(make([]byte, 65508), Addr{addrB, 53}, 0); err != syscall.EMSGSIZE {
		t.Errorf("larger than any packet: %v", err)
	}
	a.Set(MTUDiscover, pmtuDo)
	if _, err := a.SendTo(make([]byte, 1473), Addr{addrB, 53}, 0); err != syscall.EMSGSIZE {
		t.Errorf("larger than the MTU with IP_PMTUDISC_DO: %v", err)
	}
	a.Close()
	b.Close()
	if used, _ := w.b.Memory(); used != 0 {
		t.Errorf("%d bytes are held", used)
	}
}

func TestDatagramIsCutToTheBuffer(t *testing.T) {
	w := newWorld(t)
	a, b := bound(t, w.a, Addr{Port: 1000}), bound(t, w.b, Addr{Port: 53})
	a.SendTo([]byte("hello"), Addr{addrB, 53}, 0)
	a.SendTo([]byte("next"), Addr{addrB, 53}, 0)
	w.elapse(1e6)
	buf := make([]byte, 3)
	for range 2 { // looking does not take
		if n, full, _, err := b.Receive(buf, syscall.MSG_PEEK); n != 3 || full != 5 || err != 0 {
			t.Errorf("%d of %d, %v", n, full, err)
		}
	}
	b.Receive(buf, 0)
	if n, full, _, _ := b.Receive(buf, 0); n != 3 || full != 4 {
		t.Errorf("%d of %d", n, full)
	}
	if _, _, _, err := b.Receive(buf, 0); err != syscall.EAGAIN {
		t.Errorf("then: %v", err)
	}
}

// TestNobodyThere: a port without an endpoint is answered by ICMP, which a
// connected endpoint sees and another does not.
func TestNobodyThere(t *testing.T) {
	w := newWorld(t)
	a := w.a.NewUDP()
	if _, err := a.Send([]byte("x"), 0); err != syscall.EDESTADDRREQ {
		t.Errorf("without a peer: %v", err)
	}
	a.SendTo([]byte("x"), Addr{addrB, 53}, 0)
	w.elapse(1e6)
	if err := a.TakeError(); err != 0 {
		t.Errorf("not connected: %v", err)
	}
	a.Connect(Addr{addrB, 53})
	a.Send([]byte("x"), 0)
	w.elapse(1e6)
	if a.Ready()&fd.Failed == 0 {
		t.Error("not told")
	}
	if _, err := a.Send([]byte("x"), 0); err != syscall.ECONNREFUSED {
		t.Errorf("connected: %v", err)
	}
	if _, _, _, err := a.Receive(nil, 0); err != syscall.EAGAIN {
		t.Errorf("the error is told once: %v", err)
	}
	answers := 0
	for range 3 * maxReplies {
		w.b.Deliver(ipFrameTo(packet.ProtoUDP, udpOf(7, 9, "x")))
		answers += len(w.wb.take())
	}
	if answers > maxReplies {
		t.Errorf("%d answers to strangers in a second", answers)
	}
}

func udpOf(src, dst uint16, payload string) packet.UDP {
	b := packet.UDP(append(make([]byte, packet.UDPSize), payload...))
	b.Set(src, dst, len(b), 0)
	return b
}

// ipFrameTo makes the frame of an IP packet from a to b.
func ipFrameTo(proto uint8, payload []byte) []byte {
	b := append(make([]byte, packet.LinkSize+packet.IPv4Size), payload...)
	packet.Ethernet(b[packet.VNetSize:]).Set(macB, macA)
	packet.IPv4(b[packet.LinkSize:]).Set(&packet.IPv4Fields{Source: addrA, Destination: addrB, Protocol: proto, TTL: 64,
		Length: packet.IPv4Size + len(payload)})
	return b
}

// TestWhoGetsADatagram: the most particular endpoint does.
func TestWhoGetsADatagram(t *testing.T) {
	w := newWorld(t)
	anyAddr, ours, peers := w.b.NewUDP(), w.b.NewUDP(), w.b.NewUDP()
	for _, u := range []*UDP{anyAddr, ours, peers} {
		u.Set(ReuseAddr, 1)
	}
	anyAddr.Bind(Addr{Port: 53})
	ours.Bind(Addr{addrB, 53})
	peers.Bind(Addr{addrB, 53})
	peers.Connect(Addr{addrA, 7})
	got := func() (n []int) {
		for _, u := range []*UDP{anyAddr, ours, peers} {
			k := 0
			for ; u.Unread() > 0; k++ {
				u.Receive(nil, 0)
			}
			n = append(n, k)
		}
		return n
	}
	w.b.Deliver(ipFrameTo(packet.ProtoUDP, udpOf(7, 53, "x")))
	if n := got(); n[2] != 1 {
		t.Errorf("from the peer: %v", n)
	}
	w.b.Deliver(ipFrameTo(packet.ProtoUDP, udpOf(8, 53, "x")))
	if n := got(); n[1] != 1 {
		t.Errorf("from another: %v", n)
	}
	ours.Close()
	w.b.Deliver(ipFrameTo(packet.ProtoUDP, udpOf(8, 53, "x")))
	if n := got(); n[0] != 1 {
		t.Errorf("when the bound one is gone: %v", n)
	}
}

func TestDatagramsAreBounded(t *testing.T) {
	w := newWorld(t)
	b := bound(t, w.b, Addr{Port: 53})
	b.Set(ReceiveBuffer, 10_000)
	for range 1000 {
		w.b.Deliver(ipFrameTo(packet.ProtoUDP, udpOf(7, 53, "hello")))
	}
	if used, _ := w.b.Memory(); used > 30_000 {
		t.Errorf("%d bytes are held", used)
	}
	b.Close()
	if used, _ := w.b.Memory(); used != 0 {
		t.Errorf("%d bytes are held by nobody", used)
	}
}

func TestShutdownOfDatagrams(t *testing.T) {
	w := newWorld(t)
	u := w.a.NewUDP()
	if err := u.Shutdown(syscall.SHUT_RDWR); err != syscall.ENOTCONN {
		t.Errorf("not connected: %v", err)
	}
	u = w.a.NewUDP()
	u.Connect(Addr{addrB, 53})
	u.Shutdown(syscall.SHUT_WR)
	if _, err := u.Send([]byte("x"), 0); err != syscall.EPIPE {
		t.Errorf("send: %v", err)
	}
	u.Shutdown(syscall.SHUT_RD)
	if n, _, _, err := u.Receive(make([]byte, 1), 0); n != 0 || err != 0 {
		t.Errorf("receive: %d, %v", n, err)
	}
	if ev := u.Ready(); ev&(fd.HungUp|fd.Readable) != fd.HungUp|fd.Readable {
		t.Errorf("ready %#x", ev)
	}
}

// TestNoWay: addresses that a point-to-point wire does not lead to.
func TestNoWay(t *testing.T) {
	w := newWorld(t)
	u := w.a.NewUDP()
	for _, c := range []struct {
		to   Addr
		want syscall.Errno
	}{
		{Addr{[4]byte{255, 255, 255, 255}, 9}, syscall.EACCES},
		{Addr{[4]byte{224, 0, 0, 251}, 5353}, syscall.ENETUNREACH},
		{Addr{[4]byte{0, 1, 2, 3}, 9}, syscall.ENETUNREACH},
		{Addr{addrB, 0}, syscall.EINVAL},
	} {
		if _, err := u.SendTo([]byte("x"), c.to, 0); err != c.want {
			t.Errorf("%v: %v, want %v", c.to, err, c.want)
		}
	}
	u.Set(Broadcast, 1)
	if _, err := u.SendTo([]byte("x"), Addr{[4]byte{255, 255, 255, 255}, 9}, 0); err != syscall.ENETUNREACH {
		t.Errorf("broadcast: %v", err)
	}
	if err := u.Join([4]byte{224, 0, 0, 251}); err != syscall.ENODEV {
		t.Errorf("join: %v", err)
	}
	if n := len(w.wa.take()); n != 0 {
		t.Errorf("%d frames left", n)
	}
}
