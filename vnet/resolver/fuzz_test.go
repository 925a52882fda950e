package resolver

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// FuzzQuery: whatever a guest sends, the answer is a message that fits and that
// belongs to the question; no internal name goes out; no address of an app that
// the policies deny comes back.
func FuzzQuery(f *testing.F) {
	for _, m := range []*dns.Msg{
		asking("stock.apps.internal.", dns.TypeA), asking("0.DEPOT.team.internal.", dns.TypeA), asking("hidden.apps.internal.", dns.TypeAAAA),
		asking("example.com.", dns.TypeA), asking("4.0.7.10.in-addr.arpa.", dns.TypePTR), asking(`a\.b.apps.internal.`, dns.TypeANY),
		asking("localhost.", dns.TypeA), asking(".", dns.TypeNS), new(dns.Msg).SetAxfr("apps.internal."), new(dns.Msg).SetEdns0(512, true),
	} {
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	r := New(Config{})
	if err := r.Update(world()); err != nil {
		f.Fatal(err)
	}
	t0 := r.table.Load()
	allowed := []string{"10.7.0.4", "10.7.0.5", "10.7.0.7"}
	f.Fuzz(func(t *testing.T, b []byte) {
		query := new(dns.Msg)
		if query.Unpack(b) != nil {
			return // the server answers what it cannot read itself
		}
		r.ask = func(_ context.Context, q question) (*dns.Msg, error) {
			if t0.domain(q.name) != "" {
				t.Fatalf("%s went out", q.name)
			}
			m := new(dns.Msg)
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: []byte{198, 51, 100, 1}}}
			return m, nil
		}
		m := r.answer(t.Context(), t0, t0.askers[shop], query)
		size := udpSize(query)
		m.Truncate(size)
		wire, err := m.Pack()
		if err != nil {
			t.Fatalf("%v\ncannot be sent: %v", m, err)
		}
		if len(wire) > size && len(m.Answer)+len(m.Ns) > 0 {
			t.Fatalf("%d bytes for %d", len(wire), size)
		}
		if m.Id != query.Id || !m.Response || len(query.Question) == 1 && m.Question[0] != query.Question[0] {
			t.Fatalf("%v\nanswers\n%v", m, query)
		}
		for _, a := range addrsOf(m) {
			inside := t0.domain(dns.CanonicalName(m.Question[0].Name)) != ""
			if inside != slices.Contains(allowed, a) {
				t.Fatalf("%s\nis the answer to\n%v", a, query)
			}
		}
	})
}

// FuzzUpstream: whatever an upstream sends, a guest gets no protected address,
// only records on the way from its question, and a message that can be sent.
func FuzzUpstream(f *testing.F) {
	for _, records := range [][]string{
		{"a.example. 60 IN A 198.51.100.1"}, {"a.example. 60 IN A 169.254.169.254"}, {"a.example. 60 IN CNAME stock.apps.internal."},
		{"a.example. 60 IN CNAME b.example.", "b.example. 60 IN A 10.7.0.4", "c.example. 60 IN A 127.0.0.1"},
		{`a.example. 60 IN HTTPS 1 . ipv4hint="127.0.0.1"`}, {"a.example. 60 IN TXT text"},
	} {
		m := new(dns.Msg)
		for _, text := range records {
			rr, err := dns.NewRR(text)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		m.Ns = []dns.RR{start("example.")}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		for _, kind := range []uint16{dns.TypeA, dns.TypeHTTPS, dns.TypeTXT} {
			f.Add(b, kind)
		}
	}
	r := New(Config{})
	if err := r.Update(world()); err != nil {
		f.Fatal(err)
	}
	t0 := r.table.Load()
	f.Fuzz(func(t *testing.T, b []byte, kind uint16) {
		upstream := new(dns.Msg)
		if upstream.Unpack(b) != nil || isMeta(kind) || kind == dns.TypeAAAA {
			return
		}
		r.ask = func(context.Context, question) (*dns.Msg, error) { return upstream, nil }
		a := &asker{app: &app{guid: "fuzz", outside: true, cache: newCache(1 << 16)}, meter: newMeter()}
		first := r.answer(t.Context(), t0, a, asking("A.example.", kind))
		again := r.answer(t.Context(), t0, a, asking("A.example.", kind))
		checkOutside(t, t0, first, kind)
		one, err := first.Pack()
		if err != nil {
			t.Fatalf("%v\ncannot be sent: %v", first, err)
		}
		again.Id = first.Id
		if two, err := again.Pack(); err != nil || len(one) != len(two) || !bytes.Equal(one[:12], two[:12]) {
			t.Fatalf("first\n%v\nthen\n%v", first, again)
		}
	})
}

func checkOutside(t *testing.T, t0 *table, m *dns.Msg, kind uint16) {
	t.Helper()
	name := "a.example."
	for _, rr := range m.Answer {
		if h := rr.Header(); dns.CanonicalName(h.Name) != name || h.Class != dns.ClassINET {
			t.Fatalf("%v is not about %s", rr, name)
		}
		if rr.Header().Ttl > uint32(maxTTL.Seconds()) {
			t.Fatalf("%v lives too long", rr)
		}
		if c, ok := rr.(*dns.CNAME); ok && kind != dns.TypeCNAME {
			name = dns.CanonicalName(c.Target)
		} else if rr.Header().Rrtype != kind {
			t.Fatalf("%v is of another type than %d", rr, kind)
		}
		for _, ip := range addresses(rr) {
			if addr, ok := netip.AddrFromSlice(ip); ok && t0.protects(addr.Unmap()) {
				t.Fatalf("%v leads inside", rr)
			}
		}
	}
	if t0.domain(name) != "" || len(m.Ns) > 1 || len(m.Extra) > 0 {
		t.Fatalf("too much said:\n%v", m)
	}
}
