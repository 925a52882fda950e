package api

import (
	"cmp"
	"strings"

	"github.com/dewpaas/dew/cf"
)

// destinations are those of a route that the caller may know of. Others share
// spaces without seeing each other's apps, and the CLI fails on an app that it
// cannot look up.
func (c *call) destinations(r *cf.Route, more ...cf.Cond) ([]obj, error) {
	list, err := cf.List[cf.Destination](c.tx, cf.Query{Where: append(more, cf.Is("route_guid", r.GUID)), Order: []cf.Order{{Key: "created_at"}}})
	if err != nil {
		return nil, err
	}
	own, others, err := c.destinationsInSight(r)
	if err != nil {
		return nil, err
	}
	out := []obj{}
	for _, d := range list {
		seen := own && others
		if !seen {
			if seen, err = c.seesDestination(d, r, own); err != nil {
				return nil, err
			}
		}
		if seen {
			out = append(out, showDestination(d))
		}
	}
	return out, nil
}

// destinationsInSight tells whether the caller sees which apps of its own space a
// route leads to, and which of other spaces, without a look at each.
func (c *call) destinationsInSight(r *cf.Route) (own, others bool, err error) {
	if c.auditor() {
		return true, true, nil
	}
	s, err := cf.Get[cf.Space](c.tx, r.SpaceGUID)
	if err != nil {
		return false, false, err
	}
	shared, err := c.isShared(sharedRoutes(), r.GUID)
	return c.may(s, look) || c.audits(s.OrgGUID), !shared, err
}

func (c *call) seesDestination(d *cf.Destination, r *cf.Route, own bool) (bool, error) {
	a, err := cf.Get[cf.App](c.tx, d.AppGUID)
	if err != nil || a.SpaceGUID == r.SpaceGUID {
		return own, err
	}
	s, err := cf.Get[cf.Space](c.tx, a.SpaceGUID)
	return err == nil && c.may(s, look), err
}

func showDestination(d *cf.Destination) obj {
	return obj{"guid": d.GUID, "app": obj{"guid": d.AppGUID, "process": obj{"type": d.ProcessType}}, "weight": nil, "port": cmp.Or(d.Port, cf.AppPort), "protocol": d.Protocol}
}

func goodProtocol(p string) error {
	if p != "http1" && p != "http2" {
		return unprocessable("Destination protocol must be 'http1' or 'http2'.")
	}
	return nil
}

func (c *call) showDestinations(r *cf.Route) (obj, error) {
	var where []cf.Cond
	for name, key := range map[string]string{"guids": "guid", "app_guids": "app_guid"} {
		if text := c.r.URL.Query().Get(name); text != "" {
			where = append(where, cf.Is(key, strings.Split(text, ",")...))
		}
	}
	list, err := c.destinations(r, where...)
	return obj{"destinations": list, "links": obj{"self": c.link("routes", r.GUID, "destinations"), "route": c.link("routes", r.GUID)}}, err
}

type destinationBody struct {
	App struct {
		GUID    string `json:"guid"`
		Process *struct {
			Type string `json:"type"`
		} `json:"process"`
	} `json:"app"`
	Port     *int    `json:"port"`
	Protocol *string `json:"protocol"`
	Weight   *int    `json:"weight"`
}

// mayMap lets those map a route who operate in the space that owns it, or in one
// that it is shared with: these the apps there.
func (c *call) mayMap(r *cf.Route, owner *cf.Space) error {
	if c.may(owner, operate) {
		return c.notSuspended(owner.OrgGUID)
	}
	shared, err := c.sharedWith(sharedRoutes(), r.GUID)
	for _, s := range shared {
		if c.may(s, operate) {
			return c.notSuspended(s.OrgGUID)
		}
	}
	return orElse(err, forbidden())
}

func (c *call) addDestinations() (any, error) {
	r, owner, err := c.route(look)
	if err == nil {
		err = c.mayMap(r, owner)
	}
	if err != nil {
		return nil, err
	}
	return c.mapRoute(r, false)
}

func (c *call) mapRoute(r *cf.Route, replace bool) (obj, error) {
	var b struct {
		Destinations []destinationBody `json:"destinations"`
	}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	if len(b.Destinations) > 100 {
		return nil, unprocessable("Routes can be mapped to at most 100 destinations.")
	}
	if replace {
		if err := c.dropDestinations(cf.Is("route_guid", r.GUID)); err != nil {
			return nil, err
		}
	}
	for _, d := range b.Destinations {
		if err := c.addDestination(r, d); err != nil {
			return nil, err
		}
	}
	return c.showDestinations(r)
}

