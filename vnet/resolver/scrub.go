package resolver

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// reply is what is left of an upstream's answer: only what answers the
// question. Its records are never changed.
type reply struct {
	rcode  int // NOERROR, NXDOMAIN, or SERVFAIL for a failure
	answer []dns.RR
	soa    *dns.SOA // of a negative answer
	ttl    time.Duration
}

// maxChain bounds the CNAME records of one answer.
const maxChain = 16

var (
	errNoAnswer = errors.New("the upstream's answer does not answer the question")
	errLoop     = errors.New("the upstream's answer runs in a circle of CNAME records")
)

// scrub takes from an upstream's answer the chain of CNAME records from the
// question and the records at its end, and drops the rest: what an upstream
// says beside the point is how caches are poisoned (RFC 5452 section 6).
func scrub(q question, m *dns.Msg) (*reply, error) {
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return nil, errNoAnswer
	}
	r := &reply{rcode: m.Rcode}
	name := q.name
	for {
		records, alias := at(name, q.kind, m.Answer)
		r.answer = append(r.answer, records...)
		if alias == nil {
			break
		}
		if r.answer = append(r.answer, alias); len(r.answer) > maxChain {
			return nil, errLoop
		}
		name = dns.CanonicalName(alias.Target)
	}
	negative := len(r.answer) == 0 || r.answer[len(r.answer)-1].Header().Rrtype != q.kind
	if negative {
		r.soa = authority(name, m.Ns)
	}
	if !negative || r.soa != nil { // without SOA a negative answer is not kept (RFC 2308 section 5)
		r.ttl = timeToLive(r)
	}
	return r, nil
}

// at finds the records of a name, or the alias that stands in their place.
func at(name string, kind uint16, answer []dns.RR) (records []dns.RR, alias *dns.CNAME) {
	for _, rr := range answer {
		h := rr.Header()
		if h.Class != dns.ClassINET || dns.CanonicalName(h.Name) != name {
			continue
		}
		if h.Rrtype == kind {
			records = append(records, rr)
		} else if c, ok := rr.(*dns.CNAME); ok && alias == nil {
			alias = c
		}
	}
	if records != nil {
		return records, nil
	}
	return nil, alias
}

// authority finds the SOA record that says how long a name is missing.
func authority(name string, ns []dns.RR) *dns.SOA {
	for _, rr := range ns {
		if s, ok := rr.(*dns.SOA); ok && s.Hdr.Class == dns.ClassINET && dns.IsSubDomain(dns.CanonicalName(s.Hdr.Name), name) {
			return s
		}
	}
	return nil
}

// timeToLive is how long an answer may be kept.
func timeToLive(r *reply) time.Duration {
	least := maxTTL
	for _, rr := range r.answer {
		least = min(least, seconds(rr.Header().Ttl))
	}
	if r.soa != nil {
		least = min(least, maxNegativeTTL, seconds(r.soa.Hdr.Ttl), seconds(r.soa.Minttl))
	}
	return least
}

// seconds reads a TTL. One with the highest bit set is zero (RFC 2181 section 8).
func seconds(ttl uint32) time.Duration {
	if ttl>>31 != 0 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

// alwaysProtected are addresses that no name may lead a guest to: this host,
// loopback, link-local with the gateway and most metadata services, those of
// Alibaba Cloud and Azure that are elsewhere, multicast and reserved ones.
func alwaysProtected() []netip.Prefix {
	var list []netip.Prefix
	for _, p := range []string{"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32",
		"224.0.0.0/3", "::/127", "fe80::/10", "ff00::/8"} {
		list = append(list, netip.MustParsePrefix(p))
	}
	return list
}

// HostAddresses are those of this host's interfaces, for Snapshot.Protected.
func HostAddresses() ([]netip.Prefix, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the host's addresses: %w", err)
	}
	var list []netip.Prefix
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				addr = addr.Unmap()
				list = append(list, netip.PrefixFrom(addr, addr.BitLen()))
			}
		}
	}
	return list, nil
}

// rebinds tells whether an answer leads to a protected address or an internal
// name: what an attacker answers for a name of their own to make a guest's
// browser or proxy knock at the platform's doors.
func (t *table) rebinds(r *reply) bool {
	for _, rr := range r.answer {
		if c, ok := rr.(*dns.CNAME); ok && t.domain(dns.CanonicalName(c.Target)) != "" {
			return true
		}
		for _, ip := range addresses(rr) {
			if addr, ok := netip.AddrFromSlice(ip); ok && t.protects(addr.Unmap()) {
				return true
			}
		}
	}
	return false
}

func (t *table) protects(addr netip.Addr) bool {
	for _, p := range t.protected {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// addresses are those that a record tells its reader to connect to.
func addresses(rr dns.RR) []net.IP {
	switch rr := rr.(type) {
	case *dns.A:
		return []net.IP{rr.A}
	case *dns.AAAA:
		return []net.IP{rr.AAAA}
	case *dns.SVCB:
		return hints(rr.Value)
	case *dns.HTTPS:
		return hints(rr.Value)
	}
	return nil
}

func hints(values []dns.SVCBKeyValue) (ips []net.IP) {
	for _, v := range values {
		switch v := v.(type) {
		case *dns.SVCBIPv4Hint:
			ips = append(ips, v.Hint...)
		case *dns.SVCBIPv6Hint:
			ips = append(ips, v.Hint...)
		}
	}
	return ips
}
