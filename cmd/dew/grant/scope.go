package grant

import (
	"net/netip"
	"slices"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/identity"
)

// scope is what is a peer's in the state of the ledger that one transaction sees. It
// reads the ledger itself, each part when it is first asked for.
type scope struct {
	tx   cf.Tx
	role string
	me   string

	builds map[string]*cf.Build // whose leases were asked for; nil: a stager has it not
	guests netip.Prefix         // of a cell

	// What follows is nil until it is asked for.
	mine, spaces              set // a cell's: of instances that are placed there; a stager's: of builds that it has
	packages                  set // a stager's: that it builds
	near                      set // apps that a network policy connects with a cell's
	routes, domains           set // that lead to either
	groups                    set // security groups that are bound to the spaces
	instances, plans, offered set // services that are bound to the apps
}

type set map[string]bool

func (s set) list() []string {
	list := make([]string, 0, len(s))
	for x := range s {
		list = append(list, x)
	}
	return list
}

// among lists the records whose key has one of the values, however many.
func among[T any, P interface {
	*T
	cf.Record
}](s *scope, key string, values set) (all []P, err error) {
	list := values.list()
	for len(list) > 0 && err == nil {
		n := min(len(list), cf.MaxValues)
		var some []P
		some, err = cf.List[T, P](s.tx, cf.Query{Where: []cf.Cond{cf.Is(key, list[:n]...)}})
		all, list = append(all, some...), list[n:]
	}
	return all, err
}

// place works out which apps, spaces and packages are the peer's.
func (s *scope) place() (err error) {
	if s.mine != nil {
		return nil
	}
	mine, spaces, packages := set{}, set{}, set{}
	if s.role == identity.Stager {
		var list []*cf.Build
		list, err = s.held()
		for _, b := range list {
			mine[b.AppGUID], spaces[b.SpaceGUID], packages[b.PackageGUID] = true, true, true
		}
		s.near = set{} // who builds reaches nobody
	} else {
		var list []*cf.Placement
		list, err = cf.List[cf.Placement](s.tx, cf.Query{Where: []cf.Cond{cf.Is("cell_id", s.me)}})
		for _, p := range list {
			mine[p.AppGUID], spaces[p.SpaceGUID] = true, true
		}
	}
	if err == nil {
		s.mine, s.spaces, s.packages = mine, spaces, packages
	}
	return err
}

// owns tells whether an app is the peer's.
func (s *scope) owns(app string) (bool, error) {
	err := s.place()
	return s.mine[app], err
}

func (s *scope) inSpace(space string) (bool, error) {
	err := s.place()
	return s.spaces[space], err
}

// knows tells whether an app is the peer's, or a policy connects it with one that is.
func (s *scope) knows(app string) (bool, error) {
	here, err := s.owns(app)
	if here || err != nil {
		return here, err
	}
	if s.near == nil {
		near := set{}
		for _, key := range []string{"source_guid", "destination_guid"} {
			list, err := among[cf.NetworkPolicy](s, key, s.mine)
			if err != nil {
				return false, err
			}
			for _, p := range list {
				near[p.SourceGUID], near[p.DestinationGUID] = true, true
			}
		}
		s.near = near
	}
	return s.near[app], nil
}

// lead works out which routes lead to apps that are known here, and their domains.
func (s *scope) lead() error {
	if s.routes != nil {
		return nil
	}
	if _, err := s.knows(""); err != nil {
		return err
	}
	apps := set{}
	for _, some := range []set{s.mine, s.near} {
		for app := range some {
			apps[app] = true
		}
	}
	routes, domains := set{}, set{}
	to, err := among[cf.Destination](s, "app_guid", apps)
	if err != nil {
		return err
	}
	for _, d := range to {
		routes[d.RouteGUID] = true
	}
	list, err := among[cf.Route](s, "guid", routes)
	if err != nil {
		return err
	}
	for _, r := range list {
		domains[r.DomainGUID] = true
	}
	s.routes, s.domains = routes, domains
	return nil
}

