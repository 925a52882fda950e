package resolver

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestFloodIsDropped: beyond its rate an asker gets no answer, and a neighbour
// all of theirs.
func TestFloodIsDropped(t *testing.T) {
	w := world()
	neighbour := netip.MustParseAddr("127.0.0.5")
	w.Askers[neighbour] = "shop-guid"
	s := serve(t, Config{}, w)
	conn, err := dialer(shop, "udp").Dial("udp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b, err := asking("stock.apps.internal.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for s.Counts().Limited < 100 {
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if m := s.query(t, neighbour, "udp", asking("stock.apps.internal.", dns.TypeA)); len(m.Answer) != 3 {
		t.Errorf("the neighbour's answer:\n%v", m)
	}
}

// TestOutstandingQueriesAreBounded: while an upstream keeps an asker waiting,
// what is too much fails at once, and the neighbour's still go through.
func TestOutstandingQueriesAreBounded(t *testing.T) {
	release := make(chan bool)
	u := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if strings.HasPrefix(strings.ToLower(q.Question[0].Name), "slow") {
			<-release
		}
		says("@ 60 IN A 198.51.100.1")(w, q)
	})
	defer close(release)
	w := world()
	neighbour := netip.MustParseAddr("127.0.0.5")
	w.Askers[neighbour] = "shop-guid"
	s := serve(t, Config{Upstreams: []netip.AddrPort{u.addr}}, w)
	conn, err := dialer(shop, "udp").Dial("udp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range outstanding + 1 {
		if err := (&dns.Conn{Conn: conn}).WriteMsg(asking(fmt.Sprintf("slow%d.example.", i), dns.TypeA)); err != nil {
			t.Fatal(err)
		}
	}
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	m, err := (&dns.Conn{Conn: conn}).ReadMsg()
	if err != nil || m.Rcode != dns.RcodeServerFailure {
		t.Errorf("the one too many: %v\n%v", err, m)
	}
	if m := s.query(t, neighbour, "udp", asking("quick.example.", dns.TypeA)); len(m.Answer) != 1 {
		t.Errorf("the neighbour's answer:\n%v", m)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	s := serve(t, Config{}, world())
	for i := range connections + 1 {
		c, err := dialer(shop, "tcp").Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		m, err := exchange(c, asking("stock.apps.internal.", dns.TypeA))
		if i < connections && (err != nil || len(m.Answer) != 3) {
			t.Fatalf("connection %d: %v", i, err)
		}
		if i == connections && (err == nil || errors.Is(err, os.ErrDeadlineExceeded)) {
			t.Errorf("connection %d: %v, want it closed", i, err)
		}
	}
}

func exchange(c net.Conn, m *dns.Msg) (*dns.Msg, error) {
	conn := &dns.Conn{Conn: c}
	if err := conn.WriteMsg(m); err != nil {
		return nil, err
	}
	return conn.ReadMsg()
}
