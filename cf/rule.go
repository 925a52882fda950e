package cf

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// The protocols of security group rules and network policies.
const (
	TCP    = "tcp"
	UDP    = "udp"
	ICMP   = "icmp"
	ICMPv6 = "icmpv6"
	AllIP  = "all"
)

// Span is all addresses of one family from First to Last, both included.
type Span struct{ First, Last netip.Addr }

// Contains tells whether a lies in s.
func (s Span) Contains(a netip.Addr) bool {
	return s.First.BitLen() == a.BitLen() && s.First.Compare(a) <= 0 && a.Compare(s.Last) <= 0
}

// Within tells whether all of s lies in t.
func (s Span) Within(t Span) bool { return t.Contains(s.First) && t.Contains(s.Last) }

// SpanOf is the span of a prefix.
func SpanOf(p netip.Prefix) Span {
	first := p.Masked().Addr()
	b := first.AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return Span{first, last}
}

// Ports is all ports from First to Last, both included.
type Ports struct{ First, Last uint16 }

// Match is a security group rule as it is understood: a packet matches that has
// the protocol, goes to one of the spans, and where Ports or Type and Code say
// anything has those. Type and Code are -1 for any.
type Match struct {
	Protocol   string
	To         []Span
	Ports      []Ports
	Type, Code int
}

// maxList bounds a comma list in a rule.
const maxList = 6000

// Parse understands a rule. The error says what is wrong with it in words for
// its author.
func (r Rule) Parse() (Match, error) {
	m := Match{Protocol: r.Protocol, Type: -1, Code: -1}
	var err error
	if m.To, err = parseDestination(r.Destination); err != nil {
		return Match{}, err
	}
	switch r.Protocol {
	case TCP, UDP:
		if m.Ports, err = parsePorts(r.Ports); err != nil {
			return Match{}, err
		}
	case ICMP, ICMPv6:
		if m.Type, m.Code, err = r.parseICMP(); err != nil {
			return Match{}, err
		}
	case AllIP:
	default:
		return Match{}, Errorf("parse rule", Invalid, "protocol must be 'tcp', 'udp', 'icmp', 'icmpv6' or 'all'")
	}
	if r.Ports != "" && m.Ports == nil {
		return Match{}, Errorf("parse rule", Invalid, "ports are not allowed for protocols other than tcp and udp")
	}
	return m, nil
}

func (r Rule) parseICMP() (kind, code int, err error) {
	if r.Type == nil || r.Code == nil {
		return 0, 0, Errorf("parse rule", Invalid, "type and code are required for protocol %s", r.Protocol)
	}
	if *r.Type < -1 || *r.Type > 255 || *r.Code < -1 || *r.Code > 255 {
		return 0, 0, Errorf("parse rule", Invalid, "type and code must be between -1 and 255 (inclusive)")
	}
	return *r.Type, *r.Code, nil
}

func parseDestination(list string) ([]Span, error) {
	parts := strings.Split(list, ",")
	if len(parts) > maxList {
		return nil, Errorf("parse rule", Invalid, "destination has more than %d parts", maxList)
	}
	spans := make([]Span, 0, len(parts))
	for _, part := range parts {
		s, err := parseSpan(part)
		if err != nil {
			return nil, Errorf("parse rule", Invalid, "destination %q must be an IP address, a CIDR or a range of addresses: %w", part, err)
		}
		spans = append(spans, s)
	}
	return spans, nil
}

func parseSpan(s string) (Span, error) {
	if strings.Contains(s, "%") {
		return Span{}, fmt.Errorf("zones mean nothing here")
	}
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return Span{}, err
		}
		return SpanOf(p), nil
	}
	from, to, isRange := strings.Cut(s, "-")
	first, err := netip.ParseAddr(from)
	if err != nil || !isRange {
		return Span{first, first}, err
	}
	last, err := netip.ParseAddr(to)
	if err == nil && (first.BitLen() != last.BitLen() || last.Less(first)) {
		err = fmt.Errorf("the beginning of the range is not before its end")
	}
	return Span{first, last}, err
}

// parsePorts understands 80, 1-1024 and comma lists of both, and returns them
// in order and without overlaps.
func parsePorts(list string) ([]Ports, error) {
	parts := strings.Split(list, ",")
	if len(parts) > maxList {
		return nil, Errorf("parse rule", Invalid, "ports has more than %d parts", maxList)
	}
	ports := make([]Ports, 0, len(parts))
	for _, part := range parts {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		first, err := parsePort(from)
		last := first
		if err == nil && isRange {
			last, err = parsePort(to)
		}
		if err != nil || last < first {
			return nil, Errorf("parse rule", Invalid, "ports must be a port, a range of ports or a comma separated list of them, not %q", list)
		}
		ports = append(ports, Ports{first, last})
	}
	return MergePorts(ports), nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 16)
	if err == nil && n == 0 {
		err = strconv.ErrRange
	}
	return uint16(n), err
}

// MergePorts is the same ports in order, without overlaps and neighbours.
func MergePorts(list []Ports) []Ports {
	slices.SortFunc(list, func(a, b Ports) int { return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last)) })
	merged := list[:0]
	for _, p := range list {
		if n := len(merged); n > 0 && int(p.First) <= int(merged[n-1].Last)+1 {
			merged[n-1].Last = max(merged[n-1].Last, p.Last)
			continue
		}
		merged = append(merged, p)
	}
	return merged
}