// leadsHere tells whether a route is one of them, hasRoute whether a domain has one.
func (s *scope) leadsHere(route string) (bool, error) {
	err := s.lead()
	return s.routes[route], err
}

func (s *scope) hasRoute(domain string) (bool, error) {
	err := s.lead()
	return s.domains[domain], err
}

// serve works out which services are bound to the peer's apps.
func (s *scope) serve() error {
	if s.instances != nil {
		return nil
	}
	if err := s.place(); err != nil {
		return err
	}
	instances, plans, offered := set{}, set{}, set{}
	bindings, err := among[cf.ServiceBinding](s, "app_guid", s.mine)
	if err != nil {
		return err
	}
	for _, b := range bindings {
		instances[b.InstanceGUID] = true
	}
	list, err := among[cf.ServiceInstance](s, "guid", instances)
	if err != nil {
		return err
	}
	for _, i := range list {
		plans[i.PlanGUID] = true
	}
	of, err := among[cf.ServicePlan](s, "guid", plans)
	if err != nil {
		return err
	}
	for _, p := range of {
		offered[p.OfferingGUID] = true
	}
	s.instances, s.plans, s.offered = instances, plans, offered
	return nil
}

// binds tells whether a security group is bound to a space with instances here.
func (s *scope) binds(group string) (bool, error) {
	if err := s.place(); err != nil {
		return false, err
	}
	if s.groups == nil {
		list, err := among[cf.GroupBinding](s, "space_guid", s.spaces)
		if err != nil {
			return false, err
		}
		s.groups = set{}
		for _, b := range list {
			s.groups[b.GroupGUID] = true
		}
	}
	return s.groups[group], nil
}

// lives tells whether an address is in this cell's network of guests.
func (s *scope) lives(address string) (bool, error) {
	if !s.guests.IsValid() {
		c, err := cf.First[cf.Cell](s.tx, cf.Is("guid", s.me))
		if err != nil || c == nil {
			return false, err
		}
		if s.guests, err = netip.ParsePrefix(c.Guests); err != nil {
			return false, nil // who has no network has no guests
		}
	}
	a, err := netip.ParseAddr(address)
	return err == nil && s.guests.Contains(a), nil
}

// runs is the placement of an instance on this cell; nil: it is not placed here.
func (s *scope) runs(instance string) (*cf.Placement, error) {
	return cf.First[cf.Placement](s.tx, cf.Is("guid", instance), cf.Is("cell_id", s.me))
}

// holds is the build whose lease this stager has, as it was when that was first asked
// in the transaction; nil: it has not.
func (s *scope) holds(build string) (*cf.Build, error) {
	if b, known := s.builds[build]; known {
		return b, nil
	}
	l, err := cf.First[cf.Lease](s.tx, cf.Is("guid", cf.BuildLease(build)))
	if err != nil {
		return nil, err
	}
	var b *cf.Build
	if l != nil && l.Holder == s.me {
		if b, err = cf.First[cf.Build](s.tx, cf.Is("guid", build), cf.Is("state", "STAGING")); err != nil {
			return nil, err
		}
	}
	if s.builds == nil {
		s.builds = map[string]*cf.Build{}
	}
	s.builds[build] = b
	return b, nil
}

// held are the builds whose leases this stager has.
func (s *scope) held() (list []*cf.Build, err error) {
	all, err := cf.List[cf.Build](s.tx, cf.Query{Where: []cf.Cond{cf.Is("state", "STAGING")}})
	for _, b := range all {
		h, err := s.holds(b.GUID)
		if err != nil {
			return nil, err
		}
		if h != nil {
			list = append(list, h)
		}
	}
	return list, err
}

// has tells whether this stager has a build of which that is true.
func (s *scope) has(is func(*cf.Build) bool) (bool, error) {
	list, err := s.held()
	return slices.ContainsFunc(list, is), err
}
