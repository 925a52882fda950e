package inet

import (
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"

	"github.com/dewpaas/dew/guest/packet"
)

// machine runs a fuzzer's bytes against one stack: frames that are nearly right
// and wholly wrong, calls of the program, time. After each step the memory
// bound must hold; every frame that leaves is checked by the wire.
type machine struct {
	t     *testing.T
	w     *world
	s     *Stack
	in    []byte
	ends  []*TCP
	udp   []*UDP
	iss   [4]uint32 // what the stack has sent last to each of four ports of the peer
	acked [4]uint32
	local [4]uint16
}

func (m *machine) byte() byte {
	if len(m.in) == 0 {
		return 0
	}
	b := m.in[0]
	m.in = m.in[1:]
	return b
}

func (m *machine) word() uint32 { return uint32(m.byte())<<8 | uint32(m.byte()) }

// near is a number at, or not far from, n.
func (m *machine) near(n uint32) uint32 {
	switch b := m.byte(); {
	case b < 160:
		return n
	case b < 200:
		return n + uint32(b-180)
	case b < 240:
		return n + uint32(int32(b)-220)*1448
	}
	return m.word()<<16 | m.word()
}

func (m *machine) step() {
	switch op := m.byte() % 16; op {
	case 0, 1, 2, 3, 4, 5:
		m.segment()
	case 6:
		m.frame()
	case 7:
		m.call()
	case 8:
		m.accept()
	case 9:
		m.open()
	case 10:
		m.elapse(int64(m.word()) * 1e6)
	case 11:
		m.icmp()
	case 12:
		m.datagram()
	case 13:
		m.fragment()
	case 14:
		m.w.wa.full = int(m.byte() % 4)
	case 15:
		m.udpCall()
	}
	m.look()
	if used, limit := m.s.Memory(); used > limit || used < 0 {
		m.t.Fatalf("%d of %d bytes held", used, limit)
	}
}

// look remembers what the stack sent.
func (m *machine) look() {
	for _, f := range m.w.wa.take() {
		var p packet.Packet
		if !packet.Open(f, &p) || p.IP.Protocol() != packet.ProtoTCP {
			continue
		}
		b := packet.TCP(p.Payload)
		i := b.DestinationPort() % 4
		m.iss[i] = b.Seq() + uint32(len(b.Payload()))
		if b.Flags().Has(packet.SYN | packet.FIN) {
			m.iss[i]++
		}
		if b.Flags().Has(packet.ACK) {
			m.acked[i] = b.Ack()
		}
		m.local[i] = b.SourcePort()
	}
}

func (m *machine) elapse(ns int64) {
	end := m.w.clock.now + ns
	for range 200 {
		at := m.w.clock.wake[m.s]
		if at == 0 || at > end {
			break
		}
		delete(m.w.clock.wake, m.s)
		m.w.clock.now = max(at, m.w.clock.now)
		m.s.Expire()
		m.look()
	}
	m.w.clock.now = max(end, m.w.clock.now)
}

