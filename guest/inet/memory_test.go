package inet

import (
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/dewpaas/dew/guest/packet"
	"github.com/dewpaas/dew/guest/tcp"
)

// crowd is one stack with little memory and hostile peers, each a port of b.
type crowd struct {
	t     *testing.T
	w     *world
	s     *Stack
	limit int
	next  map[uint16]uint32 // what each peer sends next, by its port
	ours  map[uint16]uint32
}

func newCrowd(t *testing.T, limit int) *crowd {
	c := &crowd{t: t, limit: limit, next: map[uint16]uint32{}, ours: map[uint16]uint32{},
		w: &world{t: t, clock: &clock{now: 1e9, wake: map[*Stack]int64{}}}}
	c.w.a, c.w.wa = c.w.stack(macA, macB, addrA, addrB, limit)
	c.s = c.w.a
	return c
}

func (c *crowd) listen() *TCP {
	l := c.s.NewTCP()
	l.Bind(Addr{Port: 80})
	if err := l.Listen(-1); err != 0 {
		c.t.Fatal(err)
	}
	return l
}

// say sends a segment from a port of b.
func (c *crowd) say(port uint16, flags packet.Flags, seq, ack uint32, window uint16, payload int) {
	o := packet.Options{}
	if flags.Has(packet.SYN) {
		o = packet.Options{MSS: 1460, HasScale: true, Scale: 7, SACKPermitted: true}
	}
	c.s.Deliver(segment(addrA, &packet.TCPFields{SourcePort: port, DestinationPort: 80, Seq: seq, Ack: ack, Flags: flags, Window: window}, &o,
		make([]byte, payload), 0))
	c.bound()
}

// bound asserts the invariant.
func (c *crowd) bound() {
	c.t.Helper()
	if used, limit := c.s.Memory(); used > limit || limit != c.limit {
		c.t.Fatalf("%d of %d bytes are held", used, limit)
	}
}

// connect makes a connection from a port, unless there is no answer.
func (c *crowd) connect(port uint16) bool {
	c.say(port, packet.SYN, 1000, 0, 65535, 0)
	for _, f := range c.w.wa.take() {
		var p packet.Packet
		packet.Open(f, &p)
		b := packet.TCP(p.Payload)
		if b.DestinationPort() == port && b.Flags() == packet.SYN|packet.ACK {
			c.ours[port], c.next[port] = b.Seq()+1, 1001
			c.say(port, packet.ACK, 1001, b.Seq()+1, 65535, 0)
			return true
		}
	}
	return false
}

// TestReadersThatDoNotRead: peers send all they may to a program that never
// reads. The memory bound holds, and a connection that is read goes on.
func TestReadersThatDoNotRead(t *testing.T) {
	c := newCrowd(t, 2<<20)
	l := c.listen()
	var slow []*TCP
	for port := uint16(5000); port < 5100; port++ {
		if c.connect(port) {
			end, err := l.Accept()
			if err != 0 {
				t.Fatal(err)
			}
			slow = append(slow, end)
		}
	}
	if len(slow) != 100 {
		t.Fatalf("%d connections", len(slow))
	}
	for range 60 {
		for port := uint16(5000); port < 5100; port++ {
			c.say(port, packet.ACK, c.next[port], c.ours[port], 512, 1448)
			c.next[port] += 1448
		}
	}
	used, limit := c.s.Memory()
	if used < limit*3/4 {
		t.Errorf("the attack took only %d of %d bytes: it tests nothing", used, limit)
	}
	c.w.wa.take()
	// The victim: it was there before, and must not starve.
	victim := slow[99]
	buf := make([]byte, 100_000)
	for n, err := victim.Receive(buf, 0); err == 0 && n > 0; n, err = victim.Receive(buf, 0) {
	}
	seq := victim.conn.NextExpected()
	for range 100 {
		c.say(5099, packet.ACK, uint32(seq), c.ours[5099], 512, 1000)
		if n, err := victim.Receive(buf, 0); err != 0 || n != 1000 {
			t.Fatalf("received %d, %v while others hold the memory", n, err)
		}
		seq += 1000
		if n, err := victim.Send(make([]byte, 500), 0); err != 0 || n != 500 {
			t.Fatalf("sent %d, %v while others hold the memory", n, err)
		}
		c.ours[5099] += 500
		c.say(5099, packet.ACK, uint32(seq), c.ours[5099], 512, 0)
	}
	c.end(append(slow, l)...)
}

// end closes all, lets every time-out pass and asserts that nothing is held.
func (c *crowd) end(ends ...*TCP) {
	c.t.Helper()
	c.w.wa.take()
	for _, e := range ends {
		e.Close()
	}
	for range 100 {
		c.w.clock.now += 120 * second
		c.s.Expire()
	}
	if used, _ := c.s.Memory(); used != 0 {
		c.t.Errorf("%d bytes are still held by %d connections", used, len(c.s.conns))
	}
}

// TestGaps: peers send every second segment, with as many gaps as they can.
func TestGaps(t *testing.T) {
	c := newCrowd(t, 2<<20)
	l := c.listen()
	r := rand.New(rand.NewPCG(5, 5))
	for port := uint16(5000); port < 5050; port++ {
		c.connect(port)
	}
	for range 200 {
		for port := uint16(5000); port < 5050; port++ {
			c.say(port, packet.ACK, 1001+2*uint32(r.IntN(30000)), c.ours[port], 512, 1+r.IntN(3))
		}
	}
	c.end(l)
}

