package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Addresses of pretended guests: all of 127/8 is this machine's own, so real
// sockets have them without a namespace.
var (
	shop     = netip.MustParseAddr("127.0.0.2") // may reach stock and the outside
	stranger = netip.MustParseAddr("127.0.0.9") // not in the snapshot
	lonely   = netip.MustParseAddr("127.0.0.3") // may reach nothing
)

// world is a snapshot of three apps: shop may reach stock.
func world() Snapshot {
	at := func(index int, addr string, ready bool) Instance {
		return Instance{"web", index, netip.MustParseAddr(addr), ready}
	}
	worker := Instance{"worker", 0, netip.MustParseAddr("10.7.0.8"), true}
	return Snapshot{
		Domains: []string{"apps.internal", "Team.Internal"},
		Names: map[string][]Process{
			"stock.apps.internal":   {{"stock-guid", "web"}},
			"packers.apps.internal": {{"stock-guid", "worker"}},
			"shop.apps.internal":    {{"shop-guid", "web"}},
			"hidden.apps.internal":  {{"hidden-guid", "web"}},
			"Depot.team.internal":   {{"stock-guid", "web"}, {"hidden-guid", "web"}},
			"idle.apps.internal":    {{"idle-guid", "web"}},
		},
		Apps: map[string]App{
			"shop-guid":   {Reaches: []string{"stock-guid", "idle-guid"}, Outside: true, Instances: []Instance{at(0, "10.7.0.2", true)}},
			"stock-guid":  {Instances: []Instance{at(0, "10.7.0.4", true), at(1, "10.7.0.5", true), at(2, "10.7.0.6", false), at(10, "10.7.0.7", true), worker}},
			"hidden-guid": {Instances: []Instance{at(0, "10.7.0.9", true)}},
			"idle-guid":   {Instances: []Instance{at(0, "10.7.0.10", false)}},
			"lonely-guid": {},
		},
		Askers:    map[netip.Addr]string{shop: "shop-guid", lonely: "lonely-guid"},
		Protected: []netip.Prefix{netip.MustParsePrefix("10.7.0.0/16"), netip.MustParsePrefix("192.0.2.7/32")},
	}
}

// sockets opens UDP and TCP on one free port of a loopback address.
func sockets(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		streams, err := net.Listen("tcp4", packets.LocalAddr().String())
		if err == nil {
			return packets, streams
		}
		packets.Close()
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil, nil
}

// served is a resolver behind real sockets.
type served struct {
	*Resolver
	addr string
}

func serve(t *testing.T, c Config, s Snapshot) *served {
	t.Helper()
	r := New(c)
	if err := r.Update(s); err != nil {
		t.Fatal(err)
	}
	packets, streams := sockets(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx, packets, streams) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return &served{r, packets.LocalAddr().String()}
}

// dialer connects from a guest's address.
func dialer(from netip.Addr, network string) *net.Dialer {
	d := &net.Dialer{Timeout: time.Minute}
	if strings.HasPrefix(network, "udp") {
		d.LocalAddr = &net.UDPAddr{IP: from.AsSlice()}
	} else {
		d.LocalAddr = &net.TCPAddr{IP: from.AsSlice()}
	}
	return d
}

// guest is what a Go program in a guest resolves with.
func (s *served) guest(from netip.Addr) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer(from, network).DialContext(ctx, network, s.addr)
	}}
}

// query sends one question and returns the answer as it is.
func (s *served) query(t *testing.T, from netip.Addr, network string, m *dns.Msg) *dns.Msg {
	t.Helper()
	c := dns.Client{Net: network, Dialer: dialer(from, network), Timeout: time.Minute}
	answer, _, err := c.Exchange(m, s.addr)
	if err != nil {
		t.Fatalf("%v over %s: %v", m.Question, network, err)
	}
	return answer
}

func asking(name string, kind uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, kind) }

func addrsOf(m *dns.Msg) (list []string) {
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			list = append(list, a.A.String())
		}
	}
	slices.Sort(list)
	return list
}

