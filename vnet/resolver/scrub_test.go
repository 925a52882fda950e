package resolver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestScrub: what is left of an upstream's answer to "a.example. A".
func TestScrub(t *testing.T) {
	for _, c := range []struct {
		name       string
		rcode      int
		answer, ns []string
		want       string // records, joined
		soa        bool
		ttl        time.Duration
		wantErr    error
	}{
		{name: "addresses", answer: []string{"a.example. 60 IN A 198.51.100.1", "A.EXAMPLE. 30 IN A 198.51.100.2"},
			want: "198.51.100.1 198.51.100.2", ttl: 30 * time.Second},
		{name: "an alias", answer: []string{"a.example. 60 IN CNAME B.example.", "b.example. 20 IN A 198.51.100.1"},
			want: "B.example. 198.51.100.1", ttl: 20 * time.Second},
		{name: "an alias in any order", answer: []string{"b.example. 20 IN A 198.51.100.1", "a.example. 60 IN CNAME b.example."},
			want: "b.example. 198.51.100.1", ttl: 20 * time.Second},
		{name: "records beside the point", answer: []string{"bank.example. 60 IN A 203.0.113.66", "a.example. 60 IN A 198.51.100.1", "a.example. 60 IN TXT x"},
			want: "198.51.100.1", ttl: 60 * time.Second},
		{name: "another class", answer: []string{"a.example. 60 CH A 198.51.100.1"}},
		{name: "authority and addresses of name servers", answer: []string{"a.example. 60 IN A 198.51.100.1"}, ns: []string{"example. 60 IN NS ns.example."},
			want: "198.51.100.1", ttl: 60 * time.Second},
		{name: "missing", rcode: dns.RcodeNameError, ns: []string{"example. 60 IN SOA ns. mail. 1 2 3 4 40"}, soa: true, ttl: 40 * time.Second},
		{name: "missing for longer than we keep", rcode: dns.RcodeNameError, ns: []string{"example. 86400 IN SOA ns. mail. 1 2 3 4 86400"}, soa: true, ttl: maxNegativeTTL},
		{name: "missing without SOA", rcode: dns.RcodeNameError},
		{name: "SOA of another zone", rcode: dns.RcodeNameError, ns: []string{"com. 60 IN SOA ns. mail. 1 2 3 4 40"}},
		{name: "empty", ns: []string{"a.example. 60 IN SOA ns. mail. 1 2 3 4 40"}, soa: true, ttl: 40 * time.Second},
		{name: "an alias to nothing", rcode: dns.RcodeNameError, answer: []string{"a.example. 60 IN CNAME b.test."}, ns: []string{"test. 60 IN SOA ns. mail. 1 2 3 4 30"},
			want: "b.test.", soa: true, ttl: 30 * time.Second},
		{name: "an alias to nothing without SOA", answer: []string{"a.example. 60 IN CNAME b.test."}, want: "b.test."},
		{name: "kept for days", answer: []string{"a.example. 604800 IN A 198.51.100.1"}, want: "198.51.100.1", ttl: maxTTL},
		{name: "TTL with the highest bit", answer: []string{"a.example. 2147483648 IN A 198.51.100.1"}, want: "198.51.100.1"},
		{name: "a circle", answer: []string{"a.example. 60 IN CNAME b.example.", "b.example. 60 IN CNAME a.example."}, wantErr: errLoop},
		{name: "a refusal", rcode: dns.RcodeRefused, wantErr: errNoAnswer},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: c.rcode}}
			for _, r := range c.answer {
				m.Answer = append(m.Answer, record(t, r))
			}
			for _, r := range c.ns {
				m.Ns = append(m.Ns, record(t, r))
			}
			got, err := scrub(question{"a.example.", dns.TypeA}, m)
			if err != c.wantErr {
				t.Fatalf("error %v, want %v", err, c.wantErr)
			}
			if err != nil {
				return
			}
			var list []string
			for _, rr := range got.answer {
				list = append(list, strings.TrimPrefix(rr.String(), rr.Header().String()))
			}
			if s := strings.Join(list, " "); s != c.want || got.rcode != c.rcode || (got.soa != nil) != c.soa || got.ttl != c.ttl {
				t.Errorf("rcode %d, %q, SOA %v, TTL %v", got.rcode, s, got.soa, got.ttl)
			}
		})
	}
}

func TestLongChainEnds(t *testing.T) {
	m := new(dns.Msg)
	for i := range maxChain + 1 {
		m.Answer = append(m.Answer, record(t, fmt.Sprintf("%d.example. 60 IN CNAME %d.example.", i, i+1)))
	}
	if _, err := scrub(question{"0.example.", dns.TypeA}, m); err != errLoop {
		t.Errorf("error %v", err)
	}
}