// segment sends a TCP segment that fits a connection more or less.
func (m *machine) segment() {
	i := m.byte() % 4
	fields := packet.TCPFields{SourcePort: 4000 + uint16(i), DestinationPort: 80, Flags: packet.Flags(m.byte() & 0x3f), Window: uint16(m.word())}
	if m.local[i] != 0 {
		fields.DestinationPort = m.local[i]
	}
	if m.byte() < 200 { // mostly what makes sense
		fields.Flags = []packet.Flags{packet.ACK, packet.ACK | packet.PSH, packet.ACK, packet.SYN, packet.SYN | packet.ACK, packet.FIN | packet.ACK}[fields.Flags%6]
	}
	fields.Seq, fields.Ack = m.near(m.acked[i]), m.near(m.iss[i])
	var o packet.Options
	bits := m.byte()
	o.HasTime, o.Time, o.Echo = bits&1 != 0, uint32(m.w.clock.now/1e6)+uint32(bits>>4), uint32(bits)
	if fields.Flags.Has(packet.SYN) {
		o.MSS, o.SACKPermitted, o.HasScale, o.Scale = uint16(m.word()), bits&2 != 0, bits&4 != 0, bits>>4
	} else if bits&8 != 0 {
		for range bits >> 6 {
			start := m.near(m.iss[i]) - m.word()
			o.Blocks[o.NumBlocks] = packet.Block{Start: start, End: start + m.word()}
			o.NumBlocks++
		}
	}
	length := 0
	if n := m.byte(); n > 100 {
		length = int(n-100) * 10
	}
	gso := 0
	if bits&0x30 == 0x30 {
		length, gso = length*30, 1448
	}
	f := segment(addrA, &fields, &o, make([]byte, min(length, 60000)), gso)
	if bits == 0x55 { // options of any bytes
		for j := packet.LinkSize + packet.IPv4Size + packet.TCPSize; j < len(f) && j < 80; j++ {
			f[j] = m.byte()
		}
	}
	m.s.Deliver(f)
}

// frame delivers bytes as they are, with an Ethernet header that gets them in.
func (m *machine) frame() {
	n := int(m.byte())
	b := make([]byte, packet.LinkSize, packet.LinkSize+n)
	for range n {
		b = append(b, m.byte())
	}
	b[0], b[1] = m.byte(), m.byte()
	packet.Ethernet(b[packet.VNetSize:]).Set(macA, macB)
	m.s.Deliver(b)
}

func (m *machine) open() {
	t := m.s.NewTCP()
	if len(m.ends) > 20 {
		return
	}
	m.ends = append(m.ends, t)
	if m.byte()%2 == 0 {
		t.Bind(Addr{Port: 80})
		t.Listen(int(m.byte() % 8))
		return
	}
	t.Bind(Addr{Port: uint16(m.byte())})
	t.Connect(Addr{addrB, 4000 + uint16(m.byte()%4)})
}

func (m *machine) accept() {
	for _, t := range m.ends {
		if c, err := t.Accept(); err == 0 {
			m.ends = append(m.ends, c)
			return
		}
	}
}

// call makes one call on one endpoint.
func (m *machine) call() {
	if len(m.ends) == 0 {
		return
	}
	i := int(m.byte()) % len(m.ends)
	t := m.ends[i]
	switch m.byte() % 12 {
	case 0, 1, 2:
		t.Send(make([]byte, m.word()*4), int(m.byte()&1)<<15)
	case 3, 4:
		t.Receive(make([]byte, m.word()), int(m.byte()&1)*syscall.MSG_PEEK)
	case 5:
		t.Receive(make([]byte, m.word()), syscall.MSG_TRUNC)
	case 6:
		t.Shutdown(int(m.byte() % 3))
	case 7:
		t.Close()
		m.ends = append(m.ends[:i], m.ends[i+1:]...)
	case 8:
		t.Set(Option(m.byte()%30), int(int16(m.word())))
	case 9:
		t.Get(Option(m.byte() % 30))
		t.Info()
		t.Ready()
		t.TakeError()
	case 10:
		t.Disconnect()
	case 11:
		t.Connect(Addr{addrB, 4000 + uint16(m.byte()%4)})
	}
}

func (m *machine) icmp() {
	i := m.byte() % 4
	quoted := make([]byte, packet.IPv4Size+8)
	proto := []uint8{packet.ProtoTCP, packet.ProtoUDP}[m.byte()%2]
	packet.IPv4(quoted).Set(&packet.IPv4Fields{Source: addrA, Destination: addrB, Protocol: proto, TTL: 9, Length: 1500})
	t := quoted[packet.IPv4Size:]
	seq := m.near(m.iss[i]) - m.word()
	copy(t, []byte{byte(m.local[i] >> 8), byte(m.local[i]), 4000 >> 8, byte(4000&0xff + i), byte(seq >> 24), byte(seq >> 16), byte(seq >> 8), byte(seq)})
	b := packet.ICMP(append(make([]byte, packet.ICMPSize), quoted...))
	b.Set(m.byte()%12, m.byte()%6, m.word())
	b.SetSum()
	m.s.Deliver(ipFrame(packet.ProtoICMP, b))
}

