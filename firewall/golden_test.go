package firewall

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall/nft"
)

var update = flag.Bool("update", false, "write the golden files anew")

func intp(n int) *int { return &n }

// sample has one of everything: instances here and elsewhere, routes with and
// without a port, policies for one port and for many, groups that overlap, log,
// and name protected destinations.
func sample() cf.Topology {
	shop, shop2, stock, far := endpoint(2, "shop"), endpoint(3, "shop"), endpoint(4, "stock"), endpoint(5, "far")
	far.VNIC = ""
	stock.Ports = []uint16{8080, 9000}
	for _, e := range []*cf.Endpoint{&shop, &shop2, &stock} {
		e.SpaceGUID = "red"
	}
	return cf.Topology{
		Endpoints: []cf.Endpoint{shop, shop2, stock, far},
		Routes:    []cf.RoutedPort{{AppGUID: "shop", ProcessType: "web", Route: "shop.example.com"}, {AppGUID: "stock", ProcessType: "web", Port: 9000, Route: "stock.example.com"}},
		Policies: []cf.NetworkPolicy{{SourceGUID: "shop", DestinationGUID: "stock", Protocol: "tcp", StartPort: 8080, EndPort: 8080},
			{SourceGUID: "shop", DestinationGUID: "far", Protocol: "udp", StartPort: 5000, EndPort: 5010}},
		Groups: []cf.SecurityGroup{
			{Meta: cf.Meta{GUID: "g1"}, Name: "dns", Running: true, Rules: []cf.Rule{{Protocol: "udp", Destination: "0.0.0.0/0", Ports: "53"}, {Protocol: "tcp", Destination: "0.0.0.0/0", Ports: "53"}}},
			{Meta: cf.Meta{GUID: "g2"}, Name: "public", Running: true, Rules: []cf.Rule{{Protocol: "all", Destination: "0.0.0.0-9.255.255.255"}, {Protocol: "all", Destination: "11.0.0.0-169.253.255.255"}}},
			{Meta: cf.Meta{GUID: "g3"}, Name: "db", Rules: []cf.Rule{{Protocol: "tcp", Destination: "10.0.0.5,10.0.0.6", Ports: "5432,6000-6010", Log: true}, {Protocol: "icmp", Destination: "10.0.0.0/8", Type: intp(8), Code: intp(-1)}}},
		},
		Bindings: []cf.GroupBinding{{GroupGUID: "g3", SpaceGUID: "red", Stage: "running"}},
		Gateway:  netip.MustParseAddr("169.254.0.1"), GatewayMAC: [6]byte{2, 0xde, 0x77, 0, 0, 1},
		Resolvers: []netip.AddrPort{netip.MustParseAddrPort("169.254.0.1:53")},
		Routers:   []netip.Addr{netip.MustParseAddr("192.0.2.9")},
		Guests:    []netip.Prefix{netip.MustParsePrefix("10.254.0.0/16")},
		Protected: []cf.Protected{{Prefix: netip.MustParsePrefix("169.254.0.0/16"), What: "metadata addresses"}, {Prefix: netip.MustParsePrefix("192.0.2.0/24"), What: "the host"}},
	}
}

func compile(t testing.TB, top cf.Topology, l Lock) *nft.Ruleset {
	t.Helper()
	rs, problems := Compile(top, Kernel{Lock: l})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return rs
}

// TestGoldenMessages: each message stands under the nft command that means the
// same, four bytes a group.
func TestGoldenMessages(t *testing.T) {
	var b strings.Builder
	for _, c := range compile(t, sample(), LockWildcard).Commands() {
		b.WriteString(c.Text)
		for i := 0; i < len(c.Message.Body); i += 4 {
			glue := " "
			if i%48 == 0 {
				glue = "\n\t"
			}
			fmt.Fprintf(&b, "%s%08x", glue, c.Message.Body[i:i+4])
		}
		b.WriteString("\n")
	}
	golden(t, "messages.txt", b.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			t.Fatalf("%s line %d:\n got %s\nwant %s\nrun with -update and review the difference", name, i+1, g[i], strings.Join(w[i:min(i+1, len(w))], ""))
		}
	}
	t.Fatalf("%s is shorter than before; run with -update and review the difference", name)
}

