package resolver

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// upstreamServer is a real name server that answers as it is told and keeps
// what it was asked.
type upstreamServer struct {
	addr netip.AddrPort

	mu    sync.Mutex
	asked []string // "udp A EXAMPLE.com."
	ports map[int]bool
}

func startUpstream(t *testing.T, answer func(w dns.ResponseWriter, q *dns.Msg)) *upstreamServer {
	t.Helper()
	packets, streams := sockets(t)
	u := &upstreamServer{addr: packets.LocalAddr().(*net.UDPAddr).AddrPort(), ports: map[int]bool{}}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		u.note(w, q)
		answer(w, q)
	})
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: streams, Handler: handler}} {
		begun, ended := make(chan bool), make(chan error, 1)
		s.NotifyStartedFunc = func() { close(begun) }
		go func() { ended <- s.ActivateAndServe() }()
		<-begun
		t.Cleanup(func() {
			s.Shutdown()
			<-ended
		})
	}
	return u
}

func (u *upstreamServer) note(w dns.ResponseWriter, q *dns.Msg) {
	u.mu.Lock()
	defer u.mu.Unlock()
	network := w.RemoteAddr().Network()
	u.asked = append(u.asked, fmt.Sprintf("%s %s %s", network, dns.TypeToString[q.Question[0].Qtype], q.Question[0].Name))
	if a, ok := w.RemoteAddr().(*net.UDPAddr); ok {
		u.ports[a.Port] = true
	}
}

func (u *upstreamServer) questions() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.asked)
}

func reply1(q *dns.Msg, records ...string) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	for _, r := range records {
		rr, err := dns.NewRR(strings.ReplaceAll(r, "@", q.Question[0].Name))
		if err != nil {
			panic(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	return m
}

// says answers every question with the same records; @ is the name asked.
func says(records ...string) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(reply1(q, records...)) }
}

// TestUpstreamsMayChange while the resolver serves.
func TestUpstreamsMayChange(t *testing.T) {
	first, second := startUpstream(t, says("@ 0 IN A 198.51.100.1")), startUpstream(t, says("@ 0 IN A 198.51.100.2"))
	s := serve(t, Config{}, world())
	for _, c := range []struct {
		to   []netip.AddrPort
		want []string
	}{{nil, nil}, {[]netip.AddrPort{first.addr}, []string{"198.51.100.1"}}, {[]netip.AddrPort{second.addr, first.addr}, []string{"198.51.100.2"}}} {
		s.Ask(c.to)
		name := fmt.Sprintf("n%d.example.com.", len(c.to)) // a failure is remembered for a while
		if got := addrsOf(s.query(t, shop, "udp", asking(name, dns.TypeA))); !slices.Equal(got, c.want) {
			t.Errorf("asking %v: %v, want %v", c.to, got, c.want)
		}
	}
}

func TestForwardedNamesAreCachedPerApp(t *testing.T) {
	u := startUpstream(t, says("@ 300 IN A 198.51.100.1"))
	w := world()
	other := netip.MustParseAddr("127.0.0.4")
	w.Apps["other-guid"] = App{Outside: true}
	w.Askers[other] = "other-guid"
	s := serve(t, Config{Upstreams: []netip.AddrPort{u.addr}}, w)
	for range 3 {
		m := s.query(t, shop, "udp", asking("Example.com.", dns.TypeA))
		if got := addrsOf(m); !slices.Equal(got, []string{"198.51.100.1"}) || m.Answer[0].Header().Name != "Example.com." {
			t.Fatalf("answer:\n%v", m)
		}
		if ttl := m.Answer[0].Header().Ttl; ttl > 300 || ttl < 200 {
			t.Errorf("TTL %d", ttl)
		}
	}
	if got := u.questions(); len(got) != 1 {
		t.Errorf("the upstream was asked %v", got)
	}
	if err := s.Update(w); err != nil { // the cache outlives the table
		t.Fatal(err)
	}
	s.query(t, shop, "udp", asking("example.com.", dns.TypeA))
	if got := u.questions(); len(got) != 1 {
		t.Errorf("after an update the upstream was asked %v", got)
	}
	// Another app cannot tell that the name was looked up.
	s.query(t, other, "udp", asking("example.com.", dns.TypeA))
	if got := u.questions(); len(got) != 2 {
		t.Errorf("for another app the upstream was asked %v", got)
	}
	if c := s.Counts(); c.Forwarded != 2 || c.Cached != 3 {
		t.Errorf("counts %+v", c)
	}
}

