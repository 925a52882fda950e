package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall"
	"github.com/dewpaas/dew/firewall/nft"
)

// reachCmd is `dew reach`.
type reachCmd struct {
	From string `arg:"" help:"App, or an IPv4 address."`
	To   string `arg:"" help:"APP:PORT or ADDRESS:PORT, with /udp behind it for UDP; APP/icmp or ADDRESS/icmp for a ping."`
	JSON bool   `name:"json" help:"Print JSON."`
	cellFlag
}

func (reachCmd) Help() string {
	return `The answer comes from the topology that the cell on this machine enforces, and from the rules that its kernel has now. Apps are those of the targeted space.

Exit status: 0 the connection is allowed, 1 it is denied, 2 the question could not be answered, or the kernel's rules differ from the topology.`
}

// doubt is the exit status when there is no answer that can be relied on.
const doubt = exitStatus(2)

// Run answers by the exit status too, so errors have one of their own.
func (r *reachCmd) Run(ctx context.Context, c *console) error {
	a, err := r.ask(ctx, c)
	if err == nil {
		err = r.print(c, a)
	}
	switch {
	case err != nil:
		report(c.err, err)
		return doubt
	case !a.Agrees:
		return doubt
	case !a.Allowed:
		return exitStatus(1)
	}
	return nil
}

// reached is the answer to one question.
type reached struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Protocol string `json:"protocol"`
	Port     uint16 `json:"port,omitempty"`
	firewall.Answer
	Live   []liveAnswer `json:"live"`
	Agrees bool         `json:"agrees"` // the kernel's rules do the same
}

// liveAnswer is what the rules do that the kernel has now, between two
// instances, or one and an address.
type liveAnswer struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Allowed bool   `json:"allowed"`
	Logged  bool   `json:"logged"`
	Chain   string `json:"chain"` // that decided
}

func (r *reachCmd) ask(ctx context.Context, c *console) (*reached, error) {
	to, err := parseTarget(r.To)
	if err != nil {
		return nil, err
	}
	s, err := r.look(ctx, c)
	if err != nil {
		return nil, err
	}
	defer s.close()
	sources, err := s.peers(ctx, r.From)
	if err != nil {
		return nil, err
	}
	targets, err := s.peers(ctx, to.host)
	if err != nil {
		return nil, err
	}
	q := firewall.Question{From: sources[0], To: targets[0], Protocol: to.protocol, Port: to.port, Type: to.kind}
	a := &reached{From: r.From, To: to.host, Protocol: to.protocol, Port: to.port, Live: []liveAnswer{}, Agrees: true}
	if a.Answer, err = firewall.Reach(s.Topology, q); err != nil {
		return nil, err
	}
	return a, a.check(s, q, sources, targets)
}

// check asks the kernel's own rules, for all instances at both ends.
func (a *reached) check(s *sight, q firewall.Question, sources, targets []firewall.Peer) error {
	wall, err := firewall.Open(s.network.Within)
	if err != nil {
		return err
	}
	defer wall.Close()
	rules, err := wall.Live()
	if err != nil {
		return err
	}
	for _, q.From = range sources {
		for _, q.To = range targets {
			if !passes(q) {
				continue
			}
			if err := a.compare(s, q, rules); err != nil {
				return err
			}
		}
	}
	return nil
}

// passes tells whether packets of such a connection pass this cell.
func passes(q firewall.Question) bool {
	here := func(p firewall.Peer) bool { return p.Endpoint != nil && p.Endpoint.VNIC != "" }
	there := func(p firewall.Peer) bool { return p.Endpoint != nil && !p.Endpoint.Addr.IsValid() }
	return (here(q.From) || here(q.To)) && !there(q.From) && !there(q.To)
}

func (a *reached) compare(s *sight, q firewall.Question, rules *nft.Ruleset) error {
	expected, err := firewall.Reach(s.Topology, q)
	if err != nil {
		return err
	}
	live, err := firewall.Simulate(rules, s.Topology, q)
	if err != nil {
		return fmt.Errorf("read the kernel's rules: %w", err)
	}
	a.Live = append(a.Live, liveAnswer{peerName(q.From), peerName(q.To), live.Allowed, live.Logged, live.Chain})
	a.Agrees = a.Agrees && live.Allowed == expected.Allowed && live.Logged == expected.Logged
	return nil
}

func peerName(p firewall.Peer) string {
	if e := p.Endpoint; e != nil {
		return fmt.Sprintf("%s/%s/%d", e.AppName, e.ProcessType, e.Index)
	}
	return p.Addr.String()
}

func (r *reachCmd) print(c *console, a *reached) error {
	if r.JSON {
		return c.json(a)
	}
	word, colour := "no", red
	if a.Allowed {
		word, colour = "yes", green
	}
	fmt.Fprintf(c.out, "%s: %s\n", c.paint(colour, word), printable(a.Rule))
	if a.Logged {
		fmt.Fprintln(c.out, "the connection is logged")
	}
	switch {
	case len(a.Live) == 0:
		fmt.Fprintln(c.err, "dew: no instance of it runs on this cell: the kernel's rules were not looked at")
	case a.Agrees:
		fmt.Fprintf(c.err, "dew: the kernel's rules say the same, for %s\n", plural(len(a.Live), "pair"))
	default:
		fmt.Fprintln(c.err, "dew: warning: the kernel's rules DIFFER from the topology:")
		for _, l := range a.Live {
			fmt.Fprintf(c.err, "  %s to %s: allowed %v, by chain %s\n", printable(l.From), printable(l.To), l.Allowed, l.Chain)
		}
	}
	return nil
}

// plural is a number of things for people.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// peers are what a name or an address means: all instances of an app, or, where
// none runs, the app.
func (s *sight) peers(ctx context.Context, host string) (list []firewall.Peer, err error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		if !addr.Is4() {
			return nil, fmt.Errorf("%s: guests have IPv4 only", host)
		}
		return []firewall.Peer{{Addr: addr}}, nil
	}
	a, err := s.app(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, e := range s.instances(a.GUID) {
		list = append(list, firewall.Peer{Endpoint: e})
	}
	if list == nil {
		list = []firewall.Peer{{Endpoint: &cf.Endpoint{AppGUID: a.GUID, AppName: a.Name, SpaceGUID: s.Config.Space.GUID, OrgGUID: s.Config.Org.GUID,
			ProcessType: "web", Stage: cf.Running, Ports: []uint16{cf.AppPort}}}}
	}
	return list, nil
}

// target is where a connection goes to.
type target struct {
	host, protocol string
	port           uint16
	kind           uint8 // of ICMP
}

// parseTarget reads HOST:PORT, HOST:PORT/udp or HOST/icmp.
func parseTarget(text string) (t target, err error) {
	wrong := withHint(fmt.Errorf("%q is no target", text), "APP:PORT or ADDRESS:PORT, with /udp for UDP, or APP/icmp")
	rest, protocol, named := strings.Cut(text, "/")
	t.protocol = cf.TCP
	if named {
		t.protocol = strings.ToLower(protocol)
	}
	const echo = 8 // RFC 792
	if t.protocol == cf.ICMP && !strings.Contains(rest, ":") && rest != "" {
		t.host, t.kind = rest, echo
		return t, nil
	}
	host, port, ok := strings.Cut(rest, ":")
	n, bad := strconv.ParseUint(port, 10, 16)
	if !ok || bad != nil || n == 0 || host == "" || t.protocol != cf.TCP && t.protocol != cf.UDP {
		return target{}, wrong
	}
	t.host, t.port = host, uint16(n)
	return t, nil
}
