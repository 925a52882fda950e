package api

import (
	"cmp"
	"regexp"
	"strings"

	"github.com/dewpaas/dew/cf"
)

var domainList = listing[*cf.Domain]{
	filters: filters{"names": byLower("name"), "organization_guids": by("organization_guid")}, order: []string{"name"}, visible: visibleDomains, show: showDomain,
}

// visibleDomains: shared ones, and those owned by or shared with an
// organization that the caller sees.
func visibleDomains(c *call, q *cf.Query) error {
	if c.admin() {
		return nil
	}
	return domainsOf(keysOf(c.orgs)...)(c, q, nil)
}

func domainsOf(orgs ...string) filter {
	return func(c *call, q *cf.Query, _ []string) error {
		shares, err := cf.List[cf.DomainShare](c.tx, cf.Query{Where: []cf.Cond{cf.Is("organization_guid", orgs...)}})
		guids := []string{}
		for _, s := range shares {
			guids = append(guids, s.DomainGUID)
		}
		q.AnyOf = append(q.AnyOf, []cf.Cond{{Key: "organization_guid", Op: cf.Absent}, cf.Is("organization_guid", orgs...), cf.Is("guid", guids...)})
		return err
	}
}

func showDomain(c *call, d *cf.Domain) (obj, error) {
	shares, err := cf.List[cf.DomainShare](c.tx, cf.Query{Where: []cf.Cond{cf.Is("domain_guid", d.GUID)}})
	guids := []string{}
	for _, s := range shares {
		if c.admin() || len(c.orgs[s.OrgGUID]) > 0 {
			guids = append(guids, s.OrgGUID)
		}
	}
	return c.described(&d.Meta, "domains", obj{"name": d.Name, "internal": d.Internal, "router_group": nil, "supported_protocols": []string{"http"},
		"relationships": obj{"organization": toOne(d.OrgGUID), "shared_organizations": toMany(guids)}}), err
}

func (s *Server) domainRoutes(t table) {
	list(t, "/v3/domains", domainList)
	t.post("/v3/domains", 201, (*call).createDomain)
	t.get("/v3/domains/{guid}", func(c *call) (any, error) {
		d, err := c.domainByGUID(c.param("guid"))
		if err != nil {
			return nil, err
		}
		return showDomain(c, d)
	})
	t.patch("/v3/domains/{guid}", (*call).updateDomain)
	t.delete("/v3/domains/{guid}", 202, (*call).deleteDomain)
	t.get("/v3/domains/{guid}/route_reservations", (*call).reserved, "host", "path", "port", "page", "per_page")
	t.post("/v3/domains/{guid}/relationships/shared_organizations", 200, (*call).shareDomain)
	t.delete("/v3/domains/{guid}/relationships/shared_organizations/{org}", 204, (*call).unshareDomain)
	t.get("/v3/organizations/{guid}/domains", func(c *call) (any, error) {
		o, err := c.org(c.param("guid"), false)
		if err != nil {
			return nil, err
		}
		q, err := domainList.query(c)
		if err == nil {
			err = domainsOf(o.GUID)(c, &q, nil)
		}
		if err != nil {
			return nil, err
		}
		return answer[cf.Domain](c, domainList, q)
	}, domainList.params()...)
	t.get("/v3/organizations/{guid}/domains/default", withOrg(false, func(c *call, o *cf.Organization) (obj, error) {
		d, err := c.defaultDomain()
		if err != nil {
			return nil, hide(err, "Domain")
		}
		return showDomain(c, d)
	}))
}

