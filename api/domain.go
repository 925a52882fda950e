package api

import (
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
	if c.auditor() {
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
		if c.seesOrg(s.OrgGUID) {
			guids = append(guids, s.OrgGUID)
		}
	}
	return c.described(&d.Meta, "domains", obj{"name": d.Name, "internal": d.Internal, "router_group": nil, "supported_protocols": []string{"http"},
		"relationships": obj{"organization": toOne(d.OrgGUID), "shared_organizations": toMany(guids)}}), err
}

func (s *Server) domainRoutes(t table) {
	list(t, "/v3/domains", domainList)
	t.post("/v3/domains", 201, (*call).createDomain)
	t.get("/v3/domains/{guid}", func(c *call) (any, error) { return seen(c, domainList, "Domain") })
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

// ownDomain loads a domain that the caller may change.
func (c *call) ownDomain() (*cf.Domain, error) {
	d, err := sought(c, domainList, "Domain")
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
	d, err := sought(c, domainList, "Domain")
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
	d, err := sought(c, domainList, "Domain")
	if err != nil {
		return nil, err
	}
	v := c.r.URL.Query()
	r, err := cf.First[cf.Route](c.tx, cf.Is("domain_guid", d.GUID), cf.Is("host", strings.ToLower(v.Get("host"))), cf.Is("path", v.Get("path")))
	return obj{"matching_route": r != nil}, err
}