// TestPeersThatDoNotRead: a program writes to peers that never take
// anything. Each can hold what one connection may queue, all of them the bound.
func TestPeersThatDoNotRead(t *testing.T) {
	c := newCrowd(t, 2<<20)
	l := c.listen()
	var ends []*TCP
	for port := uint16(5000); port < 5100; port++ {
		c.connect(port)
		end, err := l.Accept()
		if err != 0 {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	for range 20 {
		for _, e := range ends {
			if n, err := e.Send(make([]byte, 200_000), 0); err == 0 && n > tcp.MaxBuffer {
				t.Fatalf("took %d bytes", n)
			}
			c.bound()
		}
	}
	for _, e := range ends {
		if e.Unacked() == 0 {
			t.Fatal("a connection could send nothing at all")
		}
	}
	c.end(append(ends, l)...)
}

// TestTinyWrites: a program writes byte by byte and nobody acknowledges.
func TestTinyWrites(t *testing.T) {
	c := newCrowd(t, 2<<20)
	l := c.listen()
	c.connect(5000)
	end, _ := l.Accept()
	end.Set(NoDelay, 1)
	for range 20_000 {
		if _, err := end.Send([]byte{1}, 0); err == syscall.EAGAIN {
			break
		}
		c.bound()
	}
	if n := len(c.w.wa.take()); n > 600 {
		t.Errorf("%d tiny segments are in flight", n)
	}
	c.end(end, l)
}

// TestSynFlood: half-open connections are bounded; beyond that a client that
// is real still gets in, by a cookie that costs nothing.
func TestSynFlood(t *testing.T) {
	c := newCrowd(t, 8<<20)
	l := c.listen()
	for port := uint16(1); port < 20_000; port++ {
		c.say(port, packet.SYN, uint32(port), 0, 65535, 0)
		c.w.wa.take()
	}
	if used, _ := c.s.Memory(); used > (maxGrowing+2)*connCost {
		t.Errorf("%d bytes are held for %d handshakes", used, len(c.s.conns))
	}
	if c.s.Counters.CookiesOut.Load() == 0 {
		t.Fatal("no cookies were sent")
	}
	if !c.connect(30000) {
		t.Fatal("no answer to a real client")
	}
	end, err := l.Accept()
	if err != 0 {
		t.Fatal("the real client is not accepted: ", err)
	}
	if mss := end.Info().SendMSS; mss != 1460 {
		t.Errorf("MSS %d after a cookie", mss)
	}
	c.say(30000, packet.ACK|packet.PSH, 1001, c.ours[30000], 512, 100)
	if n, err := end.Receive(make([]byte, 1000), 0); n != 100 || err != 0 {
		t.Errorf("received %d, %v", n, err)
	}
	// Made up, and too old.
	bad := c.s.Counters.CookiesBad.Load()
	c.say(30001, packet.ACK, 1001, 12345, 512, 0)
	c.say(30002, packet.SYN, 7, 0, 512, 0)
	var cookie uint32
	for _, f := range c.w.wa.take() {
		var p packet.Packet
		packet.Open(f, &p)
		if b := packet.TCP(p.Payload); b.DestinationPort() == 30002 {
			cookie = b.Seq() + 1
		}
	}
	c.w.clock.now += 3 * 64 * second
	c.say(30003, packet.SYN, 7, 0, 512, 0) // a late cookie of another, so that they are looked at
	c.say(30002, packet.ACK, 8, cookie, 512, 0)
	if _, err := l.Accept(); err != syscall.EAGAIN {
		t.Error("an old or invented cookie opened a connection")
	}
	if c.s.Counters.CookiesBad.Load() == bad {
		t.Error("no bad cookie was counted")
	}
	c.end(end, l)
}

// TestCookieKeepsOptions: with timestamps, SACK and the window scale survive.
func TestCookieKeepsOptions(t *testing.T) {
	s := newStory(t)
	s.do([]string{"listen", "8"})
	for port := range 9 {
		s.do([]string{"peer", "S", "mss=1400", "port=" + string(rune('1'+port))})
	}
	s.link.take()
	s.do([]string{"peer", "S", "mss=1400", "ws=9", "sackok", "ts=500"})
	frames := s.link.take()
	if n := s.stack.Counters.CookiesOut.Load(); len(frames) != 1 || n != 2 {
		t.Fatalf("%d frames, %d cookies", len(frames), n)
	}
	var p packet.Packet
	packet.Open(frames[0], &p)
	var o packet.Options
	packet.TCP(p.Payload).Options(&o)
	s.ours[s.peerPort] = packet.TCP(p.Payload).Seq()
	s.stack.Deliver(segment(addrA, &packet.TCPFields{SourcePort: s.peerPort, DestinationPort: 80, Seq: peerISS + 1, Ack: packet.TCP(p.Payload).Seq() + 1,
		Flags: packet.ACK, Window: 100}, &packet.Options{HasTime: true, Time: 501, Echo: o.Time}, nil, 0))
	end, err := s.listener.Accept()
	if err != 0 {
		t.Fatal(err)
	}
	if i := end.Info(); i.Options != 7 || i.SendScale != 9 || i.PeerWindow != 100<<9 || i.SendMSS != 1360-12 {
		t.Errorf("%+v", i)
	}
}

// TestManyWaits: connections in TIME-WAIT are bounded, the oldest go.
func TestManyWaits(t *testing.T) {
	c := newCrowd(t, 1<<20)
	l := c.listen()
	for port := uint16(5000); port < 6000; port++ {
		if !c.connect(port) {
			t.Fatalf("connection %d was refused", port)
		}
		end, err := l.Accept()
		if err != 0 {
			t.Fatal(err)
		}
		end.Close()
		c.say(port, packet.FIN|packet.ACK, 1001, c.ours[port]+1, 512, 0)
		c.w.wa.take()
	}
	if n := len(c.s.waits.byFlow); n > c.s.waits.limit || n < c.s.waits.limit/2 {
		t.Errorf("%d are kept, the limit is %d", n, c.s.waits.limit)
	}
	c.end(l)
}