func TestGuestFindsWhatItsPoliciesAllow(t *testing.T) {
	s := serve(t, Config{}, world())
	for _, c := range []struct {
		name string
		from netip.Addr
		host string
		want string // empty: no such host
	}{
		{"all ready instances", shop, "stock.apps.internal.", "10.7.0.4 10.7.0.5 10.7.0.7"},
		{"in any case", shop, "STOCK.Apps.Internal.", "10.7.0.4 10.7.0.5 10.7.0.7"},
		{"one instance", shop, "1.stock.apps.internal.", "10.7.0.5"},
		{"another process of the app", shop, "packers.apps.internal.", "10.7.0.8"},
		{"a high index", shop, "10.stock.apps.internal.", "10.7.0.7"},
		{"custom domain, of its apps the allowed", shop, "depot.team.internal.", "10.7.0.4 10.7.0.5 10.7.0.7"},
		{"instance of a custom domain", shop, "0.depot.team.internal.", "10.7.0.4"},
		{"instance that is not ready", shop, "2.stock.apps.internal.", ""},
		{"instance that is not", shop, "3.stock.apps.internal.", ""},
		{"index with leading zero", shop, "00.stock.apps.internal.", ""},
		{"two indices", shop, "0.0.stock.apps.internal.", ""},
		{"no instance ready", shop, "idle.apps.internal.", ""},
		{"no policy", shop, "hidden.apps.internal.", ""},
		{"itself without policy", shop, "shop.apps.internal.", ""},
		{"no such app", shop, "nothing.apps.internal.", ""},
		{"asker without policies", lonely, "stock.apps.internal.", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := s.guest(c.from).LookupHost(t.Context(), c.host)
			slices.Sort(got)
			if strings.Join(got, " ") != c.want {
				t.Errorf("%v, want %q", got, c.want)
			}
			var missing *net.DNSError
			if c.want == "" && !(errors.As(err, &missing) && missing.IsNotFound) {
				t.Errorf("error %v, want no such host", err)
			}
		})
	}
	if c := s.Counts(); c.Forwarded != 0 || c.Internal == 0 || c.Missing == 0 {
		t.Errorf("counts %+v", c)
	}
}

// TestDeniedLooksLikeMissing: the answer does not tell whether there is such an
// app.
func TestDeniedLooksLikeMissing(t *testing.T) {
	s := serve(t, Config{}, world())
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeSRV} {
		denied := s.query(t, shop, "udp", asking("hidden.apps.internal.", kind))
		missing := s.query(t, shop, "udp", asking("absent.apps.internal.", kind))
		denied.Id, denied.Question = missing.Id, missing.Question
		if denied.String() != missing.String() {
			t.Errorf("denied:\n%v\nmissing:\n%v", denied, missing)
		}
		if missing.Rcode != dns.RcodeNameError || len(missing.Ns) != 1 || missing.Ns[0].Header().Ttl != 0 {
			t.Errorf("missing:\n%v\nwant NXDOMAIN that is not kept", missing)
		}
	}
}

func TestInternalAnswersAreNotKeptAndShuffled(t *testing.T) {
	s := serve(t, Config{}, world())
	firsts := map[string]bool{}
	for range 200 {
		m := s.query(t, shop, "udp", asking("stock.apps.internal.", dns.TypeA))
		if !m.Authoritative || m.Answer[0].Header().Ttl != 0 {
			t.Fatalf("answer:\n%v", m)
		}
		firsts[m.Answer[0].(*dns.A).A.String()] = true
	}
	if len(firsts) != 3 {
		t.Errorf("of 200 answers these came first: %v", firsts)
	}
}

