package packet

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// naive is RFC 1071 as it stands there.
func naive(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		sum += w
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

func TestSum(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 300 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if n%7 == 0 {
			for i := range b {
				b[i] = 0xff // carries everywhere
			}
		}
		// 0 and 0xffff are the same number.
		if got, want := uint16(SumOf(b)), naive(b); got != want && got^want != 0xffff {
			t.Fatalf("%d bytes: %#x, want %#x", n, got, want)
		}
	}
	if s := SumOf(nil); s != 0 {
		t.Errorf("of nothing: %#x", s)
	}
	if s := Sum(0xfffe).Add(3).Add32(0x0001_0002); s != 5 {
		t.Errorf("sums: %#x", s)
	}
}

// frame is a whole TCP frame, and its parts.
func frame() []byte {
	b := make([]byte, LinkSize+IPv4Size+TCPSize+12+5, 200) // options are written into the room behind
	Ethernet(b[VNetSize:]).Set([6]byte{1, 2, 3, 4, 5, 6}, [6]byte{7, 8, 9, 10, 11, 12})
	IPv4(b[LinkSize:]).Set(&IPv4Fields{Source: [4]byte{10, 0, 0, 1}, Destination: [4]byte{10, 0, 0, 2}, Protocol: ProtoTCP, TTL: 64, TOS: 0x10,
		ID: 77, Length: len(b) - LinkSize, DontFragment: true})
	seg := TCP(b[LinkSize+IPv4Size:])
	seg.Set(&TCPFields{SourcePort: 1000, DestinationPort: 80, Seq: 0x01020304, Ack: 0x05060708, Flags: ACK | PSH, Window: 0x1234})
	seg.SetOptions(&Options{HasTime: true, Time: 11, Echo: 12})
	copy(b[len(b)-5:], "hello")
	seg.SetSum(^uint16(Pseudo([4]byte{10, 0, 0, 1}, [4]byte{10, 0, 0, 2}, ProtoTCP, len(seg)).Add(SumOf(seg))))
	return b
}

func TestFrameIsReadAsItWasWritten(t *testing.T) {
	b := frame()
	var p Packet
	if !Open(b, &p) {
		t.Fatal("refused")
	}
	if p.Ethernet.Destination() != [6]byte{1, 2, 3, 4, 5, 6} || p.Ethernet.Source() != [6]byte{7, 8, 9, 10, 11, 12} || p.Summed || p.GSOSize != 0 {
		t.Errorf("%+v", p)
	}
	if p.IP.Source() != [4]byte{10, 0, 0, 1} || p.IP.Destination() != [4]byte{10, 0, 0, 2} || p.IP.TTL() != 64 || p.IP.ID() != 77 ||
		p.IP.TOS() != 0x10 || !p.IP.DontFragment() || p.IP.IsFragment() {
		t.Errorf("IP %x", p.IP)
	}
	seg := ParseTCP(&p)
	if seg == nil {
		t.Fatal("TCP refused")
	}
	if seg.SourcePort() != 1000 || seg.DestinationPort() != 80 || seg.Seq() != 0x01020304 || seg.Ack() != 0x05060708 ||
		seg.Flags() != ACK|PSH || seg.Window() != 0x1234 || string(seg.Payload()) != "hello" {
		t.Errorf("TCP %x", seg)
	}
	var o Options
	if seg.Options(&o); o != (Options{HasTime: true, Time: 11, Echo: 12}) {
		t.Errorf("options %+v", o)
	}
}