func TestMissingNamesAreCached(t *testing.T) {
	u := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetRcode(q, dns.RcodeNameError)
		soa, _ := dns.NewRR("example.com. 600 IN SOA ns. mail. 1 2 3 4 60")
		m.Ns = []dns.RR{soa}
		w.WriteMsg(m)
	})
	s := serve(t, Config{Upstreams: []netip.AddrPort{u.addr}}, world())
	for range 2 {
		m := s.query(t, shop, "udp", asking("no.example.com.", dns.TypeA))
		if m.Rcode != dns.RcodeNameError || len(m.Ns) != 1 {
			t.Errorf("answer:\n%v", m)
		}
	}
	if got := u.questions(); len(got) != 1 {
		t.Errorf("the upstream was asked %v", got)
	}
}

// TestInternalNamesStayInside: whatever a guest asks below an internal domain,
// or of protected addresses, the upstream hears nothing.
func TestInternalNamesStayInside(t *testing.T) {
	u := startUpstream(t, says("@ 300 IN A 198.51.100.1"))
	s := serve(t, Config{Upstreams: []netip.AddrPort{u.addr}}, world())
	for _, name := range []string{"secret.stock.apps.internal.", "apps.internal.", "APPS.INTERNAL.", "x.team.internal.",
		`a\.b.apps.internal.`, "localhost.", "a.localhost.", "1.0.7.10.in-addr.arpa.", "254.169.in-addr.arpa."} {
		for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypePTR} {
			s.query(t, shop, "udp", asking(name, kind))
		}
	}
	if got := u.questions(); len(got) != 0 {
		t.Errorf("the upstream was asked %v", got)
	}
	s.query(t, shop, "udp", asking("xapps.internal.", dns.TypeA)) // another domain
	if got := u.questions(); len(got) != 1 {
		t.Errorf("the upstream was asked %v", got)
	}
}

func TestAppWithoutOutsideIsRefused(t *testing.T) {
	u := startUpstream(t, says("@ 300 IN A 198.51.100.1"))
	s := serve(t, Config{Upstreams: []netip.AddrPort{u.addr}}, world())
	if m := s.query(t, lonely, "udp", asking("payload.tunnel.example.", dns.TypeTXT)); m.Rcode != dns.RcodeRefused {
		t.Errorf("answer:\n%v", m)
	}
	if got := u.questions(); len(got) != 0 {
		t.Errorf("the upstream was asked %v", got)
	}
}

func TestOutsideHasNoIPv6(t *testing.T) {
	u := startUpstream(t, says("@ 300 IN AAAA 2001:db8::1"))
	s := serve(t, Config{Upstreams: []netip.AddrPort{u.addr}}, world())
	if m := s.query(t, shop, "udp", asking("example.com.", dns.TypeAAAA)); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 0 {
		t.Errorf("answer:\n%v", m)
	}
}

func TestRebindingIsBlocked(t *testing.T) {
	for name, records := range map[string][]string{
		"loopback":            {"@ 60 IN A 127.0.0.1"},
		"all of loopback":     {"@ 60 IN A 127.9.9.9"},
		"this host":           {"@ 60 IN A 0.0.0.0"},
		"the gateway":         {"@ 60 IN A 169.254.0.1"},
		"metadata":            {"@ 60 IN A 169.254.169.254"},
		"metadata of Azure":   {"@ 60 IN A 168.63.129.16"},
		"metadata of Alibaba": {"@ 60 IN A 100.100.100.200"},
		"a guest":             {"@ 60 IN A 10.7.0.4"},
		"an address of hosts": {"@ 60 IN A 192.0.2.7"},
		"multicast":           {"@ 60 IN A 224.0.0.1"},
		"one among good ones": {"@ 60 IN A 198.51.100.1", "@ 60 IN A 169.254.169.254"},
		"behind an alias":     {"@ 60 IN CNAME a.example.", "a.example. 60 IN A 127.0.0.1"},
		"an internal name":    {"@ 60 IN CNAME stock.apps.internal."},
	} {
		t.Run(name, func(t *testing.T) {
			u := startUpstream(t, says(records...))
			s := serve(t, Config{Upstreams: []netip.AddrPort{u.addr}}, world())
			q := asking("evil.example.", dns.TypeA)
			q.SetEdns0(1232, false)
			for range 2 { // the second from the cache
				m := s.query(t, shop, "udp", q)
				if m.Rcode != dns.RcodeNameError || len(m.Answer) != 0 {
					t.Errorf("answer:\n%v", m)
				}
				if !strings.Contains(m.String(), "Blocked") {
					t.Errorf("no reason in:\n%v", m)
				}
			}
			if c := s.Counts(); c.Rebinding != 2 {
				t.Errorf("counts %+v", c)
			}
		})
	}
}

