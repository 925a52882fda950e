package breach

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall"
	"github.com/dewpaas/dew/vnet"
)

// quarter is a small cell: a network with a firewall, an app "shop" that may
// reach an app "stock", and a stranger.
type quarter struct {
	*testing.T
	net  *vnet.Network
	wall *firewall.Wall
	base cf.Topology
	// opened is a policy more, which the topology that is shown has not.
	opened []cf.NetworkPolicy
}

func newQuarter(t *testing.T) *quarter {
	q := &quarter{T: t, base: shop().Topology}
	var err error
	if q.net, err = vnet.New(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.net.Close() })
	if err := q.net.GuardOffloads(); err != nil {
		t.Fatal(err)
	}
	if q.wall, err = firewall.Open(q.net.Within); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.wall.Close() })
	q.base.GatewayMAC = vnet.GatewayMAC
	for i := range q.base.Endpoints {
		e := &q.base.Endpoints[i]
		card := vnet.VNIC{Name: firewall.Prefix + e.AppName[:4], Addr: e.Addr, MAC: [6]byte{2, 0xde, 9, 9, 9, byte(i)}, MTU: vnet.DefaultMTU}
		e.VNIC, e.MAC, e.MTU = card.Name, card.MAC, card.MTU
		tap, err := q.net.AddTap(card)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tap.Close() })
	}
	return q
}

// borrow is what a cell does.
func (q *quarter) borrow(context.Context) (*Places, error) {
	t := q.base
	t.Endpoints, t.Policies = slices.Clone(t.Endpoints), slices.Concat(t.Policies, q.opened)
	var places []Place
	for i, app := range []string{"shop", "friend", "nobody"} {
		card := vnet.VNIC{Name: firewall.Prefix + app + "9", Addr: netip.AddrFrom4([4]byte{10, 254, 9, byte(i)}), MAC: [6]byte{2, 0xde, 9, 9, 10, byte(i)}, MTU: vnet.DefaultMTU}
		t.Endpoints = append(t.Endpoints, cf.Endpoint{GUID: app + "-lent", AppGUID: app, AppName: app, SpaceGUID: "space", ProcessType: "lent", Stage: cf.Running,
			Addr: card.Addr, VNIC: card.Name, MAC: card.MAC, MTU: card.MTU, Ports: []uint16{8080}})
		places = append(places, Place{VNIC: card})
	}
	for _, from := range []string{"shop", "nobody"} {
		t.Policies = append(t.Policies, cf.NetworkPolicy{SourceGUID: from, DestinationGUID: "friend", Protocol: "udp", StartPort: FriendPort, EndPort: FriendPort})
	}
	if _, err := q.wall.Apply(t); err != nil {
		return nil, err
	}
	for i := range places {
		var err error
		if places[i].Tap, err = q.net.AddTap(places[i].VNIC); err != nil {
			return nil, err
		}
	}
	return &Places{Twin: places[0], Friend: places[1], Stranger: places[2], GiveBack: func() {
		for _, p := range places {
			p.Tap.Close()
		}
	}}, nil
}

// live tries the ways of the topology and a few attacks.
func (q *quarter) live(u *Suite, kind Kind, names ...string) map[string]Finding {
	q.Helper()
	subject := shop()
	subject.Tender, subject.Topology, subject.Self = kind, q.base, q.base.Endpoints[0]
	var attacks []Attack
	for _, a := range Catalogue() {
		if slices.Contains(names, a.Name) {
			attacks = append(attacks, a)
		}
	}
	findings := map[string]Finding{}
	if err := u.Live(q.Context(), &Site{Subject: subject, Network: q.net, Borrow: q.borrow}, attacks, func(f Finding) { findings[f.Name] = f }); err != nil {
		q.Fatal(err)
	}
	return findings
}

// TestLive: what is predicted happens, and what is not allowed does not. Where
// the walls are others than the topology says, the difference is seen.
func TestLive(t *testing.T) {
	u := open(t)
	q := newQuarter(t)
	findings := q.live(u, Process, "spoof-mac", "fork", "reach-neighbour")
	for name, f := range findings {
		if !f.Agrees || f.Error != "" {
			t.Errorf("%s: %+v", name, f)
		}
	}
	for name, want := range map[string]string{"app stock, tcp 10.254.0.3:7000": Gained, "app stranger, tcp 10.254.0.5:8080": Stopped, "the cell, tcp 169.254.0.1:22": Stopped,
		"from the cell, tcp 8080": Gained, "from the cell, tcp 22": Stopped, "spoof-mac": Stopped, "fork": Stopped, "flood-syn": Stopped} {
		if f, ok := findings[name]; !ok || f.Happened != want {
			t.Errorf("%s: %+v, want %s", name, f, want)
		}
	}
	if f := findings["fork"]; f.Root != Gained || f.User != Gained {
		t.Errorf("as a process: %+v", f)
	}
	q.opened = []cf.NetworkPolicy{{SourceGUID: "shop", DestinationGUID: "stranger", Protocol: "tcp", StartPort: 8080, EndPort: 8080}, {SourceGUID: "shop", DestinationGUID: "nobody", Protocol: "udp", StartPort: FriendPort, EndPort: FriendPort}}
	findings = q.live(u, Process, "reach-neighbour")
	for _, name := range []string{"app stranger, tcp 10.254.0.5:8080", "reach-neighbour"} {
		if f := findings[name]; f.Agrees || f.Happened != Gained {
			t.Errorf("a hole is not seen: %s: %+v", name, f)
		}
	}
}

func TestWaysDisturbNoStranger(t *testing.T) {
	s := shop()
	s.Topology.Groups[0].Running = true
	s.Topology.Groups[0].Rules = []cf.Rule{{Protocol: "tcp", Destination: "11.0.0.0/8", Ports: "80"}, {Protocol: "all", Destination: "0.0.0.0/0"}, {Protocol: "udp", Destination: "10.9.8.7", Ports: "53"}, {Protocol: "tcp", Destination: "10.9.7.0/24", Ports: "1-2"}}
	all, err := waysOf(&s)
	if err != nil {
		t.Fatal(err)
	}
	var out []netip.Addr
	for _, w := range all {
		if w.peer == "outside" {
			out = append(out, w.to)
		}
	}
	nobody, nowhere, _, _ := outside()
	for _, a := range out {
		if a != nobody && a != nowhere && a != netip.AddrFrom4([4]byte{10, 9, 8, 7}) && a != netip.AddrFrom4([4]byte{10, 9, 7, 0}) {
			t.Errorf("%v is tried: nobody has named it", a)
		}
	}
	if !slices.Contains(out, nobody) || !slices.Contains(out, netip.AddrFrom4([4]byte{10, 9, 8, 7})) {
		t.Errorf("tried: %v", out)
	}
}
