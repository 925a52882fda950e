package cf

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func number(n int) *int { return &n }

func TestRulesAreUnderstood(t *testing.T) {
	for _, c := range []struct {
		rule Rule
		want string
	}{
		{Rule{Protocol: "tcp", Destination: "10.0.0.1", Ports: "80"}, "tcp [{10.0.0.1 10.0.0.1}] [{80 80}] -1 -1"},
		{Rule{Protocol: "udp", Destination: "10.0.0.0/8", Ports: "1-65535"}, "udp [{10.0.0.0 10.255.255.255}] [{1 65535}] -1 -1"},
		{Rule{Protocol: "tcp", Destination: "10.0.0.7/30", Ports: "443, 80,81-90,85"}, "tcp [{10.0.0.4 10.0.0.7}] [{80 90} {443 443}] -1 -1"},
		{Rule{Protocol: "all", Destination: "0.0.0.0-9.255.255.255"}, "all [{0.0.0.0 9.255.255.255}] [] -1 -1"},
		{Rule{Protocol: "all", Destination: "1.1.1.1,2.0.0.0/8,3.3.3.3-3.3.3.9"}, "all [{1.1.1.1 1.1.1.1} {2.0.0.0 2.255.255.255} {3.3.3.3 3.3.3.9}] [] -1 -1"},
		{Rule{Protocol: "icmp", Destination: "0.0.0.0/0", Type: number(8), Code: number(-1)}, "icmp [{0.0.0.0 255.255.255.255}] [] 8 -1"},
		{Rule{Protocol: "icmpv6", Destination: "fd00::/127", Type: number(-1), Code: number(-1)}, "icmpv6 [{fd00:: fd00::1}] [] -1 -1"},
	} {
		m, err := c.rule.Parse()
		if err != nil {
			t.Errorf("%+v: %v", c.rule, err)
			continue
		}
		if got := fmt.Sprint(m.Protocol, " ", m.To, " ", m.Ports, " ", m.Type, " ", m.Code); got != c.want {
			t.Errorf("%+v:\n got %s\nwant %s", c.rule, got, c.want)
		}
	}
}

func TestWrongRulesAreRefused(t *testing.T) {
	for say, r := range map[string]Rule{
		"no protocol":         {Destination: "1.1.1.1"},
		"unknown protocol":    {Protocol: "sctp", Destination: "1.1.1.1"},
		"no destination":      {Protocol: "all"},
		"a name":              {Protocol: "all", Destination: "example.com"},
		"empty list element":  {Protocol: "all", Destination: "1.1.1.1,"},
		"space in the list":   {Protocol: "all", Destination: "1.1.1.1, 2.2.2.2"},
		"octal":               {Protocol: "all", Destination: "010.1.1.1"},
		"backwards":           {Protocol: "all", Destination: "2.2.2.2-1.1.1.1"},
		"mixed families":      {Protocol: "all", Destination: "1.1.1.1-fd00::1"},
		"mask too long":       {Protocol: "all", Destination: "1.1.1.1/33"},
		"zone":                {Protocol: "all", Destination: "fe80::1%eth0"},
		"tcp without ports":   {Protocol: "tcp", Destination: "1.1.1.1"},
		"port 0":              {Protocol: "tcp", Destination: "1.1.1.1", Ports: "0"},
		"port too large":      {Protocol: "tcp", Destination: "1.1.1.1", Ports: "65536"},
		"backward ports":      {Protocol: "udp", Destination: "1.1.1.1", Ports: "9-8"},
		"signed port":         {Protocol: "udp", Destination: "1.1.1.1", Ports: "+9"},
		"ports for all":       {Protocol: "all", Destination: "1.1.1.1", Ports: "80"},
		"ports for icmp":      {Protocol: "icmp", Destination: "1.1.1.1", Ports: "80", Type: number(0), Code: number(0)},
		"icmp without type":   {Protocol: "icmp", Destination: "1.1.1.1", Code: number(0)},
		"icmp type too large": {Protocol: "icmp", Destination: "1.1.1.1", Type: number(256), Code: number(0)},
		"icmp code too small": {Protocol: "icmp", Destination: "1.1.1.1", Type: number(0), Code: number(-2)},
		"endless list":        {Protocol: "all", Destination: strings.Repeat("1.1.1.1,", maxList) + "1.1.1.1"},
	} {
		if m, err := r.Parse(); err == nil || KindOf(err) != Invalid {
			t.Errorf("%s: %+v, %v", say, m, err)
		}
	}
}

// FuzzRule: what is understood is in order, of one family per span, and in
// bounds; the same rule written from it means the same.
func FuzzRule(f *testing.F) {
	f.Add("tcp", "10.0.0.0/8,1.1.1.1-1.1.1.9", "80,443,1000-2000", 0, 0)
	f.Add("icmp", "0.0.0.0/0", "", -1, 255)
	f.Add("all", "fd00::/8", "", 0, 0)
	f.Fuzz(func(t *testing.T, protocol, destination, ports string, kind, code int) {
		m, err := Rule{Protocol: protocol, Destination: destination, Ports: ports, Type: &kind, Code: &code}.Parse()
		if err != nil {
			if m.To != nil || KindOf(err) != Invalid {
				t.Fatalf("both a match and an error: %+v, %v", m, err)
			}
			return
		}
		again := Rule{Protocol: protocol, Type: &m.Type, Code: &m.Code}
		for i, s := range m.To {
			if s.First.BitLen() != s.Last.BitLen() || s.Last.Less(s.First) {
				t.Fatalf("span %v", s)
			}
			if i > 0 {
				again.Destination += ","
			}
			again.Destination += s.First.String() + "-" + s.Last.String()
		}
		for i, p := range m.Ports {
			if p.First == 0 || p.Last < p.First || i > 0 && p.First <= m.Ports[i-1].Last {
				t.Fatalf("ports %v", m.Ports)
			}
			if i > 0 {
				again.Ports += ","
			}
			again.Ports += fmt.Sprintf("%d-%d", p.First, p.Last)
		}
		if n, err := again.Parse(); err != nil || fmt.Sprint(n) != fmt.Sprint(m) {
			t.Fatalf("%+v means %+v, %v; want %+v", again, n, err, m)
		}
	})
}

func TestSpans(t *testing.T) {
	all := SpanOf(netip.MustParsePrefix("0.0.0.0/0"))
	host := SpanOf(netip.MustParsePrefix("10.1.2.3/32"))
	net := SpanOf(netip.MustParsePrefix("10.1.2.128/25"))
	if !host.Within(all) || all.Within(host) || host.Within(net) || net.Last != netip.MustParseAddr("10.1.2.255") {
		t.Error(all, host, net)
	}
	if all.Contains(netip.MustParseAddr("::1")) {
		t.Error("an IPv4 span contains an IPv6 address")
	}
}
