package cell

import (
	"context"
	"net/netip"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/vnet"
)

// world is what the ledger says about who may talk to whom.
type world struct {
	*memory
	topology cf.Topology         // without this cell's own instances
	names    map[string]string   // of apps
	orgs     map[string]string   // of spaces
	ports    map[string][]uint16 // that routes lead to, by app
}

// memory is what the ledger said last about it.
type memory struct {
	apps         cf.Memo[cf.App, *cf.App]
	routes       cf.Memo[cf.Route, *cf.Route]
	destinations cf.Memo[cf.Destination, *cf.Destination]
}

// readWorld reads it in one state of the ledger.
func (m *memory) readWorld(ctx context.Context, s cf.Store, cell string) (*world, error) {
	w := &world{memory: m, names: map[string]string{}, orgs: map[string]string{}, ports: map[string][]uint16{}}
	err := s.View(ctx, func(tx cf.Tx) error {
		for _, read := range []func(cf.Tx) error{w.readNames, w.readRules, w.readRoutes} {
			if err := read(tx); err != nil {
				return err
			}
		}
		return w.readOthers(tx, cell)
	})
	return w, err
}

func (w *world) readNames(tx cf.Tx) error {
	apps, err := w.apps.List(tx, cf.Query{})
	for _, a := range apps {
		w.names[a.GUID] = a.Name
	}
	if err != nil {
		return err
	}
	spaces, err := cf.List[cf.Space](tx, cf.Query{})
	for _, s := range spaces {
		w.orgs[s.GUID] = s.OrgGUID
	}
	return err
}

func (w *world) readRules(tx cf.Tx) error {
	groups, err := cf.List[cf.SecurityGroup](tx, cf.Query{})
	for _, g := range groups {
		w.topology.Groups = append(w.topology.Groups, *g)
	}
	if err != nil {
		return err
	}
	bindings, err := cf.List[cf.GroupBinding](tx, cf.Query{})
	for _, b := range bindings {
		w.topology.Bindings = append(w.topology.Bindings, *b)
	}
	if err != nil {
		return err
	}
	policies, err := cf.List[cf.NetworkPolicy](tx, cf.Query{})
	for _, p := range policies {
		w.topology.Policies = append(w.topology.Policies, *p)
	}
	return err
}

func (w *world) readRoutes(tx cf.Tx) error {
	domains, err := cf.List[cf.Domain](tx, cf.Query{})
	if err != nil {
		return err
	}
	domain := map[string]*cf.Domain{}
	for _, d := range domains {
		domain[d.GUID] = d
		if d.Internal {
			w.topology.InternalDomains = append(w.topology.InternalDomains, d.Name)
		}
	}
	routes, err := w.routes.List(tx, cf.Query{})
	if err != nil {
		return err
	}
	address, inside := map[string]string{}, map[string]string{}
	for _, r := range routes {
		switch d := domain[r.DomainGUID]; {
		case d == nil:
		case d.Internal:
			inside[r.GUID] = r.Address(d)
		default:
			address[r.GUID] = r.Address(d)
		}
	}
	to, err := w.destinations.List(tx, cf.Query{})
	for _, d := range to {
		if name := inside[d.RouteGUID]; name != "" {
			w.topology.Names = append(w.topology.Names, cf.InternalName{Name: name, AppGUID: d.AppGUID, ProcessType: d.ProcessType})
		}
		if name := address[d.RouteGUID]; name != "" {
			w.topology.Routes = append(w.topology.Routes, cf.RoutedPort{AppGUID: d.AppGUID, ProcessType: d.ProcessType, Port: uint16(d.Port), Route: name})
			if d.Port != 0 && d.Port != cf.AppPort {
				w.ports[d.AppGUID] = append(w.ports[d.AppGUID], uint16(d.Port))
			}
		}
	}
	return err
}

// readOthers reads the instances of other cells, as far as anybody here may
// have to know them.
func (w *world) readOthers(tx cf.Tx, cell string) error {
	reports, err := cf.List[cf.Report](tx, cf.Query{Where: []cf.Cond{{Key: "cell_id", Op: cf.NotIn, Values: []any{cell}}}})
	for _, r := range reports {
		addr, bad := netip.ParseAddr(r.Address)
		if bad != nil {
			continue
		}
		p, err := cf.Get[cf.Placement](tx, r.GUID)
		if cf.KindOf(err) == cf.NotFound {
			continue
		}
		if err != nil {
			return err
		}
		e := w.endpoint(p, nic(addr))
		e.VNIC = ""
		e.Ready = r.Routable && r.State == cf.InstanceRunning && !p.Stopping
		w.topology.Endpoints = append(w.topology.Endpoints, e)
	}
	return err
}

// endpoint is an instance as the network sees it.
func (w *world) endpoint(p *cf.Placement, card vnet.VNIC) cf.Endpoint {
	ports := []uint16{cf.AppPort}
	if p.TaskGUID != "" {
		ports = nil
	}
	return cf.Endpoint{GUID: p.GUID, Index: p.Index, AppGUID: p.AppGUID, AppName: w.names[p.AppGUID], SpaceGUID: p.SpaceGUID, OrgGUID: w.orgs[p.SpaceGUID],
		ProcessType: p.Type, Stage: cf.Running, Addr: card.Addr, Ports: append(ports, w.ports[p.AppGUID]...), VNIC: card.Name, MAC: card.MAC, MTU: card.MTU}
}
