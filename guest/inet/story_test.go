package inet

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dewpaas/dew/guest/packet"
	"github.com/dewpaas/dew/guest/tcp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestStoriesGolden plays the stories of testdata/stories. A story is what
// happens to one stack, line by line: what its program does and which segments
// its peer sends; below each line, indented, what came of it: segments sent and
// results. Numbers are relative to the initial ones of either side, times are ms.
//
//	listen [backlog]              a listener on port 80
//	accept                        takes a connection, which is then "the" one
//	connect                       to port 80 of the peer
//	set OPTION VALUE              before or after; see optionNames
//	send N | send N more          bytes
//	read N | peek N
//	shutdown rd|wr|rdwr, close, error, ready, state, info FIELD...
//	wait DURATION                 time goes by
//	peer FLAGS k=v ...            a segment: seq, ack, win, len, mss, ws, ts=val,ecr, sackok, sack=a-b, port, gso
//	icmp TYPE CODE [mtu=n] [seq=n]
//	full N                        the card refuses N frames
//	leave N                       all but so many bytes of the memory bound are taken by others
func TestStoriesGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/stories/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := newStory(t).play(string(b))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(b) {
				t.Errorf("%s tells another story now (go test -update rewrites it):\n%s", file, differs(string(b), got))
			}
		})
	}
}

// differs shows the first line in which two texts differ, and some before.
func differs(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range g {
		if i >= len(w) || w[i] != g[i] {
			from := max(0, i-6)
			expected := "end of file"
			if i < len(w) {
				expected = w[i]
			}
			return fmt.Sprintf("line %d:\n%s\nwant %s\ngot  %s", i+1, strings.Join(g[from:i], "\n"), expected, g[i])
		}
	}
	return "it is shorter"
}

// story is one stack and what is known of its peer.
type story struct {
	t        *testing.T
	clock    *clock
	stack    *Stack
	link     *wire
	listener *TCP
	end      *TCP
	opened   int64
	peerPort uint16
	ours     map[uint16]uint32 // our initial number, by the peer's port
	stamps   map[uint16]uint32 // our timestamp of time 0, likewise
	port     uint16            // ours
	out      strings.Builder
}

const peerISS = 1_000_000

func newStory(t *testing.T) *story {
	w := newWorld(t)
	return &story{t: t, clock: w.clock, stack: w.a, link: w.wa, peerPort: 5000, ours: map[uint16]uint32{}, stamps: map[uint16]uint32{}, port: 80, opened: w.clock.now}
}

func (s *story) play(text string) string {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "    ") {
			continue
		}
		fmt.Fprintln(&s.out, line)
		if f := strings.Fields(line); len(f) > 0 && f[0][0] != '#' {
			s.do(f)
			s.show()
		}
	}
	return s.out.String()
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(&s.out, "    "+format+"\n", args...) }

func (s *story) result(n int, err syscall.Errno) {
	if err != 0 {
		s.say("= %s", errnoName(err))
		return
	}
	s.say("= %d", n)
}

func errnoName(e syscall.Errno) string {
	for name, v := range map[string]syscall.Errno{"EAGAIN": syscall.EAGAIN, "EINPROGRESS": syscall.EINPROGRESS, "ECONNRESET": syscall.ECONNRESET,
		"ECONNREFUSED": syscall.ECONNREFUSED, "EPIPE": syscall.EPIPE, "ETIMEDOUT": syscall.ETIMEDOUT, "ENOTCONN": syscall.ENOTCONN,
		"EHOSTUNREACH": syscall.EHOSTUNREACH, "ENETUNREACH": syscall.ENETUNREACH, "EINVAL": syscall.EINVAL, "EISCONN": syscall.EISCONN, "EALREADY": syscall.EALREADY} {
		if v == e {
			return name
		}
	}
	return e.Error()
}