func TestOtherTypesOfInternalNamesAreEmpty(t *testing.T) {
	s := serve(t, Config{}, world())
	for _, kind := range []uint16{dns.TypeAAAA, dns.TypeMX, dns.TypeHTTPS, dns.TypeCNAME} {
		m := s.query(t, shop, "udp", asking("stock.apps.internal.", kind))
		if m.Rcode != dns.RcodeSuccess || len(m.Answer) != 0 || len(m.Ns) != 1 {
			t.Errorf("%s:\n%v", dns.TypeToString[kind], m)
		}
	}
	if m := s.query(t, shop, "udp", asking("apps.internal.", dns.TypeNS)); m.Rcode != dns.RcodeSuccess {
		t.Errorf("the domain itself must exist (RFC 8020):\n%v", m)
	}
}

// TestManyInstances: what does not fit into a packet comes over TCP.
func TestManyInstances(t *testing.T) {
	w := world()
	var many []Instance
	for i := range 200 {
		many = append(many, Instance{"web", i, netip.AddrFrom4([4]byte{10, 7, 1, byte(i)}), true})
	}
	w.Apps["stock-guid"] = App{Instances: many}
	s := serve(t, Config{}, w)
	small := s.query(t, shop, "udp", asking("stock.apps.internal.", dns.TypeA))
	small.Compress = true // as it was sent: Len counts what it would be
	if b, _ := small.Pack(); !small.Truncated || len(b) > 512 || len(small.Answer) == 0 {
		t.Errorf("without EDNS: truncated %v, %d bytes, %d answers", small.Truncated, len(b), len(small.Answer))
	}
	huge := asking("stock.apps.internal.", dns.TypeA)
	huge.SetEdns0(65000, false)
	large := s.query(t, shop, "udp", huge)
	large.Compress = true
	if !large.Truncated || large.Len() > ednsSize || len(large.Answer) <= len(small.Answer) {
		t.Errorf("with EDNS: truncated %v, %d bytes, %d answers", large.Truncated, large.Len(), len(large.Answer))
	}
	got, err := s.guest(shop).LookupHost(t.Context(), "stock.apps.internal.")
	if err != nil || len(got) != 200 {
		t.Errorf("a guest finds %d of 200: %v", len(got), err)
	}
}

func TestUpdateIsSeenAtOnce(t *testing.T) {
	s := serve(t, Config{}, world())
	w := world()
	w.Apps["shop-guid"] = App{Reaches: []string{"hidden-guid"}}
	if err := s.Update(w); err != nil {
		t.Fatal(err)
	}
	if m := s.query(t, shop, "udp", asking("stock.apps.internal.", dns.TypeA)); m.Rcode != dns.RcodeNameError {
		t.Errorf("after the policy went:\n%v", m)
	}
	if m := s.query(t, shop, "udp", asking("hidden.apps.internal.", dns.TypeA)); len(m.Answer) != 1 {
		t.Errorf("after the policy came:\n%v", m)
	}
}

// TestWrongEntriesCostOnlyThemselves: a snapshot with mistakes is in force but
// for those.
func TestWrongEntriesCostOnlyThemselves(t *testing.T) {
	w := world()
	w.Domains = append(w.Domains, "", strings.Repeat("x", 70)+".internal")
	w.Names["www.example.com"] = []Process{{"stock-guid", "web"}}
	w.Names["gone.apps.internal"] = []Process{{"gone-guid", "web"}}
	w.Askers[stranger] = "gone-guid"
	stock := w.Apps["stock-guid"]
	stock.Instances = append(slices.Clone(stock.Instances), Instance{"web", 11, netip.MustParseAddr("fd00::1"), true})
	w.Apps["stock-guid"] = stock
	r := New(Config{})
	err := r.Update(w)
	if err == nil {
		t.Fatal("no error")
	}
	for _, word := range []string{`""`, "xxx", "www.example.com", "gone-guid", "fd00::1"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not name %s: %v", word, err)
		}
	}
	table := r.table.Load()
	if got := table.resolve(table.apps["shop-guid"], "stock.apps.internal."); len(got) != 3 {
		t.Errorf("stock is at %v", got)
	}
	if len(table.askers) != 2 {
		t.Errorf("%d askers", len(table.askers))
	}
}

