package api

import (
	"regexp"
	"strings"

	"github.com/dewpaas/dew/cf"
)

var routeList = listing[*cf.Route]{
	filters: filters{"space_guids": inSpacesOrShared(sharedRoutes()), "domain_guids": by("domain_guid"), "hosts": byLower("host"), "paths": by("path"),
		"organization_guids": byOrg, "ports": byNone, "service_instance_guids": byNone, // there are no TCP routes and no route services
		"app_guids": func(c *call, q *cf.Query, values []string) error {
			guids, err := c.mapped(values...)
			q.Where = append(q.Where, cf.Is("guid", guids...))
			return err
		}},
	visible: visibleRoutes, show: showRoute,
	includes: routeIncludes(),
}

func routeIncludes() map[string]func(*call, []*cf.Route, obj) error {
	m := spacesAndOrgs(func(r *cf.Route) string { return r.SpaceGUID })
	m["domain"] = func(c *call, page []*cf.Route, included obj) error {
		return includeIn(c, included, "domains", each(page, func(r *cf.Route) string { return r.DomainGUID }), showDomain)
	}
	return m
}

// mapped are the routes that lead to the apps.
func (c *call) mapped(apps ...string) ([]string, error) {
	list, err := cf.List[cf.Destination](c.tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", apps...)}})
	guids := []string{}
	for _, d := range list {
		guids = append(guids, d.RouteGUID)
	}
	return guids, err
}

func showRoute(c *call, r *cf.Route) (obj, error) {
	d, err := cf.Get[cf.Domain](c.tx, r.DomainGUID)
	if err != nil {
		return nil, err
	}
	destinations, err := c.destinations(r)
	options := r.Options
	if options == nil {
		options = map[string]string{}
	}
	return c.described(&r.Meta, "routes", obj{"host": r.Host, "path": r.Path, "port": nil, "protocol": "http", "url": r.Address(d), "options": options,
		"destinations": destinations, "relationships": obj{"space": toOne(r.SpaceGUID), "domain": toOne(r.DomainGUID)}}), err
}

func (s *Server) routeRoutes(t table) {
	list(t, "/v3/routes", routeList)
	t.post("/v3/routes", 201, (*call).createRoute)
	t.get("/v3/routes/{guid}", func(c *call) (any, error) { return seen(c, routeList, "Route") }, "include")
	t.patch("/v3/routes/{guid}", withRoute(operate, (*call).updateRoute))
	t.delete("/v3/routes/{guid}", 202, (*call).deleteRoute)
	s.routeShareRoutes(t)
	t.get("/v3/routes/{guid}/destinations", withRoute(look, (*call).showDestinations), "guids", "app_guids")
	t.patch("/v3/routes/{guid}/destinations/{destination}", (*call).updateDestination)
	t.post("/v3/routes/{guid}/destinations", 200, (*call).addDestinations)
	t.patch("/v3/routes/{guid}/destinations", withRoute(operate, func(c *call, r *cf.Route) (obj, error) { return c.mapRoute(r, true) }))
	t.delete("/v3/routes/{guid}/destinations/{destination}", 204, (*call).unmapRoute)
	t.delete("/v3/spaces/{guid}/routes", 202, (*call).deleteUnmapped, "unmapped")
}

func withRoute(what right, f func(*call, *cf.Route) (obj, error)) endpoint {
	return func(c *call) (any, error) {
		r, _, err := c.route(what)
		if err != nil {
			return nil, err
		}
		return f(c, r)
	}
}

func (c *call) route(what right) (*cf.Route, *cf.Space, error) {
	r, err := cf.Get[cf.Route](c.tx, c.param("guid"))
	if err != nil {
		return nil, nil, hide(err, "Route")
	}
	s, err := cf.Get[cf.Space](c.tx, r.SpaceGUID)
	if err != nil {
		return nil, nil, hide(err, "Route")
	}
	switch sees := c.audits(s.OrgGUID); {
	case sees && what == look:
		return r, s, nil
	case sees && !c.may(s, look):
		return nil, nil, forbidden()
	}
	s, err = c.ownerOf(sharedRoutes(), r.GUID, r.SpaceGUID, "Route", what)
	return r, s, err
}

var hostForm = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*|\*)?$`)

// goodRoute checks what a route may be called on its domain.
func goodRoute(r *cf.Route, d *cf.Domain) error {
	switch {
	case len(r.Address(d)) > 253+128 || len(r.Host)+len(d.Name) > 252:
		return unprocessable("Host combined with domain name must be no more than 253 characters")
	case !hostForm.MatchString(r.Host):
		return unprocessable("Host must be either \"*\" or contain only alphanumeric characters, \"_\", or \"-\"")
	case r.Host == "" && d.OrgGUID == "":
		return unprocessable("Missing host. Routes in shared domains must have a host defined.")
	case r.Host == "*" && d.Internal:
		return unprocessable("Wildcard hosts are not supported for internal domains.")
	case r.Path != "" && (d.Internal || r.Path == "/" || r.Path[0] != '/' || strings.ContainsAny(r.Path, "?#\\ \n\r\t") || len(r.Path) > 128):
		return unprocessable("Path must start with a slash, have no '?' and at most 128 characters, and an internal domain has none")
	}
	return nil
}

func (c *call) createRoute() (any, error) {
	var b struct {
		Host          string   `json:"host"`
		Path          string   `json:"path"`
		Port          *int     `json:"port"`
		Options       options  `json:"options"`
		Metadata      metadata `json:"metadata"`
		Relationships struct{ Space, Domain one }
	}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	s, err := c.spaceFrom(b.Relationships.Space, operate)
	if err != nil {
		return nil, err
	}
	if err := c.enabled("route_creation"); err != nil {
		return nil, err
	}
	d, err := c.domainFor(b.Relationships.Domain.guid(), s)
	if err != nil {
		return nil, err
	}
	if b.Port != nil && *b.Port != 0 {
		return nil, unprocessable("Routes with protocol 'http' do not support ports.")
	}
	r := &cf.Route{SpaceGUID: s.GUID, DomainGUID: d.GUID, Host: strings.ToLower(b.Host), Path: b.Path}
	if err := b.Options.apply(c, r); err != nil {
		return nil, err
	}
	if err := b.Metadata.apply(&r.Meta); err != nil {
		return nil, err
	}
	if err := c.insertRoute(r, d, s); err != nil {
		return nil, err
	}
	return showRoute(c, r)
}

// domainFor is a domain that a space may make routes in.
func (c *call) domainFor(guid string, s *cf.Space) (*cf.Domain, error) {
	q := cf.Query{Where: []cf.Cond{cf.Is("guid", guid)}, Limit: 1}
	if err := domainsOf(s.OrgGUID)(c, &q, nil); err != nil {
		return nil, err
	}
	list, err := cf.List[cf.Domain](c.tx, q)
	if err == nil && len(list) == 0 {
		err = unprocessable("Invalid domain. Ensure that the domain exists and you have access to it.")
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

func (c *call) insertRoute(r *cf.Route, d *cf.Domain, s *cf.Space) error {
	if err := goodRoute(r, d); err != nil {
		return err
	}
	if err := c.unclaimed(r, d); err != nil {
		return err
	}
	if err := c.tx.Insert(r); err != nil {
		return taken(err, "Route already exists with host '%s'%s for domain '%s'.", r.Host, andPath(r.Path), d.Name)
	}
	if err := c.within(s, routing); err != nil {
		return err
	}
	return c.record("audit.route.create", routeTarget(r), s, nil)
}

// unclaimed refuses a route that would answer for what is somebody else's: the
// platform's own hosts, a host of another domain, and on domains that all
// tenants share every host of another space, whatever the path, and all hosts at
// once.
func (c *call) unclaimed(r *cf.Route, d *cf.Domain) error {
	host := strings.TrimPrefix(r.Host+"."+d.Name, ".")
	if c.hosts[host] {
		return unprocessable("Route conflicts with a reserved system route.")
	}
	domains, err := cf.List[cf.Domain](c.tx, cf.Query{})
	if err != nil {
		return err
	}
	for _, other := range domains {
		if len(other.Name) > len(d.Name) && (host == other.Name || strings.HasSuffix(host, "."+other.Name)) {
			return unprocessable("The host is taken: %s lies in the domain %s", host, other.Name)
		}
	}
	if d.OrgGUID != "" {
		return nil
	}
	if r.Host == "*" && !c.admin() {
		return unprocessable("You do not have sufficient permissions to create a route with a wildcard host on a domain not scoped to an organization.")
	}
	// Below a host too: who answers there can set cookies for it, and on an internal
	// domain stand for one of its instances.
	hosts := []string{r.Host}
	for rest, more := r.Host, true; more; {
		if _, rest, more = strings.Cut(rest, "."); more {
			hosts = append(hosts, rest)
		}
	}
	routes, err := cf.List[cf.Route](c.tx, cf.Query{Where: []cf.Cond{cf.Is("domain_guid", d.GUID), cf.Is("host", hosts...)}})
	for _, other := range routes {
		if other.SpaceGUID != r.SpaceGUID && (other.Path != r.Path || other.Host != r.Host) { // the same path is taken, as inserting it says
			return unprocessable("Routes for this host and domain have been reserved for another space.")
		}
	}
	return err
}

func andPath(p string) string {
	if p == "" {
		return ""
	}
	return " and path '" + p + "'"
}

func (c *call) updateRoute(r *cf.Route) (obj, error) {
	var b struct {
		Options  options  `json:"options"`
		Metadata metadata `json:"metadata"`
	}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	if err := b.Options.apply(c, r); err != nil {
		return nil, err
	}
	if err := b.Metadata.apply(&r.Meta); err != nil {
		return nil, err
	}
	if err := c.tx.Save(r); err != nil {
		return nil, err
	}
	if err := c.note(r, "update"); err != nil {
		return nil, err
	}
	return showRoute(c, r)
}

func (c *call) deleteRoute() (any, error) {
	r, s, err := c.route(operate)
	if err != nil {
		return nil, err
	}
	if err := c.dropRoute(r, s); err != nil {
		return nil, err
	}
	return c.done("route.delete")
}

func routeTarget(r *cf.Route) cf.Actor { return cf.Actor{GUID: r.GUID, Type: "route", Name: r.Host} }

func (c *call) dropRoute(r *cf.Route, s *cf.Space) error {
	if err := c.tx.Delete(r); err != nil {
		return err
	}
	return c.record("audit.route.delete-request", routeTarget(r), s, nil)
}

func (c *call) deleteUnmapped() (any, error) {
	s, err := c.space(c.param("guid"), operate, "Space")
	if err != nil {
		return nil, err
	}
	if c.r.URL.Query().Get("unmapped") != "true" {
		return nil, unprocessable("Mass delete not supported for routes. Use 'unmapped=true' parameter to delete all unmapped routes.")
	}
	routes, err := cf.List[cf.Route](c.tx, cf.Query{Where: []cf.Cond{cf.Is("space_guid", s.GUID)}})
	for _, r := range routes {
		n, err := c.tx.Count(new(cf.Destination), cf.Query{Where: []cf.Cond{cf.Is("route_guid", r.GUID)}})
		if err == nil && n == 0 {
			err = c.dropRoute(r, s)
		}
		if err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	return c.done("space.delete_unmapped_routes")
}
