package breach

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/elastic/go-seccomp-bpf/arch"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/seccomp"
)

// Subject is an app whose guest an attacker owns, as the platform knows it.
type Subject struct {
	Name     string
	Tender   Kind
	Self     cf.Endpoint // one of its instances; it need not be in the topology
	Topology cf.Topology
	Env      map[string]string
	Bindings []Binding
	Files    int // in its image
	Limits   tender.Limits
}

// Binding is a service that the app is bound to.
type Binding struct {
	Service     string
	Credentials map[string]any
}

// Report is what an attacker gets who owns the subject: names, never values.
type Report struct {
	Subject   string   `json:"subject"`
	Tender    Kind     `json:"tender"`
	Secrets   []Secret `json:"secrets"`
	Reaches   []Link   `json:"reaches"`
	ReachedBy []Link   `json:"reached_by"`
	HostCalls []string `json:"host_calls"` // system calls that the host's kernel answers
	Files     int      `json:"files"`      // to be read, in its image
	Persists  []string `json:"persists"`   // what it can leave behind for the next start
	Limits    Limits   `json:"limits"`
}

// Secret is something that the guest was told.
type Secret struct {
	Name string `json:"name"`
	From string `json:"from"` // "environment", or "service " and its name
}

// Link is a way through the firewall.
type Link struct {
	Peer     string `json:"peer"` // an app, a network, the resolver, the router
	Protocol string `json:"protocol"`
	Ports    string `json:"ports"` // as the rule writes them; "" is all
	Rule     string `json:"rule"`  // that decides
}

// Limits of the guest, 0 is none.
type Limits struct {
	MemoryBytes uint64  `json:"memory_bytes"`
	CPUs        float64 `json:"cpus"`
	Threads     int     `json:"threads"`
}

// Predict computes the report from what the platform knows. It is pure.
func Predict(s Subject) Report {
	r := Report{Subject: s.Name, Tender: s.Tender, Secrets: secretsOf(s), Reaches: reachesOf(s), ReachedBy: reachedBy(s), HostCalls: []string{},
		Files: s.Files, Persists: []string{}, Limits: Limits{s.Limits.Memory, s.Limits.CPUs, s.Limits.PIDs}}
	if s.Tender == Process {
		r.HostCalls = hostCalls()
		if r.Limits.Threads == 0 {
			r.Limits.Threads = tender.DefaultPIDs
		}
	}
	return r
}

func secretsOf(s Subject) []Secret {
	list := []Secret{}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		list = append(list, Secret{name, "environment"})
	}
	for _, b := range s.Bindings {
		for _, name := range slices.Sorted(maps.Keys(b.Credentials)) {
			list = append(list, Secret{name, "service " + b.Service})
		}
	}
	return list
}

// hostCalls are the names of what tender/seccomp lets through.
func hostCalls() (names []string) {
	for _, rule := range seccomp.Wall() {
		if rule.Verdict == seccomp.Allow {
			names = append(names, arch.X86_64.SyscallNumbers[int(rule.Call)])
		}
	}
	slices.Sort(names)
	return names
}

// reachesOf asks the firewall about everything that a rule mentions.
func reachesOf(s Subject) []Link {
	list := []Link{}
	for _, at := range s.Topology.Resolvers {
		list = s.ask(list, "the resolver", firewall.Peer{Addr: at.Addr()}, "udp", fmt.Sprint(at.Port()), at.Port())
	}
	for _, p := range s.Topology.Policies {
		if p.SourceGUID != s.Self.AppGUID {
			continue
		}
		for i := range s.Topology.Endpoints {
			if e := &s.Topology.Endpoints[i]; e.AppGUID == p.DestinationGUID {
				list = s.ask(list, "app "+e.AppName, firewall.Peer{Endpoint: e}, p.Protocol, ports(p.StartPort, p.EndPort), uint16(p.StartPort))
			}
		}
	}
	groups := s.groups()
	if slices.ContainsFunc(groups, func(g cf.SecurityGroup) bool { return len(g.Rules) > 0 }) && len(s.Topology.Resolvers) > 0 {
		list = append(list, Link{"names outside, at the resolver's upstreams", "dns", "", "a security group applies"})
	}
	for _, g := range groups {
		for n, rule := range g.Rules {
			list = append(list, Link{rule.Destination, rule.Protocol, rule.Ports, fmt.Sprintf("security group %s, rule %d", g.Name, n+1)})
		}
	}
	return compact(list)
}

// ask adds a link where the firewall's answer is yes.
func (s *Subject) ask(list []Link, peer string, to firewall.Peer, protocol, written string, port uint16) []Link {
	a, err := firewall.Reach(s.Topology, firewall.Question{From: firewall.Peer{Endpoint: &s.Self}, To: to, Protocol: protocol, Port: port})
	if err != nil || !a.Allowed {
		return list
	}
	return append(list, Link{peer, protocol, written, a.Rule})
}

func ports(first, last int) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