func TestWhatIsNotServedIsRefused(t *testing.T) {
	s := serve(t, Config{}, world())
	class := func(m *dns.Msg, class uint16) *dns.Msg { m.Question[0].Qclass = class; return m }
	edit := func(f func(*dns.Msg)) *dns.Msg { m := asking("example.com.", dns.TypeA); f(m); return m }
	for _, c := range []struct {
		name string
		m    *dns.Msg
		want int
	}{
		{"ANY", asking("stock.apps.internal.", dns.TypeANY), dns.RcodeRefused},
		{"zone transfer", asking("apps.internal.", dns.TypeAXFR), dns.RcodeRefused},
		{"incremental transfer", asking("apps.internal.", dns.TypeIXFR), dns.RcodeRefused},
		{"CHAOS", class(asking("version.bind.", dns.TypeTXT), dns.ClassCHAOS), dns.RcodeRefused},
		{"class ANY", class(asking("stock.apps.internal.", dns.TypeA), dns.ClassANY), dns.RcodeRefused},
		{"without recursion", edit(func(m *dns.Msg) { m.RecursionDesired = false }), dns.RcodeRefused},
		{"notify", edit(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), dns.RcodeNotImplemented},
		{"update", edit(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), dns.RcodeNotImplemented},
		{"two questions", edit(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), dns.RcodeFormatError},
		{"EDNS version 1", edit(func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(1) }), dns.RcodeBadVers},
		{"whose is a guest's address", asking("4.0.7.10.in-addr.arpa.", dns.TypePTR), dns.RcodeNameError},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := s.query(t, shop, "tcp", c.m); got.Rcode != c.want || len(got.Answer) != 0 {
				t.Errorf("answer:\n%v\nwant %s", got, dns.RcodeToString[c.want])
			}
		})
	}
	if c := s.Counts(); c.Forwarded != 0 {
		t.Errorf("%d were forwarded", c.Forwarded)
	}
}

func TestLocalhostIsTheGuestItself(t *testing.T) {
	s := serve(t, Config{}, world())
	if got := addrsOf(s.query(t, lonely, "udp", asking("localhost.", dns.TypeA))); !slices.Equal(got, []string{"127.0.0.1"}) {
		t.Errorf("localhost is at %v", got)
	}
}

// TestStrangersGetNoAnswer: not even a refusal, over UDP or TCP.
func TestStrangersGetNoAnswer(t *testing.T) {
	s := serve(t, Config{}, world())
	udp, err := dialer(stranger, "udp").Dial("udp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	conn := &dns.Conn{Conn: udp}
	if err := conn.WriteMsg(asking("stock.apps.internal.", dns.TypeA)); err != nil {
		t.Fatal(err)
	}
	// The answer to a known asker's later question bounds the wait.
	s.query(t, shop, "udp", asking("stock.apps.internal.", dns.TypeA))
	udp.SetReadDeadline(time.Now())
	if _, err := conn.ReadMsg(); err == nil {
		t.Error("a stranger got an answer")
	}
	tcp, err := dialer(stranger, "tcp").Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	tcp.SetDeadline(time.Now().Add(time.Minute))
	if _, err := tcp.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a stranger's connection: %v, want it closed", err)
	}
	if c := s.Counts(); c.Strangers != 2 {
		t.Errorf("%d strangers counted", c.Strangers)
	}
}

// BenchmarkInternal is the answer alone, without its socket.
func BenchmarkInternal(b *testing.B) {
	w := world()
	for i := range 1000 {
		w.Askers[netip.AddrFrom4([4]byte{10, 7, 100 + byte(i/250), byte(i % 250)})] = "shop-guid"
	}
	r := New(Config{})
	if err := r.Update(w); err != nil {
		b.Fatal(err)
	}
	t := r.table.Load()
	a := t.askers[shop]
	query := asking("stock.apps.internal.", dns.TypeA)
	b.ReportAllocs()
	for b.Loop() {
		if m := r.answer(b.Context(), t, a, query); len(m.Answer) != 3 {
			b.Fatal(m)
		}
	}
}