// TestRebindingByHints: HTTPS records carry addresses too (RFC 9460).
func TestRebindingByHints(t *testing.T) {
	u := startUpstream(t, says(`@ 60 IN HTTPS 1 . alpn="h2" ipv4hint="198.51.100.1,10.7.0.4"`))
	s := serve(t, Config{Upstreams: []netip.AddrPort{u.addr}}, world())
	if m := s.query(t, shop, "udp", asking("evil.example.", dns.TypeHTTPS)); m.Rcode != dns.RcodeNameError {
		t.Errorf("answer:\n%v", m)
	}
}

// TestAddressThatBecomesProtected: an answer from before is judged by the
// table of now.
func TestAddressThatBecomesProtected(t *testing.T) {
	u := startUpstream(t, says("@ 300 IN A 198.51.100.1"))
	s := serve(t, Config{Upstreams: []netip.AddrPort{u.addr}}, world())
	if m := s.query(t, shop, "udp", asking("example.com.", dns.TypeA)); len(m.Answer) != 1 {
		t.Fatalf("answer:\n%v", m)
	}
	w := world()
	w.Protected = append(w.Protected, netip.MustParsePrefix("198.51.100.0/24"))
	if err := s.Update(w); err != nil {
		t.Fatal(err)
	}
	if m := s.query(t, shop, "udp", asking("example.com.", dns.TypeA)); m.Rcode != dns.RcodeNameError {
		t.Errorf("answer:\n%v", m)
	}
}

// TestLongAnswersComeOverTCP: the upstream cuts its UDP answer, and so do we.
func TestLongAnswersComeOverTCP(t *testing.T) {
	u := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		var records []string
		for i := range 150 {
			records = append(records, fmt.Sprintf("@ 60 IN A 198.51.100.%d", i))
		}
		m := reply1(q, records...)
		if w.RemoteAddr().Network() == "udp" {
			m.Truncate(dns.MinMsgSize)
		}
		w.WriteMsg(m)
	})
	s := serve(t, Config{Upstreams: []netip.AddrPort{u.addr}}, world())
	got, err := s.guest(shop).LookupHost(t.Context(), "long.example.")
	if err != nil || len(got) != 150 {
		t.Errorf("%d of 150 addresses: %v", len(got), err)
	}
	asked := u.questions()
	if len(asked) != 2 || !strings.HasPrefix(asked[0], "udp A") || !strings.HasPrefix(asked[1], "tcp A") {
		t.Errorf("the upstream was asked %v", asked)
	}
}

func TestSilentUpstreamIsPassedOver(t *testing.T) {
	silent := startUpstream(t, func(dns.ResponseWriter, *dns.Msg) {})
	good := startUpstream(t, says("@ 0 IN A 198.51.100.1"))
	s := serve(t, Config{Upstreams: []netip.AddrPort{silent.addr, good.addr}}, world())
	for i := range 3 {
		m := s.query(t, shop, "tcp", asking("example.com.", dns.TypeA))
		if len(m.Answer) != 1 {
			t.Fatalf("answer %d:\n%v", i, m)
		}
	}
	if got := silent.questions(); len(got) != 1 {
		t.Errorf("the silent upstream was asked %d times, want once: then the other comes first", len(got))
	}
}

func TestFailingUpstreams(t *testing.T) {
	var good atomic.Bool
	fails := func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)) }
	first := startUpstream(t, fails)
	second := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if good.Load() {
			says("@ 60 IN A 198.51.100.1")(w, q)
		} else {
			fails(w, q)
		}
	})
	s := serve(t, Config{Upstreams: []netip.AddrPort{first.addr, second.addr}}, world())
	for range 2 {
		if m := s.query(t, shop, "udp", asking("broken.example.", dns.TypeA)); m.Rcode != dns.RcodeServerFailure {
			t.Errorf("answer:\n%v", m)
		}
	}
	if a, b := len(first.questions()), len(second.questions()); a != 1 || b != 1 {
		t.Errorf("asked %d and %d times: a failure is kept for a moment (RFC 9520)", a, b)
	}
	good.Store(true)
	if m := s.query(t, shop, "udp", asking("other.example.", dns.TypeA)); len(m.Answer) != 1 {
		t.Errorf("answer:\n%v", m)
	}
}

// TestLostPacketIsSentAgain: one upstream, whose first packet is lost.
func TestLostPacketIsSentAgain(t *testing.T) {
	var n atomic.Int32
	u := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if n.Add(1) > 1 {
			says("@ 60 IN A 198.51.100.1")(w, q)
		}
	})
	s := serve(t, Config{Upstreams: []netip.AddrPort{u.addr}}, world())
	if m := s.query(t, shop, "tcp", asking("example.com.", dns.TypeA)); len(m.Answer) != 1 {
		t.Errorf("answer:\n%v", m)
	}
}