// groups that apply to the subject.
func (s *Subject) groups() (list []cf.SecurityGroup) {
	for _, g := range s.Topology.Groups {
		applies := s.Self.Stage == cf.Staging && g.Staging || s.Self.Stage != cf.Staging && g.Running
		for _, b := range s.Topology.Bindings {
			stage := s.Self.Stage
			if stage == "" {
				stage = cf.Running
			}
			applies = applies || b.GroupGUID == g.GUID && b.SpaceGUID == s.Self.SpaceGUID && b.Stage == stage
		}
		if applies {
			list = append(list, g)
		}
	}
	return list
}

// reachedBy asks the firewall who comes in.
func reachedBy(s Subject) []Link {
	list := []Link{}
	in := func(peer string, from firewall.Peer, protocol, written string, port uint16) {
		a, err := firewall.Reach(s.Topology, firewall.Question{From: from, To: firewall.Peer{Endpoint: &s.Self}, Protocol: protocol, Port: port})
		if err == nil && a.Allowed {
			list = append(list, Link{peer, protocol, written, a.Rule})
		}
	}
	for _, port := range s.doors() {
		in("the cell and its router", firewall.Peer{Addr: s.Topology.Gateway}, "tcp", fmt.Sprint(port), port)
		for _, router := range s.Topology.Routers {
			in("router "+router.String(), firewall.Peer{Addr: router}, "tcp", fmt.Sprint(port), port)
		}
	}
	for _, p := range s.Topology.Policies {
		if p.DestinationGUID != s.Self.AppGUID {
			continue
		}
		for i := range s.Topology.Endpoints {
			if e := &s.Topology.Endpoints[i]; e.AppGUID == p.SourceGUID {
				in("app "+e.AppName, firewall.Peer{Endpoint: e}, p.Protocol, ports(p.StartPort, p.EndPort), uint16(p.StartPort))
			}
		}
	}
	return compact(list)
}

// doors are the ports that the cell or a router may come to.
func (s *Subject) doors() []uint16 {
	list := slices.Clone(s.Self.Ports)
	for _, r := range s.Topology.Routes {
		if r.AppGUID == s.Self.AppGUID && r.Port != 0 {
			list = append(list, r.Port)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// compact sorts links and drops what several instances of one app repeat.
func compact(list []Link) []Link {
	slices.SortFunc(list, func(a, b Link) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return slices.Compact(list)
}

// Violations are what the report has and the expectation does not allow, a line
// each.
func (r Report) Violations(allowed Report) (list []string) {
	if allowed.Tender != "" && r.Tender != allowed.Tender {
		list = append(list, fmt.Sprintf("tender %s, not %s", r.Tender, allowed.Tender))
	}
	for _, s := range r.Secrets {
		if !slices.Contains(allowed.Secrets, s) {
			list = append(list, fmt.Sprintf("secret %s from %s", s.Name, s.From))
		}
	}
	for _, way := range []struct {
		verb       string
		has, wants []Link
	}{{"reaches", r.Reaches, allowed.Reaches}, {"is reached by", r.ReachedBy, allowed.ReachedBy}} {
		for _, l := range way.has {
			if !slices.ContainsFunc(way.wants, func(w Link) bool { w.Rule = l.Rule; return w == l }) {
				list = append(list, fmt.Sprintf("%s %s: %s", way.verb, strings.TrimSpace(l.Peer+", "+l.Protocol+" "+l.Ports), l.Rule))
			}
		}
	}
	for _, c := range r.HostCalls {
		if !slices.Contains(allowed.HostCalls, c) {
			list = append(list, "host call "+c)
		}
	}
	for _, p := range r.Persists {
		if !slices.Contains(allowed.Persists, p) {
			list = append(list, "persists: "+p)
		}
	}
	return append(list, r.Limits.beyond(allowed.Limits)...)
}

// beyond are the limits that are wider than those expected, of which 0 is none.
func (l Limits) beyond(wanted Limits) (list []string) {
	for _, one := range []struct {
		name      string
		has, want float64
	}{{"memory_bytes", float64(l.MemoryBytes), float64(wanted.MemoryBytes)}, {"cpus", l.CPUs, wanted.CPUs}, {"threads", float64(l.Threads), float64(wanted.Threads)}} {
		if one.want != 0 && (one.has == 0 || one.has > one.want) {
			list = append(list, fmt.Sprintf("limit %s %v, not %v (0: none)", one.name, one.has, one.want))
		}
	}
	return list
}

// standAlone is the topology of a droplet that runs alone, as by `dew run`: a
// wire to the host and nothing behind it.
func standAlone() cf.Topology { return cf.Topology{Gateway: netip.AddrFrom4([4]byte{169, 254, 0, 1})} }

// Alone is the subject of a droplet that runs by itself.
func Alone(name string, kind Kind, env map[string]string, files int, limits tender.Limits) Subject {
	return Subject{Name: name, Tender: kind, Self: cf.Endpoint{AppGUID: name, AppName: name}, Topology: standAlone(), Env: env, Files: files, Limits: limits}
}