func (c *call) addDestination(r *cf.Route, b destinationBody) error {
	a, err := c.mappable(b.App.GUID, r)
	if err != nil {
		return err
	}
	d := &cf.Destination{RouteGUID: r.GUID, AppGUID: a.GUID, ProcessType: "web", Protocol: "http1"}
	if b.App.Process != nil {
		d.ProcessType = b.App.Process.Type
	}
	if b.Protocol != nil {
		d.Protocol = *b.Protocol
	}
	if b.Port != nil {
		d.Port = *b.Port
	}
	switch {
	case b.Weight != nil:
		return unprocessable("Destination weights are not supported: the router would ignore them.")
	case d.Port < 0 || d.Port > 65535:
		return unprocessable("Port must be between 1 and 65535.")
	}
	if err := goodProtocol(d.Protocol); err != nil {
		return err
	}
	return c.addOrUpdate(r, a, d)
}

// mappable is an app of a space that has the route, in which the caller operates.
func (c *call) mappable(guid string, r *cf.Route) (*cf.App, error) {
	gone := unprocessable("App(s) with guid(s) \"%s\" do not exist or you do not have access.", guid)
	a, err := cf.First[cf.App](c.tx, cf.Is("guid", guid))
	if err != nil || a == nil {
		return nil, orElse(err, gone)
	}
	s, err := c.space(a.SpaceGUID, look, "App")
	if err != nil {
		return nil, unlessForbidden(err, gone)
	}
	has, err := c.has(a.SpaceGUID, sharedRoutes(), r.GUID, r.SpaceGUID)
	if err == nil && !has {
		err = unprocessable("Routes destinations must be in either the route's space or the route's shared spaces. Map another route to the app.")
	}
	if err != nil {
		return nil, err
	}
	return a, c.allow(s, operate)
}

// addOrUpdate maps a route. Mapping twice is no error, but may change the protocol.
func (c *call) addOrUpdate(r *cf.Route, a *cf.App, d *cf.Destination) error {
	old, err := cf.First[cf.Destination](c.tx, cf.Is("route_guid", r.GUID), cf.Is("app_guid", a.GUID), cf.Is("process_type", d.ProcessType), cf.Is("port", int64(d.Port)))
	if err != nil {
		return err
	}
	if old != nil {
		if old.Protocol == d.Protocol {
			return nil
		}
		old.Protocol = d.Protocol
		return c.tx.Save(old)
	}
	if err := c.tx.Insert(d); err != nil {
		return err
	}
	return c.recordApp("audit.app.map-route", a, obj{"route_guid": r.GUID, "destination_guid": d.GUID, "app_port": d.Port, "process_type": d.ProcessType})
}

// destination is the one of r that the path names.
func (c *call) destination(r *cf.Route, otherwise string) (*cf.Destination, error) {
	d, err := cf.First[cf.Destination](c.tx, cf.Is("guid", c.param("destination")), cf.Is("route_guid", r.GUID))
	if err == nil && d == nil {
		err = unprocessable("%s", otherwise)
	}
	return d, err
}

// ownDestination is one that the caller may change: of a route that his space
// owns, or of an app of his.
func (c *call) ownDestination(otherwise string) (*cf.Route, *cf.Destination, *cf.App, error) {
	r, owner, err := c.route(look)
	if err == nil {
		err = c.mayMap(r, owner)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	d, err := c.destination(r, otherwise)
	if err != nil {
		return nil, nil, nil, err
	}
	a, err := cf.Get[cf.App](c.tx, d.AppGUID)
	if err == nil && !c.may(owner, operate) {
		_, err = c.space(a.SpaceGUID, operate, "App")
		err = unlessForbidden(err, forbidden())
	}
	return r, d, a, err
}

func (c *call) updateDestination() (any, error) {
	r, d, _, err := c.ownDestination("Unable to update route destination. Ensure the route has a destination with this guid.")
	if err != nil {
		return nil, err
	}
	var b struct {
		Protocol *string `json:"protocol"`
	}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	if b.Protocol != nil {
		d.Protocol = *b.Protocol
	}
	if err := goodProtocol(d.Protocol); err != nil {
		return nil, err
	}
	if err := c.tx.Save(d); err != nil {
		return nil, err
	}
	return showDestination(d), c.note(r, "update")
}

func (c *call) unmapRoute() (any, error) {
	_, d, a, err := c.ownDestination("Unable to unmap route from destination. Ensure the route has a destination with this guid.")
	if err != nil {
		return nil, err
	}
	return nil, c.dropDestination(d, a)
}

func (c *call) dropDestination(d *cf.Destination, a *cf.App) error {
	if err := c.tx.Delete(d); err != nil {
		return err
	}
	return c.recordApp("audit.app.unmap-route", a, obj{"route_guid": d.RouteGUID})
}

func (c *call) dropDestinations(where ...cf.Cond) error {
	list, err := cf.List[cf.Destination](c.tx, cf.Query{Where: where})
	if err != nil {
		return err
	}
	for _, d := range list {
		a, err := cf.Get[cf.App](c.tx, d.AppGUID)
		if err != nil {
			return err
		}
		if err := c.dropDestination(d, a); err != nil {
			return err
		}
	}
	return nil
}