var optionNames = map[string]Option{"nodelay": NoDelay, "cork": Cork, "keepalive": KeepAlive, "keepidle": KeepIdle, "keepinterval": KeepInterval,
	"keepcount": KeepCount, "linger": Linger, "usertimeout": UserTimeout, "quickack": QuickAck, "receivebuffer": ReceiveBuffer,
	"sendbuffer": SendBuffer, "maxseg": MaxSeg, "defer": DeferAccept, "syncount": SynCount, "fintimeout": FinTimeout}

func (s *story) do(f []string) {
	arg := func(i int) int {
		if i >= len(f) {
			return 0
		}
		n, err := strconv.Atoi(f[i])
		if err != nil {
			s.t.Fatalf("%v: %v", f, err)
		}
		return n
	}
	switch f[0] {
	case "listen":
		s.listener = s.stack.NewTCP()
		if err := s.listener.Bind(Addr{Port: 80}); err != 0 {
			s.t.Fatal(err)
		}
		s.listener.Listen(max(arg(1), 1))
	case "accept":
		end, err := s.listener.Accept()
		if s.result(0, err); err == 0 {
			s.end = end
		}
	case "connect":
		if s.end == nil {
			s.end = s.stack.NewTCP()
		}
		s.peerPort = 80
		s.result(0, s.end.Connect(Addr{addrB, 80}))
		s.port = s.end.Local().Port
	case "set":
		end := s.end
		if end == nil && s.listener == nil {
			s.end = s.stack.NewTCP()
			end = s.end
		} else if end == nil {
			end = s.listener
		}
		o, ok := optionNames[f[1]]
		if !ok {
			s.t.Fatalf("no option %s", f[1])
		}
		if err := end.Set(o, arg(2)); err != 0 {
			s.result(0, err)
		}
	case "send":
		flags := 0
		if len(f) > 2 {
			flags = 0x8000
		}
		s.result(s.end.Send(make([]byte, arg(1)), flags))
	case "read":
		s.result(s.end.Receive(make([]byte, arg(1)), 0))
	case "peek":
		s.result(s.end.Receive(make([]byte, arg(1)), syscall.MSG_PEEK))
	case "shutdown":
		s.result(0, s.end.Shutdown(slices.Index([]string{"rd", "wr", "rdwr"}, f[1])))
	case "close":
		s.end.Close()
	case "unlisten":
		s.listener.Close()
	case "error":
		s.result(0, s.end.TakeError())
	case "ready":
		s.say("= %s", readyNames(s.end))
	case "state":
		s.say("= %s", stateName(s.end))
	case "info":
		s.info(f[1:])
	case "wait":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			s.t.Fatal(err)
		}
		s.wait(int64(d))
	case "peer":
		s.peer(f[1], f[2:])
	case "icmp":
		s.icmp(f[1:])
	case "full":
		s.link.full = arg(1)
	case "leave":
		used, limit := s.stack.Memory()
		if !s.stack.memory.Take(limit - used - arg(1)) {
			s.t.Fatal("so much is not there")
		}
	default:
		s.t.Fatalf("what is %q?", f[0])
	}
}

func stateName(t *TCP) string {
	return [...]string{"?", "ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED", "CLOSE-WAIT", "LAST-ACK",
		"LISTEN", "CLOSING"}[t.Info().State]
}

func readyNames(t *TCP) string {
	var names []string
	ev := t.Ready()
	for _, n := range []struct {
		bit  uint32
		name string
	}{{1, "readable"}, {4, "writable"}, {8, "failed"}, {0x10, "hungup"}, {0x2000, "peershut"}} {
		if uint32(ev)&n.bit != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, " ")
}

func (s *story) info(fields []string) {
	i := s.end.Info()
	var out []string
	for _, f := range fields {
		v := map[string]any{"cwnd": i.SendWindow, "ssthresh": i.SendThreshold, "rto": i.RTO, "rtt": i.RTT, "retrans": i.TotalRetrans, "ca": i.CAState,
			"lost": i.Lost, "sacked": i.Sacked, "unacked": i.Unacked, "mss": i.SendMSS, "space": i.ReceiveSpace}[f]
		out = append(out, fmt.Sprintf("%s=%v", f, v))
	}
	s.say("= %s", strings.Join(out, " "))
}

