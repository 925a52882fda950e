package drawing

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dewpaas/dew/cf"
)

var update = flag.Bool("update", false, "write the golden files anew")

// foundation is a topology with one of everything, and names that mean harm.
func foundation() (*cf.Topology, Names) {
	endpoint := func(app, space string, index int, kind, addr, vnic string) cf.Endpoint {
		return cf.Endpoint{GUID: app + "-" + kind + "-" + string(rune('0'+index)), Index: index, AppGUID: app, AppName: map[string]string{"g-front": "front", "g-back": "back",
			"g-evil": "evil\"]; \\N \x1b[2J\nnode"}[app], SpaceGUID: space, ProcessType: kind, Stage: cf.Running, Addr: netip.MustParseAddr(addr), VNIC: vnic, Ready: index == 0}
	}
	any, echo := -1, 8
	group := func(name string, running bool, rules ...cf.Rule) cf.SecurityGroup {
		return cf.SecurityGroup{Meta: cf.Meta{GUID: "sg-" + name}, Name: name, Running: running, Rules: rules}
	}
	return &cf.Topology{
			Endpoints: []cf.Endpoint{endpoint("g-front", "s1", 1, "web", "10.255.0.3", ""), endpoint("g-front", "s1", 0, "web", "10.255.0.2", "vg0aff0002"),
				endpoint("g-back", "s1", 0, "web", "10.255.0.4", "vg0aff0004"), endpoint("g-back", "s1", 0, "worker", "10.255.0.5", "vg0aff0005"),
				endpoint("g-evil", "s2", 0, "web", "10.255.0.6", "vg0aff0006")},
			Routes:   []cf.RoutedPort{{AppGUID: "g-front", ProcessType: "web", Route: "front.apps.test/path"}, {AppGUID: "g-front", ProcessType: "web", Port: 9000, Route: "admin.apps.test"}},
			Policies: []cf.NetworkPolicy{{SourceGUID: "g-front", DestinationGUID: "g-back", Protocol: "tcp", StartPort: 8080, EndPort: 8090}, {SourceGUID: "g-back", DestinationGUID: "g-stopped", Protocol: "udp", StartPort: 53, EndPort: 53}},
			Groups: []cf.SecurityGroup{group("public", true, cf.Rule{Protocol: "tcp", Destination: "10.0.0.0/8", Ports: "443,5432", Log: true}, cf.Rule{Protocol: "icmp", Destination: "10.0.0.0/8", Type: &echo, Code: &any}),
				group("database", false, cf.Rule{Protocol: "all", Destination: "192.0.2.1-192.0.2.9"}), group("idle", false)},
			Bindings:  []cf.GroupBinding{{GroupGUID: "sg-database", SpaceGUID: "s1", Stage: cf.Running}, {GroupGUID: "sg-database", SpaceGUID: "s1", Stage: cf.Staging}},
			Names:     []cf.InternalName{{Name: "back.apps.internal", AppGUID: "g-back", ProcessType: "web"}},
			Resolvers: []netip.AddrPort{netip.MustParseAddrPort("169.254.0.1:53")},
			Protected: []cf.Protected{{Prefix: netip.MustParsePrefix("169.254.0.0/16"), What: "metadata addresses"}},
		}, Names{Apps: map[string]string{"g-stopped": "stopped"},
			Spaces: map[string]string{"s1": "dev"}}
}

func TestGolden(t *testing.T) {
	top, names := foundation()
	d := Draw(top, names)
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"foundation.txt": d.Text(), "foundation.dot": d.Dot(), "foundation.json": string(text) + "\n"} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || string(want) != got {
			t.Errorf("%s is another (%v): -update writes it anew\n%s", name, err, got)
		}
	}
}

func TestEmpty(t *testing.T) {
	d := Draw(&cf.Topology{}, Names{})
	if d.Text() != "all else is denied\n" || !strings.HasPrefix(d.Dot(), "digraph topology {") {
		t.Errorf("%s%s", d.Text(), d.Dot())
	}
}

// TestNamesAreHarmless: no name ends a string of dot or moves a cursor.
func TestNamesAreHarmless(t *testing.T) {
	top, names := foundation()
	d := Draw(top, names)
	if strings.ContainsAny(d.Text(), "\x1b") || strings.ContainsAny(d.Dot(), "\x1b") {
		t.Error("an escape sequence")
	}
	if want := `label="evil\"]; \\N ?[2J\nnode\nweb 1"`; !strings.Contains(d.Dot(), want) {
		t.Errorf("no %s in\n%s", want, d.Dot())
	}
}

// TestGraphvizReadsIt asks the program that it is for.
func TestGraphvizReadsIt(t *testing.T) {
	dot, err := exec.LookPath("dot")
	if err != nil {
		t.Skip("needs graphviz's dot")
	}
	top, names := foundation()
	cmd := exec.Command(dot, "-Tplain")
	cmd.Stdin = strings.NewReader(Draw(top, names).Dot())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"\nnode ", "\nedge ", "\"app g-front\"", "stop"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
