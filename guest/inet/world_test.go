package inet

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/guest/packet"
)

// clock is driven by hand. Several stacks share it.
type clock struct {
	now  int64
	wake map[*Stack]int64
}

// handClock is the clock as one stack sees it.
type handClock struct {
	c *clock
	s *Stack
}

func (h *handClock) Now() int64 { return h.c.now }

func (h *handClock) Wake(at int64) { h.c.wake[h.s] = at }

// wire is a Link that keeps what was sent, cut and summed as a host would.
type wire struct {
	t      *testing.T
	nic    boot.NIC
	frames [][]byte
	full   int // so many sends are refused with EAGAIN
}

func (w *wire) Send(pieces []syscall.Iovec) syscall.Errno {
	if w.full > 0 {
		w.full--
		return syscall.EAGAIN
	}
	size := 0
	for _, v := range pieces {
		size += int(v.Len)
	}
	frame := make([]byte, size)
	gather(frame, pieces)
	checkSent(w.t, frame, w.nic)
	w.frames = append(w.frames, frame)
	return 0
}

// take returns what was sent since the last call.
func (w *wire) take() [][]byte {
	f := w.frames
	w.frames = nil
	return f
}

// checkSent asserts what no frame may violate: addresses of the vNIC, lengths
// and checksums that hold, and an offload header that a host can carry out.
func checkSent(t *testing.T, frame []byte, nic boot.NIC) {
	t.Helper()
	var p packet.Packet
	if !packet.Open(frame, &p) {
		t.Fatalf("sent a malformed frame: %x", frame[:min(len(frame), 80)])
	}
	vnet := packet.VNet(frame)
	if p.Ethernet.Source() != nic.MAC || p.Ethernet.Destination() != nic.GatewayMAC {
		t.Fatalf("sent from %x to %x", p.Ethernet.Source(), p.Ethernet.Destination())
	}
	if p.IP.Source() != nic.Addr || p.IP.Destination() == nic.Addr || p.IP.Destination()[0] == 127 {
		t.Fatalf("sent from %v to %v", p.IP.Source(), p.IP.Destination())
	}
	if len(p.Payload)+len(p.IP)+packet.LinkSize != len(frame) {
		t.Fatalf("%d bytes behind the packet", len(frame)-len(p.Payload)-len(p.IP)-packet.LinkSize)
	}
	big := vnet.GSOType() == packet.GSOTCPv4
	if !big && p.IP.TotalLength() > int(nic.MTU) {
		t.Fatalf("a packet of %d bytes is not to be cut", p.IP.TotalLength())
	}
	if vnet.Flags() == packet.NeedsSum {
		field := p.Payload[vnet.SumOffset():]
		partial := packet.Sum(uint16(field[0])<<8 | uint16(field[1]))
		if want := packet.Pseudo(p.IP.Source(), p.IP.Destination(), p.IP.Protocol(), len(p.Payload)); partial != want {
			t.Fatalf("unfinished checksum %#x, want %#x", partial, want)
		}
	}
	if big {
		seg := packet.TCP(p.Payload)
		if vnet.GSOSize() == 0 || vnet.GSOSize() >= len(seg.Payload()) {
			t.Fatalf("GSO size %d of %d bytes", vnet.GSOSize(), len(seg.Payload()))
		}
		if vnet.HeaderLength() != packet.EthernetSize+len(p.IP)+seg.HeaderLength() {
			t.Fatalf("GSO header length %d", vnet.HeaderLength())
		}
		if vnet.GSOSize()+len(p.IP)+seg.HeaderLength() > int(nic.MTU) {
			t.Fatalf("GSO size %d with MTU %d", vnet.GSOSize(), nic.MTU)
		}
	}
}

// world is two guests, one the gateway of the other.
type world struct {
	t     *testing.T
	clock *clock
	a, b  *Stack
	// wires of a and b
	wa, wb *wire
	// What happens to frames on their way, if not nil: it returns what arrives.
	pass func(toB bool, frame []byte) [][]byte
	// delay is how long a frame is under way, ns.
	delay  int64
	flying []flying
	trace  []string // of the last frames
}

type flying struct {
	at    int64
	toB   bool
	frame []byte
}

var (
	macA, macB   = [6]byte{2, 0, 0, 0, 0, 1}, [6]byte{2, 0, 0, 0, 0, 2}
	addrA, addrB = [4]byte{10, 0, 0, 1}, [4]byte{10, 0, 0, 2}
)

func newWorld(t *testing.T) *world {
	w := &world{t: t, clock: &clock{now: 1e9, wake: map[*Stack]int64{}}, delay: 50_000}
	w.a, w.wa = w.stack(macA, macB, addrA, addrB, 64<<20)
	w.b, w.wb = w.stack(macB, macA, addrB, addrA, 64<<20)
	return w
}

func (w *world) stack(mac, gatewayMAC [6]byte, addr, gateway [4]byte, memory int) (*Stack, *wire) {
	nic := boot.NIC{MAC: mac, GatewayMAC: gatewayMAC, Addr: addr, Gateway: gateway, MTU: 1500}
	link := &wire{t: w.t, nic: nic}
	h := &handClock{c: w.clock}
	s := New(Config{NIC: nic, Seed: [32]byte{addr[3], 7}, Memory: memory, Link: link, Clock: h, Fixed: true})
	h.s = s
	return s, link
}

// launch puts what was sent on its way.
func (w *world) launch() {
	for _, side := range []struct {
		link *wire
		toB  bool
	}{{w.wa, true}, {w.wb, false}} {
		for _, f := range side.link.take() {
			w.note(side.toB, f)
			arrive := [][]byte{f}
			if w.pass != nil {
				arrive = w.pass(side.toB, f)
			}
			for _, g := range arrive {
				w.flying = append(w.flying, flying{w.clock.now + w.delay, side.toB, g})
			}
		}
	}
}

