package cell

import (
	"context"
	"net/netip"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/vnet"
)

// world is what the ledger says about who may talk to whom.
type world struct {
	topology  cf.Topology         // without this cell's own instances
	names     map[string]string   // of apps
	orgs      map[string]string   // of spaces
	ports     map[string][]uint16 // that routes lead to, by app
	protected []cf.Protected      // machines of the foundation
}

// readWorld reads it. No other cell's instance is where this cell's guests are.
func readWorld(ctx context.Context, l Ledger, guests netip.Prefix) (*world, error) {
	e, err := l.Around(ctx)
	if err != nil {
		return nil, err
	}
	w := &world{names: map[string]string{}, orgs: map[string]string{}, ports: map[string][]uint16{}}
	for _, a := range cf.Of[cf.App](e) {
		w.names[a.GUID] = a.Name
	}
	for _, s := range cf.Of[cf.Space](e) {
		w.orgs[s.GUID] = s.OrgGUID
	}
	for _, s := range cf.Of[cf.Setting](e) {
		w.protected = append(w.protected, s.Protected()...)
	}
	w.takeRules(e)
	w.takeRoutes(e)
	w.takeOthers(e, guests)
	return w, nil
}

func (w *world) takeRules(e cf.Extract) {
	for _, g := range cf.Of[cf.SecurityGroup](e) {
		w.topology.Groups = append(w.topology.Groups, *g)
	}
	for _, b := range cf.Of[cf.GroupBinding](e) {
		w.topology.Bindings = append(w.topology.Bindings, *b)
	}
	for _, p := range cf.Of[cf.NetworkPolicy](e) {
		w.topology.Policies = append(w.topology.Policies, *p)
	}
}

func (w *world) takeRoutes(e cf.Extract) {
	domain := map[string]*cf.Domain{}
	for _, d := range cf.Of[cf.Domain](e) {
		domain[d.GUID] = d
		if d.Internal {
			w.topology.InternalDomains = append(w.topology.InternalDomains, d.Name)
		}
	}
	address, inside := map[string]string{}, map[string]string{}
	for _, r := range cf.Of[cf.Route](e) {
		switch d := domain[r.DomainGUID]; {
		case d == nil:
		case d.Internal:
			inside[r.GUID] = r.Address(d)
		default:
			address[r.GUID] = r.Address(d)
		}
	}
	for _, d := range cf.Of[cf.Destination](e) {
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
}

// takeOthers takes the instances of other cells. One that is said to be among this
// cell's own guests is not believed: what leads to it would lead to one of them.
func (w *world) takeOthers(e cf.Extract, guests netip.Prefix) {
	placements := map[string]*cf.Placement{}
	for _, p := range cf.Of[cf.Placement](e) {
		placements[p.GUID] = p
	}
	for _, r := range cf.Of[cf.Report](e) {
		addr, err := netip.ParseAddr(r.Address)
		p := placements[r.GUID]
		if err != nil || p == nil || guests.Contains(addr) {
			continue
		}
		other := w.endpoint(p, nic(addr))
		other.VNIC = ""
		other.Ready = r.Routable && r.State == cf.InstanceRunning && !p.Stopping
		w.topology.Endpoints = append(w.topology.Endpoints, other)
	}
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