func (c *call) defaultDomain() (*cf.Domain, error) {
	list, err := cf.List[cf.Domain](c.tx, cf.Query{Where: []cf.Cond{{Key: "organization_guid", Op: cf.Absent}, cf.Is("internal", int64(0))}, Order: []cf.Order{{Key: "created_at"}}, Limit: 1})
	if err == nil && len(list) == 0 {
		err = &cf.Error{Op: "default domain", Kind: cf.NotFound}
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

func (c *call) domainByGUID(guid string) (*cf.Domain, error) {
	q := cf.Query{Where: []cf.Cond{cf.Is("guid", guid)}, Limit: 1}
	if err := visibleDomains(c, &q); err != nil {
		return nil, err
	}
	list, err := cf.List[cf.Domain](c.tx, q)
	if err != nil || len(list) == 0 {
		return nil, hide(err, "Domain")
	}
	return list[0], nil
}

// ownDomain loads a domain that the caller may change.
func (c *call) ownDomain() (*cf.Domain, error) {
	d, err := c.domainByGUID(c.param("guid"))
	if err != nil || c.admin() {
		return d, err
	}
	if d.OrgGUID == "" || !c.orgs[d.OrgGUID][cf.OrgManager] {
		return nil, forbidden()
	}
	return d, c.notSuspended(d.OrgGUID)
}

var domainForm = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (c *call) createDomain() (any, error) {
	var b struct {
		Name          string `json:"name"`
		Internal      bool   `json:"internal"`
		RouterGroup   *one   `json:"router_group"`
		Relationships struct {
			Organization one  `json:"organization"`
			Shared       many `json:"shared_organizations"`
		} `json:"relationships"`
		Metadata metadata `json:"metadata"`
	}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	d := &cf.Domain{Name: strings.ToLower(b.Name), Internal: b.Internal, OrgGUID: b.Relationships.Organization.guid()}
	switch {
	case b.RouterGroup != nil:
		return nil, unprocessable("TCP routes are not supported: leave out the router group.")
	case len(d.Name) > 253 || !domainForm.MatchString(d.Name):
		return nil, unprocessable("Name does not comply with RFC 1035 standards")
	case isNumber(d.Name[strings.LastIndexByte(d.Name, '.')+1:]): // an address would be one
		return nil, unprocessable("Name does not comply with RFC 1035 standards")
	case d.Internal && d.OrgGUID != "":
		return nil, unprocessable("Can not associate an internal domain with an organization")
	}
	if d.OrgGUID == "" {
		if err := c.only(); err != nil {
			return nil, err
		}
	} else if _, err := c.orgFrom(d.OrgGUID); err != nil {
		return nil, err
	} else if err := c.enabled("private_domain_creation"); err != nil {
		return nil, err
	}
	if err := c.overlaps(d); err != nil {
		return nil, err
	}
	if err := b.Metadata.apply(&d.Meta); err != nil {
		return nil, err
	}
	if err := c.tx.Insert(d); err != nil {
		return nil, taken(err, `The domain name "%s" is already in use`, d.Name)
	}
	if err := c.note(d, "create"); err != nil {
		return nil, err
	}
	return showDomain(c, d)
}

// overlaps keeps an organization from taking names below a domain of another:
// whoever owned them could answer for its routes.
func (c *call) overlaps(d *cf.Domain) error {
	all, err := cf.List[cf.Domain](c.tx, cf.Query{})
	if err != nil {
		return err
	}
	for host := range c.hosts {
		if !c.admin() && (host == d.Name || strings.HasSuffix(host, "."+d.Name)) {
			return unprocessable(`The domain name "%s" cannot be created because "%s" is the platform's own`, d.Name, host)
		}
	}
	for _, other := range all {
		below := strings.HasSuffix(d.Name, "."+other.Name)
		above := strings.HasSuffix(other.Name, "."+d.Name)
		mine := other.OrgGUID == d.OrgGUID || c.admin() && other.OrgGUID == ""
		if (below || above) && !mine {
			return unprocessable(`The domain name "%s" cannot be created because "%s" is already reserved by another domain`, d.Name, other.Name)
		}
	}
	return nil
}

func isNumber(label string) bool { return strings.Trim(label, "0123456789") == "" }

func (c *call) updateDomain() (any, error) {
	d, err := c.ownDomain()
	if err != nil {
		return nil, err
	}
	var b struct {
		Metadata metadata `json:"metadata"`
	}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	if err := b.Metadata.apply(&d.Meta); err != nil {
		return nil, err
	}
	if err := c.tx.Save(d); err != nil {
		return nil, err
	}
	if err := c.note(d, "update"); err != nil {
		return nil, err
	}
	return showDomain(c, d)
}

func (c *call) deleteDomain() (any, error) {
	d, err := c.ownDomain()
	if err != nil {
		return nil, err
	}
	shares, err := c.tx.Count(new(cf.DomainShare), cf.Query{Where: []cf.Cond{cf.Is("domain_guid", d.GUID)}})
	if err == nil && shares > 0 {
		err = unprocessable("This domain is shared with other organizations. Unshare before deleting.")
	}
	if err != nil {
		return nil, err
	}
	if err := c.tx.Delete(d); err != nil {
		return nil, err
	}
	if err := c.note(d, "delete"); err != nil {
		return nil, err
	}
	return c.done("domain.delete")
}

func (c *call) shareDomain() (any, error) {
	var m many
	d, err := c.ownDomain()
	if err == nil {
		err = c.read(&m)
	}
	if err == nil && d.OrgGUID == "" {
		err = unprocessable("Domains can not be shared with other organizations unless they are scoped to an organization.")
	}
	for _, to := range m.Data {
		if err == nil {
			err = c.shareWith(d, to.GUID)
		}
	}
	if err != nil {
		return nil, err
	}
	return m, c.note(d, "share")
}

// shareWith shares a domain with an organization that may have it already.
func (c *call) shareWith(d *cf.Domain, org string) error {
	if _, err := c.orgFrom(org); err != nil {
		return err
	}
	old, err := cf.First[cf.DomainShare](c.tx, cf.Is("domain_guid", d.GUID), cf.Is("organization_guid", org))
	if err != nil || old != nil {
		return err
	}
	return c.tx.Insert(&cf.DomainShare{DomainGUID: d.GUID, OrgGUID: org})
}

func (c *call) unshareDomain() (any, error) {
	// Managers of either side may end it.
	d, err := c.domainByGUID(c.param("guid"))
	if err != nil {
		return nil, err
	}
	if !c.admin() && !c.orgs[d.OrgGUID][cf.OrgManager] && !c.orgs[c.param("org")][cf.OrgManager] {
		return nil, forbidden()
	}
	s, err := cf.First[cf.DomainShare](c.tx, cf.Is("domain_guid", d.GUID), cf.Is("organization_guid", c.param("org")))
	if err != nil || s == nil {
		return nil, hide(err, "Organization")
	}
	if err := c.tx.Delete(s); err != nil {
		return nil, err
	}
	return nil, c.note(d, "unshare")
}

func (c *call) reserved() (any, error) {
	d, err := c.domainByGUID(c.param("guid"))
	if err != nil {
		return nil, err
	}
	v := c.r.URL.Query()
	r, err := cf.First[cf.Route](c.tx, cf.Is("domain_guid", d.GUID), cf.Is("host", strings.ToLower(v.Get("host"))), cf.Is("path", v.Get("path")))
	return obj{"matching_route": r != nil}, err
}

var routeList = listing[*cf.Route]{
	filters: filters{"space_guids": by("space_guid"), "domain_guids": by("domain_guid"), "hosts": byLower("host"), "paths": by("path"),
		"organization_guids": byOrg, "ports": byNone, "service_instance_guids": byNone, // there are no TCP routes and no route services
		"app_guids": func(c *call, q *cf.Query, values []string) error {
			guids, err := c.mapped(values...)
			q.Where = append(q.Where, cf.Is("guid", guids...))
			return err
		}},
	visible: inAuditedSpaces, show: showRoute,
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

func (s *Server) routeRoutes(t table) {
	list(t, "/v3/routes", routeList)
	t.post("/v3/routes", 201, (*call).createRoute)
	t.get("/v3/routes/{guid}", func(c *call) (any, error) { return seen(c, routeList, "Route") }, "include")
	t.patch("/v3/routes/{guid}", withRoute(operate, (*call).updateRoute))
	t.delete("/v3/routes/{guid}", 202, (*call).deleteRoute)
	t.get("/v3/routes/{guid}/relationships/shared_spaces", withRoute(look, func(c *call, r *cf.Route) (obj, error) {
		return obj{"data": []obj{}, "links": obj{"self": c.link("routes", r.GUID, "relationships", "shared_spaces")}}, nil
	}))
	t.post("/v3/routes/{guid}/relationships/shared_spaces", 200, withRoute(operate, func(*call, *cf.Route) (obj, error) { return nil, disabled("route_sharing") }))
	t.get("/v3/routes/{guid}/destinations", withRoute(look, (*call).showDestinations), "guids", "app_guids")
	t.patch("/v3/routes/{guid}/destinations/{destination}", (*call).updateDestination)
	t.post("/v3/routes/{guid}/destinations", 200, withRoute(operate, func(c *call, r *cf.Route) (obj, error) { return c.mapRoute(r, false) }))
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
	s, err = c.space(r.SpaceGUID, what, "Route")
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
	return c.record("audit.route.create", cf.Actor{GUID: r.GUID, Type: "route", Name: r.Host}, s, nil)
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

func (c *call) dropRoute(r *cf.Route, s *cf.Space) error {
	if err := c.tx.Delete(r); err != nil {
		return err
	}
	return c.record("audit.route.delete-request", cf.Actor{GUID: r.GUID, Type: "route", Name: r.Host}, s, nil)
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
	if err != nil || a.SpaceGUID != r.SpaceGUID {
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

func target(a *cf.App) cf.Actor { return cf.Actor{GUID: a.GUID, Type: "app", Name: a.Name} }

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
