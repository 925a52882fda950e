package main

import (
	"bytes"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/dewpaas/dew/cell/window"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall"
	"github.com/dewpaas/dew/vnet"
)

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]target{
		"b:8080":            {"b", "tcp", 8080, 0},
		"10.0.0.5:5432/udp": {"10.0.0.5", "udp", 5432, 0},
		"b/icmp":            {"b", "icmp", 0, 8},
		"b:1/TCP":           {"b", "tcp", 1, 0},
	} {
		if got, err := parseTarget(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "b", "b:0", "b:65536", ":80", "b:80/sctp", "b:x", "/icmp", "b:80/icmp"} {
		if got, err := parseTarget(text); err == nil {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

// TestReachSeesDrift: the kernel has other rules than the topology says.
func TestReachSeesDrift(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a network namespace is made")
	}
	n, err := vnet.New()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	wall, err := firewall.Open(n.Within)
	if err != nil {
		t.Fatal(err)
	}
	defer wall.Close()
	endpoint := func(app string, last byte) cf.Endpoint {
		return cf.Endpoint{GUID: app + "-0", AppGUID: app, AppName: app, SpaceGUID: "s", ProcessType: "web", Stage: cf.Running, VNIC: "dew" + app,
			Addr: netip.AddrFrom4([4]byte{10, 255, 0, last}), MAC: [6]byte{2, 0, 0, 0, 0, last}, Ports: []uint16{8080}}
	}
	top := cf.Topology{Gateway: vnet.Gateway, GatewayMAC: vnet.GatewayMAC, Guests: []netip.Prefix{netip.MustParsePrefix("10.255.0.0/16")},
		Endpoints: []cf.Endpoint{endpoint("a", 2), endpoint("b", 3)}, Policies: []cf.NetworkPolicy{{SourceGUID: "a", DestinationGUID: "b", Protocol: "tcp", StartPort: 80, EndPort: 80}}}
	if _, err := wall.Apply(top); err != nil {
		t.Fatal(err)
	}
	s := &sight{network: n, View: window.View{Topology: top}}
	ask := func() *reached {
		q := firewall.Question{From: firewall.Peer{Endpoint: &top.Endpoints[0]}, To: firewall.Peer{Endpoint: &top.Endpoints[1]}, Protocol: "tcp", Port: 80}
		a := &reached{Agrees: true}
		if a.Answer, err = firewall.Reach(s.Topology, q); err == nil {
			err = a.check(s, q, []firewall.Peer{q.From}, []firewall.Peer{q.To})
		}
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := ask(); !a.Allowed || !a.Agrees || len(a.Live) != 1 {
		t.Errorf("%+v", a)
	}
	closed := top
	closed.Policies = nil
	if _, err := wall.Apply(closed); err != nil { // behind the back of the view
		t.Fatal(err)
	}
	a := ask()
	if !a.Allowed || a.Agrees || a.Live[0].Allowed {
		t.Errorf("%+v", a)
	}
	var out, errs bytes.Buffer
	if err := (&reachCmd{}).print(&console{out: &out, err: &errs}, a); err != nil || !strings.HasPrefix(out.String(), "yes: network policy a -> b, tcp 80") || !strings.Contains(errs.String(), "DIFFER") {
		t.Errorf("%v %s%s", err, out.String(), errs.String())
	}
}