// TestWhatIsRefused changes one thing of a good frame at a time.
func TestWhatIsRefused(t *testing.T) {
	resum := func(b []byte) {
		h := b[LinkSize : LinkSize+int(b[LinkSize]&15)*4]
		h[10], h[11] = 0, 0
		putBE16(h[10:], ^uint16(SumOf(h)))
	}
	for name, change := range map[string]func(b []byte) []byte{
		"cut in Ethernet":      func(b []byte) []byte { return b[:20] },
		"cut in IP":            func(b []byte) []byte { return b[:LinkSize+19] },
		"cut in payload":       func(b []byte) []byte { return b[:len(b)-1] },
		"IPv6":                 func(b []byte) []byte { putBE16(b[VNetSize+12:], 0x86dd); return b },
		"ARP":                  func(b []byte) []byte { putBE16(b[VNetSize+12:], 0x0806); return b },
		"version":              func(b []byte) []byte { b[LinkSize] = 0x55; resum(b); return b },
		"header length 16":     func(b []byte) []byte { b[LinkSize] = 0x44; return b },
		"header checksum":      func(b []byte) []byte { b[LinkSize+10]++; return b },
		"total length":         func(b []byte) []byte { putBE16(b[LinkSize+2:], 19); resum(b); return b },
		"source route":         func(b []byte) []byte { return withOption(b, 131, 7, 4, 1, 2, 3, 4, 0) },
		"strict route":         func(b []byte) []byte { return withOption(b, 137, 3, 4, 0) },
		"option over the end":  func(b []byte) []byte { return withOption(b, 7, 9, 4, 0) },
		"option of length 0":   func(b []byte) []byte { return withOption(b, 7, 0, 4, 0) },
		"fragment beyond 64 K": func(b []byte) []byte { putBE16(b[LinkSize+6:], 8191); resum(b); return b },
	} {
		b := change(frame())
		var p Packet
		if Open(b, &p) {
			t.Errorf("%s: taken", name)
		}
	}
	for name, change := range map[string]func(b []byte){
		"checksum":    func(b []byte) { b[len(b)-1]++ },
		"offset 16":   func(b []byte) { b[LinkSize+IPv4Size+12] = 4 << 4 },
		"offset 60":   func(b []byte) { b[LinkSize+IPv4Size+12] = 15 << 4 },
		"no port":     func(b []byte) { putBE16(b[LinkSize+IPv4Size:], 0) },
		"to no port":  func(b []byte) { putBE16(b[LinkSize+IPv4Size+2:], 0) },
		"wrong start": func(b []byte) { VNet(b).Set(14, 16, 0, 0); b[len(b)-1]++ },
	} {
		b := frame()
		change(b)
		var p Packet
		if !Open(b, &p) || ParseTCP(&p) != nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// withOption puts options into the IP header.
func withOption(b []byte, option ...byte) []byte {
	out := append([]byte(nil), b[:LinkSize+IPv4Size]...)
	out = append(append(out, option...), b[LinkSize+IPv4Size:]...)
	h := out[LinkSize : LinkSize+IPv4Size+len(option)]
	h[0] = 0x40 | byte(len(h)/4)
	putBE16(h[2:], uint16(len(out)-LinkSize))
	h[10], h[11] = 0, 0
	putBE16(h[10:], ^uint16(SumOf(h)))
	return out
}

func TestOffloads(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(b []byte)
		summed bool
		gso    int
	}{
		{"verified by the host", func(b []byte) { b[0] = DataValid }, true, 0},
		{"left to us, TCP's field", func(b []byte) { VNet(b).Set(EthernetSize+IPv4Size, TCPSumOffset, 0, 0) }, true, 0},
		{"left to us, another field", func(b []byte) { VNet(b).Set(EthernetSize+IPv4Size, UDPSumOffset, 0, 0) }, false, 0},
		{"put together", func(b []byte) { VNet(b).Set(EthernetSize+IPv4Size, TCPSumOffset, 66, 1448) }, true, 1448},
	} {
		b := frame()
		c.change(b)
		var p Packet
		if !Open(b, &p) || p.Summed != c.summed || p.GSOSize != c.gso {
			t.Errorf("%s: summed %v, GSO %d", c.name, p.Summed, p.GSOSize)
		}
	}
	h := VNet(make([]byte, VNetSize))
	h.Set(34, 16, 66, 1448)
	if h.GSOType() != GSOTCPv4 || h.HeaderLength() != 66 || h.GSOSize() != 1448 || h.SumStart() != 34 || h.SumOffset() != 16 || h.Flags() != NeedsSum {
		t.Errorf("%x", h)
	}
	if h.Clear(); !bytes.Equal(h, make([]byte, VNetSize)) {
		t.Errorf("%x", h)
	}
}

func TestOptionsRoundTrip(t *testing.T) {
	for _, o := range []Options{
		{},
		{MSS: 1460, HasScale: true, Scale: 7, SACKPermitted: true, HasTime: true, Time: 1, Echo: 2},
		{MSS: 1460, SACKPermitted: true},
		{HasTime: true, Time: 1, Echo: 2, NumBlocks: 3, Blocks: [4]Block{{1, 2}, {3, 4}, {5, 6}}},
		{NumBlocks: 4, Blocks: [4]Block{{1, 2}, {3, 4}, {5, 6}, {7, 8}}},
	} {
		b := TCP(make([]byte, MaxTCPSize))
		b.Set(&TCPFields{})
		n := b.SetOptions(&o)
		if n != b.HeaderLength() || n%4 != 0 {
			t.Errorf("%+v: %d bytes, header says %d", o, n, b.HeaderLength())
		}
		var got Options
		if b.Options(&got); got != o {
			t.Errorf("%+v became %+v", o, got)
		}
	}
}

func TestBrokenOptions(t *testing.T) {
	for _, c := range []struct {
		bytes []byte
		want  Options
	}{
		{[]byte{2, 4, 5, 180, 2, 40, 0, 0}, Options{MSS: 1460}},
		{[]byte{2, 4, 5, 180, 2, 0, 0, 0}, Options{MSS: 1460}},
		{[]byte{254, 4, 1, 1, 2, 4, 5, 180}, Options{MSS: 1460}},
		{[]byte{3, 3, 200, 1}, Options{HasScale: true, Scale: 14}},
		{[]byte{0, 2, 4, 5}, Options{}},
		{[]byte{5, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, Options{}},
		{[]byte{8, 4, 0, 0}, Options{}},
		{[]byte{1, 1, 1, 8}, Options{}},
	} {
		b := TCP(append(make([]byte, TCPSize), c.bytes...))
		b[12] = byte(len(b)/4) << 4
		var o Options
		if b.Options(&o); o != c.want {
			t.Errorf("%v: %+v, want %+v", c.bytes, o, c.want)
		}
	}
}

func TestDatagrams(t *testing.T) {
	src, dst := [4]byte{10, 0, 0, 1}, [4]byte{10, 0, 0, 2}
	packetOf := func(proto uint8, b []byte) *Packet {
		ip := IPv4(make([]byte, IPv4Size))
		ip.Set(&IPv4Fields{Source: src, Destination: dst, Protocol: proto, Length: IPv4Size + len(b)})
		return &Packet{IP: ip, Payload: b}
	}
	u := UDP(append(make([]byte, UDPSize), "payload and more"...))
	u.Set(1, 53, UDPSize+7, 0)
	if got := ParseUDP(packetOf(ProtoUDP, u)); got == nil || string(got.Payload()) != "payload" || got.SourcePort() != 1 || got.DestinationPort() != 53 {
		t.Errorf("without checksum: %x", got)
	}
	u.Set(1, 53, UDPSize+7, 1)
	if ParseUDP(packetOf(ProtoUDP, u)) != nil {
		t.Error("a wrong checksum was taken")
	}
	u.Set(1, 53, UDPSize+7, 0)
	u.Set(1, 53, UDPSize+7, ^uint16(Pseudo(src, dst, ProtoUDP, UDPSize+7).Add(SumOf(u[:UDPSize+7]))))
	if ParseUDP(packetOf(ProtoUDP, u)) == nil {
		t.Error("a right checksum was refused")
	}
	for _, length := range []int{0, 7, 100} {
		u.Set(1, 53, length, 0)
		if ParseUDP(packetOf(ProtoUDP, u)) != nil {
			t.Errorf("length %d was taken", length)
		}
	}
	m := ICMP(make([]byte, 12))
	m.Set(ICMPUnreachable, CodeFragNeeded, 1400)
	m.SetSum()
	if got := ParseICMP(packetOf(ProtoICMP, m)); got == nil || got.Type() != ICMPUnreachable || got.Code() != CodeFragNeeded || got.MTU() != 1400 {
		t.Errorf("ICMP %x", got)
	}
	m[11]++
	if ParseICMP(packetOf(ProtoICMP, m)) != nil || ParseICMP(packetOf(ProtoICMP, m[:7])) != nil {
		t.Error("broken ICMP was taken")
	}
}

func TestQuoted(t *testing.T) {
	quote := frame()[LinkSize:]
	m := ICMP(append(make([]byte, ICMPSize), quote[:IPv4Size+8]...))
	var q Quoted
	if !m.Quoted(&q) || q.SourcePort != 1000 || q.DestinationPort != 80 || q.Seq != 0x01020304 || q.IP.Source() != [4]byte{10, 0, 0, 1} {
		t.Errorf("%+v", q)
	}
	if m[:len(m)-1].Quoted(&q) {
		t.Error("too short a quote was taken")
	}
	putBE16(m[ICMPSize+6:], 5)
	if m.Quoted(&q) {
		t.Error("a later fragment was taken")
	}
}