// wait lets the clock run and shows what is sent, at its time.
func (s *story) wait(d int64) {
	end := s.clock.now + d
	for {
		at := s.clock.wake[s.stack]
		if at == 0 || at > end {
			break
		}
		delete(s.clock.wake, s.stack)
		s.clock.now = max(at, s.clock.now)
		s.stack.Expire()
		s.show()
	}
	s.clock.now = end
}

// peer makes a segment of the peer arrive.
func (s *story) peer(letters string, args []string) {
	fields := packet.TCPFields{SourcePort: s.peerPort, DestinationPort: s.port, Seq: peerISS, Window: 65535}
	for i, c := range "FSRPA" {
		if strings.ContainsRune(strings.ReplaceAll(letters, ".", "A"), c) {
			fields.Flags |= 1 << i
		}
	}
	var o packet.Options
	length, gso := 0, 0
	number := func(v string) uint32 {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			s.t.Fatal(err)
		}
		return uint32(n)
	}
	for _, a := range args {
		k, v, _ := strings.Cut(a, "=")
		switch k {
		case "seq":
			fields.Seq = peerISS + number(v)
		case "ack":
			fields.Ack = number(v)
		case "win":
			fields.Window = uint16(number(v))
		case "len":
			length = int(number(v))
		case "gso":
			gso = int(number(v))
		case "port":
			fields.SourcePort = uint16(number(v))
		case "mss":
			o.MSS = uint16(number(v))
		case "ws":
			o.HasScale, o.Scale = true, uint8(number(v))
		case "sackok":
			o.SACKPermitted = true
		case "ts":
			val, echo, _ := strings.Cut(v, ",")
			o.HasTime, o.Time = true, number(val)
			if echo != "" {
				o.Echo = s.stamps[s.peerPort] + number(echo)
			}
		case "sack":
			from, to, _ := strings.Cut(v, "-")
			iss := s.ours[fields.SourcePort]
			o.Blocks[o.NumBlocks] = packet.Block{Start: iss + number(from), End: iss + number(to)}
			o.NumBlocks++
		default:
			s.t.Fatalf("what is %q?", a)
		}
	}
	if fields.Flags.Has(packet.ACK) {
		fields.Ack += s.ours[fields.SourcePort]
	}
	s.stack.Deliver(segment(s.link.nic.Addr, &fields, &o, make([]byte, length), gso))
}

// segment makes the frame of a segment from the gateway's side.
func segment(to [4]byte, fields *packet.TCPFields, o *packet.Options, payload []byte, gso int) []byte {
	b := make([]byte, headRoom+len(payload))
	seg := packet.TCP(b[packet.LinkSize+packet.IPv4Size:])
	seg.Set(fields)
	n := seg.SetOptions(o)
	b = append(b[:packet.LinkSize+packet.IPv4Size+n], payload...)
	seg = packet.TCP(b[packet.LinkSize+packet.IPv4Size:])
	packet.IPv4(b[packet.LinkSize:]).Set(&packet.IPv4Fields{Source: addrB, Destination: to, Protocol: packet.ProtoTCP, TTL: 64,
		Length: packet.IPv4Size + n + len(payload), DontFragment: true})
	seg.SetSum(0)
	seg.SetSum(^uint16(packet.Pseudo(addrB, to, packet.ProtoTCP, len(seg)).Add(packet.SumOf(seg))))
	packet.Ethernet(b[packet.VNetSize:]).Set(macA, macB)
	if gso > 0 {
		packet.VNet(b).Set(packet.EthernetSize+packet.IPv4Size, packet.TCPSumOffset, 0, gso)
		seg.SetSum(uint16(packet.Pseudo(addrB, to, packet.ProtoTCP, len(seg))))
	}
	return b
}

