package api

import (
	"cmp"
	"strings"

	"github.com/dewpaas/dew/cf"
)

func (c *call) destinations(r *cf.Route) ([]obj, error) {
	return c.destinationsBy(cf.Is("route_guid", r.GUID))
}

func (c *call) destinationsBy(where ...cf.Cond) ([]obj, error) {
	list, err := cf.List[cf.Destination](c.tx, cf.Query{Where: where, Order: []cf.Order{{Key: "created_at"}}})
	out := []obj{}
	for _, d := range list {
		out = append(out, showDestination(d))
	}
	return out, err
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
	where := []cf.Cond{cf.Is("route_guid", r.GUID)}
	for name, key := range map[string]string{"guids": "guid", "app_guids": "app_guid"} {
		if text := c.r.URL.Query().Get(name); text != "" {
			where = append(where, cf.Is(key, strings.Split(text, ",")...))
		}
	}
	list, err := c.destinationsBy(where...)
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
		old, err := cf.List[cf.Destination](c.tx, cf.Query{Where: []cf.Cond{cf.Is("route_guid", r.GUID)}})
		if err != nil {
			return nil, err
		}
		for _, d := range old {
			if err := c.tx.Delete(d); err != nil {
				return nil, err
			}
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
	a, err := cf.Get[cf.App](c.tx, b.App.GUID)
	if err == nil && a.SpaceGUID != r.SpaceGUID {
		if _, err = c.space(a.SpaceGUID, look, "App"); err == nil {
			return unprocessable("Routes cannot be mapped to destinations in different spaces. Map another route to the app.")
		}
	}
	if err != nil {
		return unprocessable("App(s) with guid(s) \"%s\" do not exist or you do not have access.", b.App.GUID)
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
	s, err := cf.Get[cf.Space](c.tx, r.SpaceGUID)
	if err != nil {
		return err
	}
	return c.record("audit.app.map-route", target(a), s, obj{"route_guid": r.GUID, "destination_guid": d.GUID, "app_port": d.Port, "process_type": d.ProcessType})
}

// destination is the one of r that the path names.
func (c *call) destination(r *cf.Route, otherwise string) (*cf.Destination, error) {
	d, err := cf.First[cf.Destination](c.tx, cf.Is("guid", c.param("destination")), cf.Is("route_guid", r.GUID))
	if err == nil && d == nil {
		err = unprocessable("%s", otherwise)
	}
	return d, err
}

func (c *call) updateDestination() (any, error) {
	r, _, err := c.route(operate)
	if err != nil {
		return nil, err
	}
	d, err := c.destination(r, "Unable to update route destination. Ensure the route has a destination with this guid.")
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
	r, s, err := c.route(operate)
	if err != nil {
		return nil, err
	}
	d, err := c.destination(r, "Unable to unmap route from destination. Ensure the route has a destination with this guid.")
	if err != nil {
		return nil, err
	}
	if err := c.tx.Delete(d); err != nil {
		return nil, err
	}
	return nil, c.record("audit.app.unmap-route", cf.Actor{GUID: d.AppGUID, Type: "app"}, s, obj{"route_guid": r.GUID})
}