// note remembers a frame for the trace of a failed test.
func (w *world) note(toB bool, f []byte) {
	arrow := "a < b"
	if toB {
		arrow = "a > b"
	}
	w.trace = append(w.trace, fmt.Sprintf("%10.3f ms %s %s", float64(w.clock.now-1e9)/1e6, arrow, show(f)))
	if len(w.trace) > 60 {
		w.trace = w.trace[1:]
	}
}

// step lets the next thing happen: a frame arrives or a timer runs. It returns
// false when nothing is left to happen before the limit.
func (w *world) step(limit int64) bool {
	w.launch()
	next, who := limit, -1
	for i, f := range w.flying {
		if f.at < next {
			next, who = f.at, i
		}
	}
	var timer *Stack
	for _, s := range []*Stack{w.a, w.b} {
		if at := w.clock.wake[s]; at != 0 && at < next {
			next, timer = at, s
		}
	}
	switch {
	case timer != nil:
		w.clock.now = max(w.clock.now, next)
		delete(w.clock.wake, timer)
		timer.Expire()
		return true
	case who < 0:
		w.clock.now = limit
		return false
	}
	f := w.flying[who]
	w.flying = append(w.flying[:who], w.flying[who+1:]...)
	w.clock.now = max(w.clock.now, f.at)
	if f.toB {
		w.b.Deliver(f.frame)
	} else {
		w.a.Deliver(f.frame)
	}
	return true
}

// until steps until the condition holds, and fails after so many ns.
func (w *world) until(limit int64, what string, cond func() bool) {
	w.t.Helper()
	end := w.clock.now + limit
	for !cond() {
		if w.clock.now >= end || !w.step(end) {
			w.t.Fatalf("after %d ms still not: %s\n%s", limit/1e6, what, strings.Join(w.trace, "\n"))
		}
	}
}

// elapse lets time go by.
func (w *world) elapse(ns int64) {
	for end := w.clock.now + ns; w.clock.now < end; {
		w.step(end)
	}
}

// listen makes a listener on b.
func (w *world) listen(port uint16, backlog int) *TCP {
	w.t.Helper()
	l := w.b.NewTCP()
	if err := l.Bind(Addr{Port: port}); err != 0 {
		w.t.Fatal(err)
	}
	if err := l.Listen(backlog); err != 0 {
		w.t.Fatal(err)
	}
	return l
}

// connect makes a connection from a to a listener on b.
func (w *world) connect(l *TCP) (client, server *TCP) {
	w.t.Helper()
	client = w.a.NewTCP()
	if err := client.Connect(Addr{addrB, l.Local().Port}); err != syscall.EINPROGRESS {
		w.t.Fatal(err)
	}
	w.until(10*second, "accepted", func() bool {
		if server == nil {
			server, _ = l.Accept()
		}
		return server != nil && client.Info().State == 1
	})
	return client, server
}

// cut does what a host does with a frame that is larger than the MTU: it makes
// segments of it, with finished checksums.
func cut(frame []byte) [][]byte {
	var p packet.Packet
	packet.Open(frame, &p)
	if p.GSOSize == 0 {
		return [][]byte{frame}
	}
	seg := packet.TCP(p.Payload)
	var out [][]byte
	for payload := seg.Payload(); len(payload) > 0; {
		n := min(p.GSOSize, len(payload))
		f := append([]byte(nil), frame[:packet.LinkSize+len(p.IP)+seg.HeaderLength()]...)
		f = append(f, payload[:n]...)
		done := len(seg.Payload()) - len(payload)
		payload = payload[n:]
		packet.VNet(f).Clear()
		packet.IPv4(f[packet.LinkSize:]).Set(&packet.IPv4Fields{Source: p.IP.Source(), Destination: p.IP.Destination(), Protocol: packet.ProtoTCP,
			TTL: p.IP.TTL(), ID: uint16(len(out)), Length: len(f) - packet.LinkSize, DontFragment: true})
		t := packet.TCP(f[packet.LinkSize+len(p.IP):])
		b := []byte(t)
		seq := t.Seq() + uint32(done)
		b[4], b[5], b[6], b[7] = byte(seq>>24), byte(seq>>16), byte(seq>>8), byte(seq)
		if len(payload) > 0 {
			b[13] &^= byte(packet.FIN | packet.PSH)
		}
		t.SetSum(0)
		t.SetSum(^uint16(packet.Pseudo(p.IP.Source(), p.IP.Destination(), packet.ProtoTCP, len(t)).Add(packet.SumOf(t))))
		out = append(out, f)
	}
	return out
}

// each passes what cut makes of a frame through f, one by one.
func each(f func(bool, []byte) [][]byte) func(bool, []byte) [][]byte {
	return func(toB bool, frame []byte) (out [][]byte) {
		for _, g := range cut(frame) {
			out = append(out, f(toB, g)...)
		}
		return out
	}
}

// lossy drops, doubles and swaps frames at random.
func lossy(r *rand.Rand, loss, double, swap float64) func(bool, []byte) [][]byte {
	var kept [2][]byte
	return func(toB bool, f []byte) [][]byte {
		side := 0
		if toB {
			side = 1
		}
		if r.Float64() < loss {
			return nil
		}
		out := [][]byte{f}
		if r.Float64() < double {
			out = append(out, f)
		}
		if kept[side] != nil {
			out = append(out, kept[side])
			kept[side] = nil
		} else if r.Float64() < swap {
			kept[side] = f
			out = out[1:]
		}
		return out
	}
}
