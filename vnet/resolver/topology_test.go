package resolver

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/dewpaas/dew/cf"
)

func TestSnapshotOfATopology(t *testing.T) {
	at := netip.MustParseAddr
	end := func(app, process string, index int, addr, vnic string, ready bool) cf.Endpoint {
		return cf.Endpoint{AppGUID: app, SpaceGUID: app + "-space", ProcessType: process, Index: index, Stage: cf.Running, Addr: at(addr), VNIC: vnic, Ready: ready}
	}
	builder := end("front", "", 0, "10.7.0.9", "tap9", true)
	builder.Stage = cf.Staging
	topology := cf.Topology{
		Endpoints: []cf.Endpoint{end("front", "web", 0, "10.7.0.2", "tap2", true), end("back", "web", 0, "10.7.0.3", "tap3", true),
			end("back", "web", 1, "10.8.0.3", "", true), end("back", "worker", 0, "10.7.0.4", "tap4", false), builder},
		Policies: []cf.NetworkPolicy{{SourceGUID: "front", DestinationGUID: "back"}, {SourceGUID: "gone", DestinationGUID: "back"}},
		Groups: []cf.SecurityGroup{{Meta: cf.Meta{GUID: "open"}, Rules: []cf.Rule{{Protocol: "all", Destination: "0.0.0.0/0"}}},
			{Meta: cf.Meta{GUID: "empty"}, Running: true}},
		Bindings:        []cf.GroupBinding{{GroupGUID: "open", SpaceGUID: "front-space", Stage: cf.Running}, {GroupGUID: "empty", SpaceGUID: "back-space", Stage: cf.Running}},
		Names:           []cf.InternalName{{Name: "back.apps.internal", AppGUID: "back", ProcessType: "web"}, {Name: "back.apps.internal", AppGUID: "old", ProcessType: "web"}},
		InternalDomains: []string{"apps.internal"},
		Gateway:         at("169.254.0.1"),
		Guests:          []netip.Prefix{netip.MustParsePrefix("10.7.0.0/16")},
		Protected:       []cf.Protected{{Prefix: netip.MustParsePrefix("192.0.2.1/32"), What: "the host"}},
	}
	want := Snapshot{
		Domains: []string{"apps.internal"},
		Names:   map[string][]Process{"back.apps.internal": {{"back", "web"}, {"old", "web"}}},
		Apps: map[string]App{
			"front": {Reaches: []string{"back"}, Outside: true, Instances: []Instance{{"web", 0, at("10.7.0.2"), true}, {"", 0, at("10.7.0.9"), false}}},
			"back":  {Instances: []Instance{{"web", 0, at("10.7.0.3"), true}, {"web", 1, at("10.8.0.3"), true}, {"worker", 0, at("10.7.0.4"), false}}},
		},
		Askers: map[netip.Addr]string{at("10.7.0.2"): "front", at("10.7.0.3"): "back", at("10.7.0.4"): "back", at("10.7.0.9"): "front"},
		Protected: []netip.Prefix{netip.MustParsePrefix("10.7.0.0/16"), netip.MustParsePrefix("169.254.0.1/32"),
			netip.MustParsePrefix("192.0.2.1/32")},
	}
	if got := SnapshotOf(topology); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	r := New(Config{})
	if err := r.Update(SnapshotOf(topology)); err != nil {
		t.Error(err)
	}
	topology.Groups[1].Rules = topology.Groups[0].Rules // now running everywhere
	if got := SnapshotOf(topology); !got.Apps["back"].Outside {
		t.Error("a group that is running by default does not open the outside")
	}
}

// BenchmarkUpdate is one change of a world of 1,000 instances of 200 apps.
func BenchmarkUpdate(b *testing.B) {
	var t cf.Topology
	t.InternalDomains = []string{"apps.internal"}
	for i := range 1000 {
		app := "app-" + string(rune('a'+i%200%26)) + string(rune('a'+i%200/26))
		t.Endpoints = append(t.Endpoints, cf.Endpoint{AppGUID: app, ProcessType: "web", Index: i / 200, Stage: cf.Running, Ready: true, VNIC: "tap",
			Addr: netip.AddrFrom4([4]byte{10, 7, byte(i / 250), byte(i % 250)})})
		t.Policies = append(t.Policies, cf.NetworkPolicy{SourceGUID: app, DestinationGUID: "app-aa"})
		t.Names = append(t.Names, cf.InternalName{Name: app + ".apps.internal", AppGUID: app, ProcessType: "web"})
	}
	r := New(Config{})
	for b.Loop() {
		if err := r.Update(SnapshotOf(t)); err != nil {
			b.Fatal(err)
		}
	}
}
