package resolver

import (
	"net/netip"

	"github.com/dewpaas/dew/cf"
)

// SnapshotOf is what a cell's topology means to its resolver: a policy opens the
// names of its destination, and an app reaches the outside's names if a security
// group lets it reach anything.
func SnapshotOf(t cf.Topology) Snapshot {
	s := Snapshot{Domains: t.InternalDomains, Names: map[string][]Process{}, Apps: map[string]App{}, Askers: map[netip.Addr]string{},
		Protected: append([]netip.Prefix(nil), t.Guests...)}
	if t.Gateway.IsValid() {
		s.Protected = append(s.Protected, netip.PrefixFrom(t.Gateway, t.Gateway.BitLen()))
	}
	for _, p := range t.Protected {
		s.Protected = append(s.Protected, p.Prefix)
	}
	outside := groupsApply(t)
	for _, e := range t.Endpoints {
		a := s.Apps[e.AppGUID]
		a.Outside = a.Outside || outside(e)
		a.Instances = append(a.Instances, Instance{e.ProcessType, e.Index, e.Addr, e.Ready && e.Stage == cf.Running})
		s.Apps[e.AppGUID] = a
		if e.VNIC != "" {
			s.Askers[e.Addr] = e.AppGUID
		}
	}
	for _, p := range t.Policies {
		if a, there := s.Apps[p.SourceGUID]; there {
			a.Reaches = append(a.Reaches, p.DestinationGUID)
			s.Apps[p.SourceGUID] = a
		}
	}
	for _, n := range t.Names {
		s.Names[n.Name] = append(s.Names[n.Name], Process{n.AppGUID, n.ProcessType})
	}
	return s
}

// groupsApply tells of an endpoint whether any security group with a rule is in
// force for it.
func groupsApply(t cf.Topology) func(cf.Endpoint) bool {
	type place struct{ stage, space string }
	applies := map[place]bool{} // with space "": everywhere
	rules := map[string]bool{}
	for _, g := range t.Groups {
		if len(g.Rules) == 0 {
			continue
		}
		rules[g.GUID] = true
		if g.Running {
			applies[place{cf.Running, ""}] = true
		}
		if g.Staging {
			applies[place{cf.Staging, ""}] = true
		}
	}
	for _, b := range t.Bindings {
		if rules[b.GroupGUID] {
			applies[place{b.Stage, b.SpaceGUID}] = true
		}
	}
	return func(e cf.Endpoint) bool { return applies[place{e.Stage, ""}] || applies[place{e.Stage, e.SpaceGUID}] }
}