func TestNoUpstream(t *testing.T) {
	s := serve(t, Config{}, world())
	if m := s.query(t, shop, "udp", asking("example.com.", dns.TypeA)); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("answer:\n%v", m)
	}
}

// TestForgedAnswersArePassedOver: an attacker who guessed the port, but not the
// id or the letters of the name, does not get in.
func TestForgedAnswersArePassedOver(t *testing.T) {
	u := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		forged := reply1(q, "@ 60 IN A 203.0.113.66")
		forged.Id++
		w.WriteMsg(forged)
		forged = reply1(q, "@ 60 IN A 203.0.113.66")
		forged.Question[0].Name = "other.example."
		w.WriteMsg(forged)
		w.Write([]byte("not a message"))
		w.Write(nil)
		says("@ 60 IN A 198.51.100.1")(w, q)
	})
	s := serve(t, Config{Upstreams: []netip.AddrPort{u.addr}}, world())
	if got := addrsOf(s.query(t, shop, "udp", asking("example.com.", dns.TypeA))); !slices.Equal(got, []string{"198.51.100.1"}) {
		t.Errorf("answer %v", got)
	}
}

// TestSpelling: every query has its own letters and port, and an upstream that
// does not keep the letters is asked over TCP, where nobody can forge.
func TestSpelling(t *testing.T) {
	u := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := reply1(q, "@ 0 IN A 198.51.100.1")
		m.Question[0].Name = strings.ToLower(m.Question[0].Name)
		w.WriteMsg(m)
	})
	s := serve(t, Config{Upstreams: []netip.AddrPort{u.addr}}, world())
	for range 4 {
		m := s.query(t, shop, "udp", asking("a-long-name-with-many-letters.example.com.", dns.TypeA))
		if len(m.Answer) != 1 || m.Answer[0].Header().Name != "a-long-name-with-many-letters.example.com." {
			t.Fatalf("answer:\n%v", m)
		}
	}
	asked := u.questions()
	if len(asked) != 8 || !strings.HasPrefix(asked[1], "tcp") {
		t.Errorf("asked %v, want each question over UDP and again over TCP", asked)
	}
	slices.Sort(asked)
	if n := len(slices.Compact(asked)); n < 7 {
		t.Errorf("only %d spellings in %v", n, asked)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.ports) < 2 {
		t.Errorf("all queries came from the ports %v", u.ports)
	}
}

// TestUpstreamWithoutEDNS: from before RFC 2671.
func TestUpstreamWithoutEDNS(t *testing.T) {
	u := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.IsEdns0() != nil {
			w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeFormatError))
			return
		}
		says("@ 60 IN A 198.51.100.1")(w, q)
	})
	s := serve(t, Config{Upstreams: []netip.AddrPort{u.addr}}, world())
	if m := s.query(t, shop, "udp", asking("example.com.", dns.TypeA)); len(m.Answer) != 1 {
		t.Errorf("answer:\n%v", m)
	}
}

// TestSameQuestionIsAskedOnce: however many of an app's instances want to know.
func TestSameQuestionIsAskedOnce(t *testing.T) {
	release := make(chan bool)
	u := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		<-release
		says("@ 60 IN A 198.51.100.1")(w, q)
	})
	s := serve(t, Config{Upstreams: []netip.AddrPort{u.addr}}, world())
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := s.guest(shop).LookupHost(t.Context(), "example.com."); err != nil {
				t.Error(err)
			}
		})
	}
	for s.Counts().Queries < 8 {
		waitABit(t)
	}
	close(release)
	all.Wait()
	if got := u.questions(); len(got) != 1 {
		t.Errorf("the upstream was asked %v", got)
	}
}

func waitABit(t *testing.T) {
	t.Helper()
	select {
	case <-time.After(time.Millisecond):
	case <-t.Context().Done():
		t.Fatal("the test is over")
	}
}

func TestUpstreamsOfAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# made by hand\nnameserver 192.0.2.1\nsearch example.com\nnameserver 2001:db8::1\n")
	got, err := Upstreams(file)
	if err != nil || fmt.Sprint(got) != "[192.0.2.1:53 [2001:db8::1]:53]" {
		t.Errorf("%v, %v", got, err)
	}
	write("search example.com\n")
	if _, err := Upstreams(file); err == nil {
		t.Error("a file without name servers is no error")
	}
	write("nameserver ns.example.com\n")
	if _, err := Upstreams(file); err == nil || !strings.Contains(err.Error(), "ns.example.com") {
		t.Errorf("a name server with a name: %v", err)
	}
	if _, err := Upstreams(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestHostAddresses(t *testing.T) {
	got, err := HostAddresses()
	if err != nil || !slices.Contains(got, netip.MustParsePrefix("127.0.0.1/32")) {
		t.Errorf("%v, %v", got, err)
	}
}
