package inet

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/dewpaas/dew/guest/packet"
)

// ping is an echo request of n bytes.
func ping(n int) packet.ICMP {
	m := packet.ICMP(append(make([]byte, packet.ICMPSize), randomBytes(rand.New(rand.NewPCG(1, 2)), n)...))
	m.Set(packet.ICMPEcho, 0, 0x1234_0001)
	m.SetSum()
	return m
}

func TestPing(t *testing.T) {
	w := newWorld(t)
	for _, n := range []int{0, 56, 1472} {
		m := ping(n)
		w.b.Deliver(ipFrameTo(packet.ProtoICMP, m))
		frames := w.wb.take()
		if len(frames) != 1 {
			t.Fatalf("%d answers to %d bytes", len(frames), n)
		}
		var p packet.Packet
		packet.Open(frames[0], &p)
		got := packet.ParseICMP(&p)
		if got == nil || got.Type() != packet.ICMPEchoReply || !bytes.Equal(got[4:], m[4:]) || p.IP.Destination() != addrA {
			t.Errorf("%x", got)
		}
	}
	m := ping(10)
	m[9]++
	w.b.Deliver(ipFrameTo(packet.ProtoICMP, m))
	w.b.Deliver(ipFrameTo(packet.ProtoICMP, ping(0)[:4]))
	if n := len(w.wb.take()); n != 0 {
		t.Errorf("%d answers to broken messages", n)
	}
}

func TestUnknownProtocol(t *testing.T) {
	w := newWorld(t)
	w.b.Deliver(ipFrameTo(47, make([]byte, 1000)))
	frames := w.wb.take()
	if len(frames) != 1 {
		t.Fatalf("%d answers", len(frames))
	}
	var p packet.Packet
	packet.Open(frames[0], &p)
	m := packet.ParseICMP(&p)
	if m == nil || m.Type() != packet.ICMPUnreachable || m.Code() != packet.CodeProtocol || p.IP.TotalLength() > 576 {
		t.Errorf("%x", m)
	}
}

// fragmentsOf cuts an IP payload.
func fragmentsOf(payload []byte, id uint16, size int) (out [][]byte) {
	for off := 0; off < len(payload); off += size {
		part := payload[off:min(off+size, len(payload))]
		f := ipFrameTo(packet.ProtoUDP, part)
		packet.IPv4(f[packet.LinkSize:]).Set(&packet.IPv4Fields{Source: addrA, Destination: addrB, Protocol: packet.ProtoUDP, TTL: 9, ID: id,
			Length: packet.IPv4Size + len(part), Offset: off, More: off+len(part) < len(payload)})
		out = append(out, f)
	}
	return out
}

func TestFragments(t *testing.T) {
	payload := udpOf(7, 53, string(randomBytes(rand.New(rand.NewPCG(3, 3)), 3000)))
	for _, c := range []struct {
		name  string
		order func(f [][]byte) [][]byte
		whole bool
	}{
		{"in order", func(f [][]byte) [][]byte { return f }, true},
		{"backwards", func(f [][]byte) [][]byte { return [][]byte{f[5], f[4], f[3], f[2], f[1], f[0]} }, true},
		{"inside out", func(f [][]byte) [][]byte { return [][]byte{f[2], f[4], f[3], f[0], f[5], f[1]} }, true},
		{"twice the same", func(f [][]byte) [][]byte { return [][]byte{f[0], f[1], f[1], f[2], f[3], f[4], f[5]} }, true},
		{"one missing", func(f [][]byte) [][]byte { return [][]byte{f[0], f[1], f[3], f[4], f[5]} }, false},
		{"no end", func(f [][]byte) [][]byte { return f[:5] }, false},
		{"overlapping", func(f [][]byte) [][]byte {
			return [][]byte{f[0], fragmentsOf(payload, 1, 808)[1], f[1], f[2], f[3], f[4], f[5]}
		}, false},
		{"two ends", func(f [][]byte) [][]byte {
			return [][]byte{f[5], fragmentsOf(payload[:2000], 1, 504)[3], f[0], f[1], f[2], f[3], f[4]}
		}, false},
	} {
		w := newWorld(t)
		u := bound(t, w.b, Addr{Port: 53})
		for _, f := range c.order(fragmentsOf(payload, 1, 504)) {
			w.b.Deliver(f)
		}
		buf := make([]byte, 4000)
		n, _, _, err := u.Receive(buf, 0)
		if got := err == 0; got != c.whole || got && !bytes.Equal(buf[:n], payload.Payload()) {
			t.Errorf("%s: received %d bytes, %v", c.name, n, err)
		}
		u.Close()
		w.b.fragments.clear(w.b)
		if used, _ := w.b.Memory(); used != 0 {
			t.Errorf("%s: %d bytes are held", c.name, used)
		}
	}
}

// TestFragmentsAreBounded: packets that are never whole hold a bounded memory,
// for a bounded time, and do not keep a good one out.
func TestFragmentsAreBounded(t *testing.T) {
	w := newWorld(t)
	u := bound(t, w.b, Addr{Port: 53})
	payload := udpOf(7, 53, string(make([]byte, 3000)))
	for id := range uint16(2000) {
		w.b.Deliver(fragmentsOf(payload, id, 504)[id%6])
		if used, _ := w.b.Memory(); used > maxPackets*80_000 {
			t.Fatalf("%d bytes are held", used)
		}
	}
	for _, f := range fragmentsOf(payload, 5000, 504) {
		w.b.Deliver(f)
	}
	if _, full, _, err := u.Receive(nil, 0); err != 0 || full != 3000 {
		t.Errorf("the good one: %d, %v", full, err)
	}
	w.clock.now += 31 * second
	w.b.Deliver(fragmentsOf(payload, 6000, 504)[0])
	if n := w.b.Counters.Reassembled.Load(); n != 1 {
		t.Errorf("%d packets were put together", n)
	}
	count := 0
	for _, a := range w.b.fragments.list {
		if a != nil {
			count++
		}
	}
	if count != 1 {
		t.Errorf("%d are kept after their time", count)
	}
}

// TestTCPInFragments: nothing sends it so, and yet it is lawful.
func TestTCPInFragments(t *testing.T) {
	w := newWorld(t)
	l := w.listen(80, 1)
	defer l.Close()
	syn := rewritten(addrA, addrB, macB)[packet.LinkSize+packet.IPv4Size:]
	for _, f := range fragmentsOf(syn, 1, 8) {
		ip := packet.IPv4(f[packet.LinkSize:])
		ip.Set(&packet.IPv4Fields{Source: addrA, Destination: addrB, Protocol: packet.ProtoTCP, TTL: 9, ID: 1, Length: ip.TotalLength(),
			Offset: ip.FragmentOffset(), More: ip.MoreFragments()})
		w.b.Deliver(f)
	}
	if n := len(w.wb.take()); n != 1 {
		t.Errorf("%d answers", n)
	}
}
