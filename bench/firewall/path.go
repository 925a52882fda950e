package main

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/dewpaas/dew/cf"
)

// path compares a way through the firewall with one through none.
type path struct {
	Rounds  int     `default:"7"`
	Seconds float64 `default:"1" help:"of each measurement"`
	Rules   int     `default:"10000" help:"in the client's security group"`
}

// walled is a world of a thousand instances whose first may go to a server by
// the last of many rules. Its rates are out of the way: what rules cost is the
// question.
func walled(rules int, to netip.Addr) cf.Topology {
	t := world(1000)
	t.Endpoints[0].Rates = cf.Rates{Packets: 1 << 30, PacketBurst: 1 << 30, Bytes: 1 << 40, ByteBurst: 1 << 32, Connections: 1 << 30, ConnectionBurst: 1 << 30}
	g := cf.SecurityGroup{Meta: cf.Meta{GUID: "many"}, Name: "many"}
	for i := range rules - 1 {
		g.Rules = append(g.Rules, cf.Rule{Protocol: "tcp", Destination: fmt.Sprintf("10.%d.%d.%d", 100+i/65536, i/256%256, i%256), Ports: fmt.Sprint(1000 + i%60000)})
	}
	g.Rules = append(g.Rules, cf.Rule{Protocol: "tcp", Destination: to.String(), Ports: fmt.Sprintf("%d,%d", requestPort, bulkPort)})
	t.Groups = append(t.Groups, g)
	t.Bindings = append(t.Bindings, cf.GroupBinding{GroupGUID: "many", SpaceGUID: spaceGUID(0), Stage: cf.Running})
	return t
}

// Run measures both ways in turns.
func (p *path) Run() error {
	t := walled(p.Rules, outside)
	var yards []*yard
	for _, top := range []*cf.Topology{nil, &t} {
		y, err := newYard(top)
		defer y.close()
		if err != nil {
			return err
		}
		if err := y.serving(y.server); err != nil {
			return err
		}
		yards = append(yards, y)
	}
	fmt.Printf("%d rules in the group, 1000 instances; %d rounds of %gs, medians; x = paired ratio to no firewall\n", p.Rules, p.Rounds, p.Seconds)
	for _, m := range []struct {
		what, name string
		port       uint16
		unit       float64
	}{{"bulk", "Gbit/s", bulkPort, 8e-9}, {"keep", "req/s, 64 connections", requestPort, 1}, {"new", "new connections/s", requestPort, 1}} {
		var none, ours, ratio []float64
		for range p.Rounds {
			var got [2]float64
			for i, y := range yards {
				n, err := y.asking(y.client, m.what, netip.AddrPortFrom(outside, m.port), p.Seconds)
				if err != nil {
					return fmt.Errorf("%s: %w", m.name, err)
				}
				got[i] = n * m.unit
			}
			none, ours, ratio = append(none, got[0]), append(ours, got[1]), append(ratio, got[1]/got[0])
		}
		fmt.Printf("%-24s none %9.2f   ours %9.2f   x %.3f [%.3f to %.3f]\n", m.name, median(none), median(ours), median(ratio), slices.Min(ratio), slices.Max(ratio))
	}
	return nil
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}