// icmp makes an ICMP error about the connection arrive.
func (s *story) icmp(args []string) {
	num := func(v string) int { n, _ := strconv.Atoi(v); return n }
	typ, code, mtu, seq := uint8(num(args[0])), uint8(num(args[1])), 0, 0
	for _, a := range args[2:] {
		switch k, v, _ := strings.Cut(a, "="); k {
		case "mtu":
			mtu = num(v)
		case "seq":
			seq = num(v)
		}
	}
	quoted := make([]byte, packet.IPv4Size+packet.TCPSize)
	packet.IPv4(quoted).Set(&packet.IPv4Fields{Source: addrA, Destination: addrB, Protocol: packet.ProtoTCP, TTL: 9, Length: 1500})
	packet.TCP(quoted[packet.IPv4Size:]).Set(&packet.TCPFields{SourcePort: s.port, DestinationPort: s.peerPort, Seq: s.ours[s.peerPort] + uint32(seq)})
	m := packet.ICMP(append(make([]byte, packet.ICMPSize), quoted[:packet.IPv4Size+8]...))
	m.Set(typ, code, uint32(mtu))
	m.SetSum()
	s.stack.Deliver(ipFrame(packet.ProtoICMP, m))
}

// ipFrame makes the frame of an IP packet from b to a.
func ipFrame(proto uint8, payload []byte) []byte {
	b := append(make([]byte, packet.LinkSize+packet.IPv4Size), payload...)
	packet.Ethernet(b[packet.VNetSize:]).Set(macA, macB)
	packet.IPv4(b[packet.LinkSize:]).Set(&packet.IPv4Fields{Source: addrB, Destination: addrA, Protocol: proto, TTL: 64,
		Length: packet.IPv4Size + len(payload)})
	return b
}

// show writes what the stack has sent.
func (s *story) show() {
	for _, f := range s.link.take() {
		var p packet.Packet
		packet.Open(f, &p)
		if p.IP.Protocol() != packet.ProtoTCP {
			s.say("%8.3f > protocol %d, %d bytes", s.time(), p.IP.Protocol(), len(p.Payload))
			continue
		}
		b := packet.TCP(p.Payload)
		if b.Flags().Has(packet.SYN) {
			s.ours[b.DestinationPort()] = b.Seq()
			var o packet.Options
			b.Options(&o)
			s.stamps[b.DestinationPort()] = o.Time - uint32(s.time())
		}
		s.say("%8.3f > %s", s.time(), s.describe(b))
	}
}

func (s *story) time() float64 { return float64(s.clock.now-s.opened) / 1e6 }

func (s *story) describe(b packet.TCP) string {
	var g tcp.Segment
	g.Read(b)
	var d strings.Builder
	for i, c := range "FSRPA" {
		if g.Flags.Has(1 << i) {
			d.WriteRune(c)
		}
	}
	iss := s.ours[b.DestinationPort()]
	fmt.Fprintf(&d, " seq %d", uint32(g.Seq)-iss)
	if len(g.Payload) > 0 {
		fmt.Fprintf(&d, " len %d", len(g.Payload))
	}
	if g.Flags.Has(packet.ACK) {
		fmt.Fprintf(&d, " ack %d", uint32(g.Ack)-peerISS)
	}
	fmt.Fprintf(&d, " win %d", g.Window)
	o := &g.Options
	if o.MSS > 0 {
		fmt.Fprintf(&d, " mss %d", o.MSS)
	}
	if o.HasScale {
		fmt.Fprintf(&d, " ws %d", o.Scale)
	}
	if o.SACKPermitted {
		d.WriteString(" sackok")
	}
	if o.HasTime && o.Echo != 0 {
		fmt.Fprintf(&d, " ecr %d", o.Echo)
	}
	for _, k := range o.Blocks[:o.NumBlocks] {
		fmt.Fprintf(&d, " sack %d-%d", k.Start-peerISS, k.End-peerISS)
	}
	return d.String()
}