// TestNftMeansTheSame: what nft makes of the text is what our messages make.
// The wildcard lock has no text that this version of nft can read; the rules
// behind its hook are those of the lock per tap.
func TestNftMeansTheSame(t *testing.T) {
	for _, lock := range []Lock{LockRouting, LockDevice} {
		t.Run(lock.String(), func(t *testing.T) { meansTheSame(t, compile(t, sample(), lock), "dew2", "dew3", "dew4") })
	}
	t.Run("gate", func(t *testing.T) {
		meansTheSame(t, gateTable(Table, GateRules{Cell: netip.MustParseAddr("169.254.192.3"), Opened: []string{"eth0"}, Host: []netip.Addr{netip.MustParseAddr("192.0.2.2")}}))
	})
}

func meansTheSame(t *testing.T, rs *nft.Ruleset, devices ...string) {
	t.Helper()
	binary, err := exec.LookPath("nft")
	if err != nil {
		t.Skip("needs nft: apt-get install nftables")
	}
	theirs, ours := newNamespace(t), newNamespace(t)
	addDevices(t, theirs, devices...)
	addDevices(t, ours, devices...)
	if err := theirs.within(func() error {
		c := exec.Command(binary, "-f", "-")
		c.Stdin = strings.NewReader(rs.Text())
		out, err := c.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w", out, err)
		}
		return nil
	}); err != nil {
		t.Fatalf("%v\n%s", err, rs.Text())
	}
	conn, err := nft.Open(ours.within)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Commit(nft.Diff(&nft.Ruleset{}, rs), 0); err != nil {
		t.Fatal(err)
	}
	same(t, "our messages", ours, rs)
	same(t, "the text", theirs, rs)
}

// same checks that a namespace has exactly the rules.
func same(t *testing.T, what string, n *namespace, want *nft.Ruleset) {
	t.Helper()
	c, err := nft.Open(n.within)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, _, err := c.Read(Table)
	if err != nil {
		t.Fatal(err)
	}
	if d := nft.Diff(got, want); !d.Empty() {
		t.Errorf("%s: %d tables, %d chains, %d sets, +%d -%d elements differ", what, d.Tables, d.Chains, d.Sets, d.Added, d.Removed)
	}
}

func addDevices(t *testing.T, n *namespace, names ...string) {
	t.Helper()
	if err := n.within(func() error {
		for _, name := range names {
			if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "peer-" + name}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestCompileIsPure: the order of lists does not matter, and the topology stays
// as it was.
func TestCompileIsPure(t *testing.T) {
	for seed := range uint64(50) {
		d := dice{rand.New(rand.NewPCG(seed, 3))}
		top := d.topology()
		want := compile(t, top, LockWildcard).Text()
		before := fmt.Sprintf("%+v", top)
		again := compile(t, top, LockWildcard).Text()
		if after := fmt.Sprintf("%+v", top); after != before || again != want {
			t.Fatalf("seed %d: compiling changes the topology, or the result", seed)
		}
		d.Shuffle(len(top.Endpoints), func(i, j int) { top.Endpoints[i], top.Endpoints[j] = top.Endpoints[j], top.Endpoints[i] })
		d.Shuffle(len(top.Policies), func(i, j int) { top.Policies[i], top.Policies[j] = top.Policies[j], top.Policies[i] })
		d.Shuffle(len(top.Groups), func(i, j int) { top.Groups[i], top.Groups[j] = top.Groups[j], top.Groups[i] })
		d.Shuffle(len(top.Bindings), func(i, j int) { top.Bindings[i], top.Bindings[j] = top.Bindings[j], top.Bindings[i] })
		d.Shuffle(len(top.Routes), func(i, j int) { top.Routes[i], top.Routes[j] = top.Routes[j], top.Routes[i] })
		if got := compile(t, top, LockWildcard).Text(); got != want {
			t.Fatalf("seed %d: the order of the topology's lists matters", seed)
		}
	}
}

// TestChangesEndInTheSameRules: however the kernel came to a topology, it has
// the rules of that topology.
func TestChangesEndInTheSameRules(t *testing.T) {
	n := newNetwork(t)
	w, err := Open(n.Within)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for seed := range uint64(40) {
		top := dice{rand.New(rand.NewPCG(seed, 5))}.topology()
		if done, err := w.Apply(top); err != nil || done.Repaired {
			t.Fatalf("seed %d: %+v, %v", seed, done, err)
		}
		live, err := w.Live()
		if err != nil {
			t.Fatal(err)
		}
		if d := nft.Diff(live, compile(t, top, w.Kernel().Lock)); !d.Empty() {
			t.Fatalf("seed %d: %d chains, %d sets, +%d -%d elements differ", seed, d.Chains, d.Sets, d.Added, d.Removed)
		}
	}
}
