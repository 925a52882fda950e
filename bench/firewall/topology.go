package main

import (
	"fmt"
	"net/netip"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/vnet"
)

// world is a cell with many instances: five to an app, twenty apps to a space,
// every app may reach nine others, every space has a group of its own with
// ten rules besides the two that all have.
func world(instances int) cf.Topology {
	t := cf.Topology{
		Gateway: vnet.Gateway, GatewayMAC: vnet.GatewayMAC,
		Resolvers: []netip.AddrPort{netip.AddrPortFrom(vnet.Gateway, 53)},
		Guests:    []netip.Prefix{netip.MustParsePrefix("10.254.0.0/16")},
		Protected: []cf.Protected{{Prefix: netip.MustParsePrefix("169.254.0.0/16"), What: "metadata addresses"}},
		Groups: []cf.SecurityGroup{
			{Meta: cf.Meta{GUID: "dns"}, Name: "dns", Running: true, Rules: []cf.Rule{{Protocol: "udp", Destination: "0.0.0.0/0", Ports: "53"}, {Protocol: "tcp", Destination: "0.0.0.0/0", Ports: "53"}}},
			{Meta: cf.Meta{GUID: "public"}, Name: "public_networks", Running: true, Rules: []cf.Rule{{Protocol: "all", Destination: "0.0.0.0-9.255.255.255"},
				{Protocol: "all", Destination: "11.0.0.0-169.253.255.255"}, {Protocol: "all", Destination: "192.169.0.0-255.255.255.255"}}},
		},
	}
	apps := (instances + 4) / 5
	for i := range instances {
		t.Endpoints = append(t.Endpoints, endpoint(i, i/5))
	}
	for a := range apps {
		for k := range 9 {
			t.Policies = append(t.Policies, cf.NetworkPolicy{SourceGUID: appGUID(a), DestinationGUID: appGUID((a + 1 + k*7) % apps), Protocol: "tcp", StartPort: 8080, EndPort: 8080})
		}
		t.Routes = append(t.Routes, cf.RoutedPort{AppGUID: appGUID(a), ProcessType: "web", Route: fmt.Sprintf("app%d.example.com", a)})
		if a%20 == 0 {
			g := cf.SecurityGroup{Meta: cf.Meta{GUID: fmt.Sprintf("group-%d", a)}, Name: fmt.Sprintf("group-%d", a)}
			for r := range 10 {
				g.Rules = append(g.Rules, cf.Rule{Protocol: "tcp", Destination: fmt.Sprintf("10.%d.%d.0/24", a%250, r), Ports: "5432,6379"})
			}
			t.Groups = append(t.Groups, g)
			t.Bindings = append(t.Bindings, cf.GroupBinding{GroupGUID: g.GUID, SpaceGUID: spaceGUID(a), Stage: cf.Running})
		}
	}
	return t
}

func appGUID(a int) string   { return fmt.Sprintf("app-%08d-0000-0000-0000-000000000000", a) }
func spaceGUID(a int) string { return fmt.Sprintf("space-%d", a/20) }

func endpoint(i, app int) cf.Endpoint {
	return cf.Endpoint{GUID: fmt.Sprintf("instance-%d", i), AppGUID: appGUID(app), AppName: fmt.Sprintf("app%d", app), SpaceGUID: spaceGUID(app), ProcessType: "web",
		Stage: cf.Running, Addr: netip.AddrFrom4([4]byte{10, 254, byte(i >> 8), byte(i)}), VNIC: fmt.Sprintf("dew%d", i), MAC: [6]byte{2, 0xde, 0x77, 1, byte(i >> 8), byte(i)},
		MTU: vnet.DefaultMTU, Ports: []uint16{8080}}
}