func (m *machine) datagram() {
	b := packet.UDP(make([]byte, packet.UDPSize+int(m.byte())))
	b.Set(uint16(m.word()), 53+uint16(m.byte()%2), len(b), 0)
	m.s.Deliver(ipFrame(packet.ProtoUDP, b))
}

func (m *machine) udpCall() {
	if len(m.udp) < 4 {
		u := m.s.NewUDP()
		u.Bind(Addr{Port: 53 + uint16(m.byte()%2)})
		m.udp = append(m.udp, u)
	}
	i := int(m.byte()) % len(m.udp)
	u := m.udp[i]
	switch m.byte() % 5 {
	case 0:
		u.SendTo(make([]byte, m.word()), Addr{addrB, uint16(m.word())}, 0)
	case 1:
		u.Receive(make([]byte, m.byte()), int(m.byte()))
	case 2:
		u.Connect(Addr{addrB, uint16(m.word())})
	case 3:
		u.Close()
		m.udp = append(m.udp[:i], m.udp[i+1:]...)
	case 4:
		u.Set(Option(m.byte()%30), int(int16(m.word())))
	}
}

func (m *machine) fragment() {
	payload := make([]byte, 8*int(m.byte()))
	f := ipFrame(packet.ProtoUDP, payload)
	packet.IPv4(f[packet.LinkSize:]).Set(&packet.IPv4Fields{Source: addrB, Destination: addrA, Protocol: packet.ProtoUDP, TTL: 1, ID: uint16(m.byte() % 16),
		Length: packet.IPv4Size + len(payload), Offset: int(m.byte()) * 8, More: m.byte()%3 > 0})
	m.s.Deliver(f)
}

// FuzzStack: no bytes make the stack panic, hold more than its bound, or send a
// frame that is not lawful; and when all is closed, nothing is held.
func FuzzStack(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 8 {
		f.Add(randomBytes(r, 3000))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) <= 1<<14 {
			runProgram(t, in)
		}
	})
}

// TestRandomPrograms is FuzzStack without guidance, which gets further in the
// same time. SEEDS=n runs more of them.
func TestRandomPrograms(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("SEEDS"))
	for seed := range uint64(max(n, 300)) {
		r := rand.New(rand.NewPCG(seed, 11))
		if !t.Run("", func(t *testing.T) { runProgram(t, randomBytes(r, 2000+int(seed%5)*1000)) }) {
			t.Fatalf("seed %d", seed)
		}
	}
}

// runProgram makes a machine run a program, closes everything and asserts that
// nothing is held then.
func runProgram(t *testing.T, in []byte) {
	w := &world{t: t, clock: &clock{now: 1e9, wake: map[*Stack]int64{}}}
	w.a, w.wa = w.stack(macA, macB, addrA, addrB, 300_000)
	m := &machine{t: t, w: w, s: w.a, in: append([]byte{9, 0, 4}, in...)} // a listener
	for len(m.in) > 0 {
		m.step()
	}
	for range 3 {
		m.accept()
	}
	for _, e := range m.ends {
		e.Close()
	}
	for _, u := range m.udp {
		u.Close()
	}
	w.wa.full = 0
	for range 100 {
		m.elapse(120e9)
	}
	m.s.fragments.clear(m.s)
	if used, _ := m.s.Memory(); used != 0 || len(m.s.conns) != 0 || len(m.s.timers.heap) != 0 {
		t.Fatalf("%d bytes, %d connections, %d timers are left", used, len(m.s.conns), len(m.s.timers.heap))
	}
}
