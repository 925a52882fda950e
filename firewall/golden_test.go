package firewall

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall/nft"
)

func intp(n int) *int { return &n }

func sample() cf.Topology {
	ep := func(i int, app, space, vnic string, ports ...uint16) cf.Endpoint {
		return cf.Endpoint{GUID: fmt.Sprintf("i%d", i), AppGUID: app, AppName: app, SpaceGUID: space, ProcessType: "web", Stage: cf.Running,
			Addr: netip.AddrFrom4([4]byte{10, 254, 0, byte(i)}), VNIC: vnic, MAC: [6]byte{2, 0xde, 0x77, 1, 0, byte(i)}, MTU: 1500, Ports: ports}
	}
	return cf.Topology{
		Endpoints: []cf.Endpoint{ep(2, "shop", "red", "dew2", 8080), ep(3, "shop", "red", "dew3", 8080), ep(4, "stock", "red", "dew4", 8080, 9000), ep(5, "far", "blue", "", 8080)},
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

func TestGoldenRulesets(t *testing.T) {
	nftBinary, err := exec.LookPath("nft")
	if err != nil {
		t.Skip("needs nft: apt-get install nftables")
	}
	for _, lock := range []Lock{LockRouting, LockDevice} {
		rs, problems := Compile(sample(), Kernel{Lock: lock})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		theirs, ours := newNamespace(t), newNamespace(t)
		for _, n := range []*namespace{theirs, ours} {
			if err := n.within(func() error {
				for _, name := range []string{"dew2", "dew3", "dew4"} {
					if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "peer-" + name}); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := theirs.within(func() error {
			c := exec.Command(nftBinary, "-f", "-")
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
		g, err := conn.Generation()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Commit(nft.Diff(&nft.Ruleset{}, rs), g); err != nil {
			t.Fatal(err)
		}
		other, err := nft.Open(theirs.within)
		if err != nil {
			t.Fatal(err)
		}
		a, _, err := conn.Read(Table)
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := other.Read(Table)
		if err != nil {
			t.Fatal(err)
		}
		if d := nft.Diff(a, rs); !d.Empty() {
			t.Errorf("%v: ours read back differs: %+v", lock, d)
		}
		if d := nft.Diff(b, rs); !d.Empty() {
			t.Errorf("%v: nft's read back differs: %d tables %d chains %d sets +%d -%d", lock, d.Tables, d.Chains, d.Sets, d.Added, d.Removed)
		}
	}
}
