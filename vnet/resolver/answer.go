package resolver

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// answer answers one query of a known asker. It never returns nil.
func (r *Resolver) answer(ctx context.Context, t *table, a *asker, query *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(query)
	m.RecursionAvailable = true
	opt := query.IsEdns0()
	if opt != nil {
		m.SetEdns0(ednsSize, false)
	}
	switch {
	case len(query.Question) != 1:
		m.Rcode = dns.RcodeFormatError
	case query.Opcode != dns.OpcodeQuery:
		m.Rcode = dns.RcodeNotImplemented
	case opt != nil && opt.Version() != 0:
		m.Rcode = dns.RcodeBadVers
	case query.Question[0].Qclass != dns.ClassINET || isMeta(query.Question[0].Qtype):
		r.refuse(m)
	default:
		r.resolve(ctx, t, a, m)
	}
	return m
}

// isMeta tells whether a type asks for more than records of one type: ANY,
// zone transfers and the like (RFC 6895 section 3.1). ANY is refused as
// RFC 8482 allows: it serves amplifiers only.
func isMeta(kind uint16) bool { return kind == dns.TypeOPT || 128 <= kind && kind <= 255 || kind == 0 }

func (r *Resolver) refuse(m *dns.Msg) {
	r.counts.refused.Add(1)
	m.Rcode = dns.RcodeRefused
}

func (r *Resolver) resolve(ctx context.Context, t *table, a *asker, m *dns.Msg) {
	q := question{dns.CanonicalName(m.Question[0].Name), m.Question[0].Qtype}
	domain := t.domain(q.name)
	switch {
	case domain != "":
		r.internal(t, a.app, m, q, domain)
	case dns.IsSubDomain("localhost.", q.name):
		loopback(m, q) // RFC 6761 section 6.3
	case t.reverse(q.name):
		m.Rcode = dns.RcodeNameError // who has a protected address is nobody's business
	case !a.app.outside || !m.RecursionDesired:
		r.refuse(m)
	case q.kind == dns.TypeAAAA:
		// nothing: guests have no IPv6
	default:
		r.outside(ctx, t, a, m, q)
	}
}

// internal answers from the table. Denied and unknown names look the same.
func (r *Resolver) internal(t *table, a *app, m *dns.Msg, q question, domain string) {
	m.Authoritative = true
	addrs := t.resolve(a, q.name)
	switch {
	case len(addrs) == 0 && q.name != domain:
		r.counts.missing.Add(1)
		m.Rcode = dns.RcodeNameError
		fallthrough
	case len(addrs) == 0 || q.kind != dns.TypeA:
		m.Ns = []dns.RR{start(domain)}
		return
	}
	r.counts.internal.Add(1)
	rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	for _, addr := range addrs {
		m.Answer = append(m.Answer, address(m.Question[0].Name, addr))
	}
}

// address is an A record with TTL 0: instances come and go.
func address(name string, addr netip.Addr) dns.RR {
	return &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: addr.AsSlice()}
}

// start is the SOA record of an internal domain. All its times are zero: that a
// name is missing is not to be kept.
func start(domain string) dns.RR {
	return &dns.SOA{Hdr: dns.RR_Header{Name: domain, Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: domain, Mbox: "hostmaster." + domain}
}

func loopback(m *dns.Msg, q question) {
	if q.kind == dns.TypeA {
		m.Answer = []dns.RR{address(m.Question[0].Name, netip.AddrFrom4([4]byte{127, 0, 0, 1}))}
	}
}

// reverse tells whether a name asks whose a protected address is, by
// in-addr.arpa.
func (t *table) reverse(name string) bool {
	if !dns.IsSubDomain("in-addr.arpa.", name) {
		return false
	}
	var bytes [4]byte
	labels := dns.SplitDomainName(name)
	slices.Reverse(labels)
	labels = labels[2:]
	if len(labels) == 0 || len(labels) > 4 {
		return false
	}
	for i, l := range labels {
		n := instanceIndex(l)
		if n < 0 || n > 255 {
			return false
		}
		bytes[i] = byte(n)
	}
	asked := netip.PrefixFrom(netip.AddrFrom4(bytes), 8*len(labels))
	return slices.ContainsFunc(t.protected, func(p netip.Prefix) bool {
		return p.Contains(asked.Addr()) && p.Bits() <= asked.Bits()
	})
}

// outside answers what only the upstreams know.
func (r *Resolver) outside(ctx context.Context, t *table, a *asker, m *dns.Msg, q question) {
	if !a.meter.take(&a.meter.waiting, outstanding) {
		r.counts.limited.Add(1)
		m.Rcode = dns.RcodeServerFailure
		return
	}
	defer a.meter.give(&a.meter.waiting)
	found, ok := r.forward(ctx, a.app, q)
	switch {
	case !ok:
		m.Rcode = dns.RcodeServerFailure
	case t.rebinds(found.reply):
		r.counts.rebinding.Add(1)
		m.Rcode = dns.RcodeNameError
		explain(m, dns.ExtendedErrorCodeBlocked, "the name leads to an address of the platform")
	default:
		found.fill(m, q)
	}
}

// explain adds the reason of a refusal for clients that speak EDNS.
func explain(m *dns.Msg, code uint16, text string) {
	if opt := m.IsEdns0(); opt != nil {
		opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: code, ExtraText: text})
	}
}

// fill copies the kept records into m, older by their age, and under the name
// as the asker spells it.
func (c cachedReply) fill(m *dns.Msg, q question) {
	m.Rcode = c.rcode
	asked := m.Question[0].Name
	for _, rr := range c.answer {
		m.Answer = append(m.Answer, c.older(rr, q.name, asked))
	}
	if c.soa != nil {
		m.Ns = []dns.RR{c.older(c.soa, q.name, asked)}
	}
}

func (c cachedReply) older(rr dns.RR, name, asked string) dns.RR {
	rr = dns.Copy(rr)
	h := rr.Header()
	if dns.CanonicalName(h.Name) == name {
		h.Name = asked
	}
	left := seconds(h.Ttl)
	h.Ttl = uint32(min(left, maxTTL).Seconds())
	h.Ttl -= min(h.Ttl, c.age)
	return rr
}
