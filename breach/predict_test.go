package breach

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/tender"
)

// shop is an app that reaches a database outside and an app "stock", and is
// reached by a route and by an app "front".
func shop() Subject {
	endpoint := func(n byte, app string) cf.Endpoint {
		return cf.Endpoint{GUID: app + "-0", AppGUID: app, AppName: app, SpaceGUID: "space", ProcessType: "web", Stage: cf.Running,
			Addr: netip.AddrFrom4([4]byte{10, 254, 0, n}), Ports: []uint16{8080}, Ready: true}
	}
	policy := func(from, to string, first, last int) cf.NetworkPolicy {
		return cf.NetworkPolicy{SourceGUID: from, DestinationGUID: to, Protocol: "tcp", StartPort: first, EndPort: last}
	}
	database := cf.SecurityGroup{Name: "database", Rules: []cf.Rule{{Protocol: "tcp", Destination: "203.0.113.9", Ports: "5432"}}}
	database.GUID = "database"
	other := cf.SecurityGroup{Name: "other", Rules: []cf.Rule{{Protocol: "tcp", Destination: "203.0.113.10", Ports: "1"}}}
	other.GUID = "other"
	return Subject{Name: "shop", Tender: Process, Self: endpoint(2, "shop"),
		Env:      map[string]string{"API_KEY": "hunter2", "PORT": "8080"},
		Bindings: []Binding{{"orders", map[string]any{"password": "hunter3", "uri": "postgres://"}}},
		Files:    7, Limits: tender.Limits{Memory: 64 << 20, CPUs: 1},
		Topology: cf.Topology{
			Endpoints: []cf.Endpoint{endpoint(2, "shop"), endpoint(3, "stock"), endpoint(4, "front"), endpoint(5, "stranger")},
			Policies:  []cf.NetworkPolicy{policy("shop", "stock", 7000, 7010), policy("front", "shop", 8080, 8080), policy("stranger", "stock", 1, 9)},
			Routes:    []cf.RoutedPort{{AppGUID: "shop", ProcessType: "web", Route: "shop.example.com"}},
			Groups:    []cf.SecurityGroup{database, other}, Bindings: []cf.GroupBinding{{GroupGUID: "database", SpaceGUID: "space", Stage: cf.Running}},
			Gateway: netip.AddrFrom4([4]byte{169, 254, 0, 1}), Resolvers: []netip.AddrPort{netip.MustParseAddrPort("169.254.0.1:53")},
			Guests: []netip.Prefix{netip.MustParsePrefix("10.254.0.0/16")},
		}}
}

func TestPredict(t *testing.T) {
	r := Predict(shop())
	if want := []Secret{{"API_KEY", "environment"}, {"PORT", "environment"}, {"password", "service orders"}, {"uri", "service orders"}}; !slices.Equal(r.Secrets, want) {
		t.Errorf("secrets %v", r.Secrets)
	}
	if want := []Link{{"203.0.113.9", "tcp", "5432", "security group database, rule 1"}, {"app stock", "tcp", "7000-7010", "network policy shop -> stock, tcp 7000-7010"},
		{"names outside, at the resolver's upstreams", "dns", "", "a security group applies"}, {"the resolver", "udp", "53", "every instance reaches its resolver"}}; !slices.Equal(r.Reaches, want) {
		t.Errorf("reaches %v", r.Reaches)
	}
	if want := []Link{{"app front", "tcp", "8080", "network policy front -> shop, tcp 8080"}, {"the cell and its router", "tcp", "8080", "route shop.example.com"}}; !slices.Equal(r.ReachedBy, want) {
		t.Errorf("reached by %v", r.ReachedBy)
	}
	if len(r.HostCalls) != 22 || !slices.Contains(r.HostCalls, "futex") || slices.Contains(r.HostCalls, "socket") || slices.Contains(r.HostCalls, "") {
		t.Errorf("%d host calls: %v", len(r.HostCalls), r.HostCalls)
	}
	if r.Limits != (Limits{64 << 20, 1, tender.DefaultPIDs}) || r.Files != 7 || len(r.Persists) != 0 {
		t.Errorf("%+v", r)
	}
	b, err := json.Marshal(r)
	if err != nil || strings.Contains(string(b), "hunter") || strings.Contains(string(b), "null") {
		t.Errorf("%v: a value, or a list that is null, in %s", err, b)
	}
	q := shop()
	q.Tender = QEMU
	if r := Predict(q); len(r.HostCalls) != 0 {
		t.Errorf("a machine makes no host calls: %v", r.HostCalls)
	}
}

func TestViolations(t *testing.T) {
	r := Predict(shop())
	if got := r.Violations(r); len(got) != 0 {
		t.Errorf("against itself: %v", got)
	}
	less := r
	less.Secrets, less.Reaches, less.HostCalls = r.Secrets[1:], r.Reaches[1:], r.HostCalls[1:]
	less.Limits, less.Tender = Limits{MemoryBytes: 32 << 20, CPUs: 1}, QEMU
	want := []string{"tender process, not qemu", "secret API_KEY from environment", "reaches 203.0.113.9, tcp 5432: security group database, rule 1", "host call " + r.HostCalls[0],
		"limit memory_bytes 6.7108864e+07, not 3.3554432e+07 (0: none)"}
	if got := r.Violations(less); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestAloneReachesNothing(t *testing.T) {
	r := Predict(Alone("hello", QEMU, nil, 0, tender.Limits{Memory: 1}))
	if len(r.Reaches)+len(r.ReachedBy)+len(r.Secrets) != 0 {
		t.Errorf("%+v", r)
	}
}
