package main

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall"
	"github.com/dewpaas/dew/firewall/nft"
	"github.com/dewpaas/dew/vnet"
)

// change measures what a cell waits for.
type change struct {
	Instances int `default:"1000" help:"on the cell"`
	Rounds    int `default:"50"`
}

// Run prints a table of medians.
func (c *change) Run() error {
	n, err := vnet.New()
	if err != nil {
		return err
	}
	defer n.Close()
	w, err := firewall.Open(n.Within)
	if err != nil {
		return err
	}
	defer w.Close()
	t := world(c.Instances)
	rules, _ := firewall.Compile(t, w.Kernel())
	elements := 0
	for _, table := range rules.Tables {
		for _, s := range table.Sets {
			elements += len(s.Elements)
		}
	}
	fmt.Printf("%d instances, %d apps, %d network policies, %d elements; lock: %v; median of %d [p99]\n", c.Instances, len(t.Routes), len(t.Policies), elements, w.Kernel().Lock, c.Rounds)
	c.time("compile", func(int) error { firewall.Compile(t, w.Kernel()); return nil })
	start := time.Now()
	if _, err := w.Apply(t); err != nil {
		return err
	}
	fmt.Printf("%-42s %9.3f ms\n", "first apply, compile included", ms(time.Since(start)))
	c.time("apply without a change", func(int) error { _, err := w.Apply(t); return err })
	c.time("one policy more", func(i int) error { return c.policy(w, &t, i) })
	c.time("one instance more", func(i int) error { return c.instance(w, &t, i) })
	c.time("one instance less, connections cut", func(int) error {
		t.Endpoints = t.Endpoints[: len(t.Endpoints)-1 : len(t.Endpoints)-1]
		_, err := w.Apply(t)
		return err
	})
	c.time("look for drift, none", func(int) error { _, err := w.Drift(); return err })
	c.time("look for drift in all tables", func(int) error { _, err := w.Live(); return err })
	return c.element(n)
}

func (c *change) policy(w *firewall.Wall, t *cf.Topology, i int) error {
	t.Policies = append(slices.Clip(t.Policies), cf.NetworkPolicy{SourceGUID: appGUID(i), DestinationGUID: appGUID(i + 1), Protocol: "tcp", StartPort: 9000 + i, EndPort: 9000 + i})
	_, err := w.Apply(*t)
	return err
}

func (c *change) instance(w *firewall.Wall, t *cf.Topology, i int) error {
	t.Endpoints = append(slices.Clip(t.Endpoints), endpoint(c.Instances+i, i))
	_, err := w.Apply(*t)
	return err
}

// element adds single elements to a map of 10,000.
func (c *change) element(n *vnet.Network) error {
	conn, err := nft.Open(n.Within)
	if err != nil {
		return err
	}
	defer conn.Close()
	set := &nft.Set{Name: "m", Fields: nft.Types("mark", "ipv4_addr", "inet_proto", "inet_service")}
	for i := range uint32(10000) {
		set.Elements = append(set.Elements, nft.Element{Key: nft.Key(nft.Mark(i), nft.Mark(i), "\x06", nft.Port(80))})
	}
	rules := &nft.Ruleset{Tables: []*nft.Table{{Family: nft.NFPROTO_IPV4, Name: "bench", Sets: []*nft.Set{set}}}}
	rules.Sort()
	if _, err := conn.Commit(nft.Diff(&nft.Ruleset{}, rules), 0); err != nil {
		return err
	}
	c.time("one element into a map of 10,000", func(i int) error {
		one := nft.Element{Key: nft.Key(nft.Mark(uint32(20000+i)), nft.Mark(1), "\x06", nft.Port(80))}
		_, err := conn.Commit(nft.Add(rules.Tables[0], set, one), 0)
		return err
	})
	return nil
}

// time runs f and prints the medians of wall time and of this process's own CPU
// time, kernel included: on a busy machine only the latter says something.
func (c *change) time(what string, f func(int) error) {
	var took, cpu []time.Duration
	for i := range c.Rounds {
		start, before := time.Now(), cpuTime()
		if err := f(i); err != nil {
			fmt.Printf("%-42s %v\n", what, err)
			return
		}
		took, cpu = append(took, time.Since(start)), append(cpu, cpuTime()-before)
	}
	slices.Sort(took)
	slices.Sort(cpu)
	fmt.Printf("%-42s %9.3f ms [%.3f]  cpu %.3f ms\n", what, ms(took[len(took)/2]), ms(took[len(took)*99/100]), ms(cpu[len(cpu)/2]))
}

func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
