package api

import (
	"strings"
	"unicode"

	"github.com/dewpaas/dew/cf"
)

var orgList = listing[*cf.Organization]{
	filters: filters{"names": by("name")}, order: []string{"name"}, visible: visibleOrgs, show: showOrg,
}

func showOrg(c *call, o *cf.Organization) (obj, error) {
	return c.described(&o.Meta, "organizations", obj{"name": o.Name, "suspended": o.Suspended, "relationships": obj{"quota": toOne(o.QuotaGUID)}}), nil
}

var spaceList = listing[*cf.Space]{
	filters: filters{"names": by("name"), "organization_guids": by("organization_guid")}, order: []string{"name"},
	visible: visibleSpaces, show: showSpace,
	includes: map[string]func(*call, []*cf.Space, obj) error{"organization": includeOrgs, "org": includeOrgs},
}

func showSpace(c *call, s *cf.Space) (obj, error) {
	return c.described(&s.Meta, "spaces", obj{"name": s.Name, "relationships": obj{"organization": toOne(s.OrgGUID), "quota": toOne(s.QuotaGUID)}}), nil
}

func includeOrgs(c *call, page []*cf.Space, included obj) error {
	return includeIn(c, included, "organizations", each(page, func(s *cf.Space) string { return s.OrgGUID }), showOrg)
}

// includeIn adds the records with these guids to the block of that name.
func includeIn[T any, P interface {
	*T
	cf.Record
}](c *call, included obj, name string, guids []string, show func(*call, P) (obj, error)) error {
	list, err := cf.List[T, P](c.tx, cf.Query{Where: []cf.Cond{cf.Is("guid", guids...)}})
	block := []obj{}
	for _, r := range list {
		o, err := show(c, r)
		if err != nil {
			return err
		}
		block = append(block, o)
	}
	included[name] = block
	return err
}

func (s *Server) orgRoutes(t table) {
	list(t, "/v3/organizations", orgList)
	t.post("/v3/organizations", 201, (*call).createOrg)
	t.get("/v3/organizations/{guid}", withOrg(false, showOrg))
	t.patch("/v3/organizations/{guid}", withOrg(true, (*call).updateOrg))
	t.delete("/v3/organizations/{guid}", 202, (*call).deleteOrg)
	t.get("/v3/organizations/{guid}/relationships/default_isolation_segment", withOrg(false, func(*call, *cf.Organization) (obj, error) { return toOne(""), nil }))
	t.patch("/v3/organizations/{guid}/relationships/default_isolation_segment", withOrg(true, noSegment))
	list(t, "/v3/organizations/{guid}/users", userList, func(c *call, q *cf.Query, _ []string) error {
		o, err := c.org(c.param("guid"), false)
		if err != nil {
			return err
		}
		return c.members(q, cf.Is("organization_guid", o.GUID))
	})
	list(t, "/v3/spaces", spaceList)
	t.post("/v3/spaces", 201, (*call).createSpace)
	t.get("/v3/spaces/{guid}", func(c *call) (any, error) { return seen(c, spaceList, "Space") }, "include")
	t.patch("/v3/spaces/{guid}", withSpace(manage, (*call).updateSpace))
	t.delete("/v3/spaces/{guid}", 202, (*call).deleteSpace)
	t.get("/v3/spaces/{guid}/relationships/isolation_segment", withSpace(look, func(*call, *cf.Space) (obj, error) { return toOne(""), nil }))
	t.patch("/v3/spaces/{guid}/relationships/isolation_segment", withSpace(look, func(c *call, s *cf.Space) (obj, error) {
		if !c.admin() && !c.orgs[s.OrgGUID][cf.OrgManager] {
			return nil, forbidden()
		}
		return noSegment(c, nil)
	}))
	list(t, "/v3/spaces/{guid}/users", userList, func(c *call, q *cf.Query, _ []string) error {
		s, err := c.space(c.param("guid"), look, "Space")
		if err != nil {
			return err
		}
		return c.members(q, cf.Is("space_guid", s.GUID))
	})
}

func withOrg(change bool, f func(*call, *cf.Organization) (obj, error)) endpoint {
	return func(c *call) (any, error) {
		o, err := c.org(c.param("guid"), change)
		if err != nil {
			return nil, err
		}
		return f(c, o)
	}
}

func withSpace(what right, f func(*call, *cf.Space) (obj, error)) endpoint {
	return func(c *call) (any, error) {
		s, err := c.space(c.param("guid"), what, "Space")
		if err != nil {
			return nil, err
		}
		return f(c, s)
	}
}

func goodName(name string) error {
	if strings.TrimSpace(name) == "" {
		return unprocessable("Name can't be blank")
	}
	if len(name) > 255 {
		return unprocessable("Name is too long (maximum is 255 characters)")
	}
	for _, r := range name {
		if unicode.IsControl(r) { // some of above 0x7f too, which terminals obey
			return unprocessable("Name must not contain control characters")
		}
	}
	return nil
}

// taken gives the answer to a name that another won.
func taken(err error, format string, args ...any) error {
	if cf.KindOf(err) == cf.Exists {
		return unprocessable(format, args...)
	}
	return err
}

type orgBody struct {
	Name      *string  `json:"name"`
	Suspended *bool    `json:"suspended"`
	Metadata  metadata `json:"metadata"`
}

func (b orgBody) apply(c *call, o *cf.Organization) error {
	if b.Name != nil {
		o.Name = *b.Name
	}
	if b.Suspended != nil {
		if *b.Suspended != o.Suspended && !c.admin() {
			return forbidden()
		}
		o.Suspended = *b.Suspended
	}
	if err := goodName(o.Name); err != nil {
		return err
	}
	return b.Metadata.apply(&o.Meta)
}

func (c *call) createOrg() (any, error) {
	open, err := c.flag("user_org_creation")
	if err != nil || !open && !c.admin() {
		return nil, orForbidden(err)
	}
	quota, err := cf.One[cf.Quota](c.tx, cf.Is("name", "default"), cf.Cond{Key: "organization_guid", Op: cf.Absent})
	if err != nil {
		return nil, err
	}
	var b orgBody
	if err := c.read(&b); err != nil {
		return nil, err
	}
	o := &cf.Organization{QuotaGUID: quota.GUID}
	if err := b.apply(c, o); err != nil {
		return nil, err
	}
	if err := c.tx.Insert(o); err != nil {
		return nil, taken(err, "Organization '%s' already exists.", o.Name)
	}
	if err := c.makeManager(o); err != nil {
		return nil, err
	}
	if err := c.note(o, "create"); err != nil {
		return nil, err
	}
	return showOrg(c, o)
}

func orForbidden(err error) error {
	if err != nil {
		return err
	}
	return forbidden()
}

// makeManager lets the creator of an organization in, unless he is an admin,
// who is in already.
func (c *call) makeManager(o *cf.Organization) error {
	if c.admin() || c.id.Client {
		return nil
	}
	for _, role := range []string{cf.OrgUser, cf.OrgManager} {
		if err := c.tx.Insert(&cf.Role{Type: role, UserGUID: c.id.GUID, OrgGUID: o.GUID}); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) updateOrg(o *cf.Organization) (obj, error) {
	var b orgBody
	if err := c.read(&b); err != nil {
		return nil, err
	}
	if err := b.apply(c, o); err != nil {
		return nil, err
	}
	if err := c.tx.Save(o); err != nil {
		return nil, taken(err, "Organization name '%s' is already taken.", o.Name)
	}
	if err := c.note(o, "update"); err != nil {
		return nil, err
	}
	return showOrg(c, o)
}

func (c *call) deleteOrg() (any, error) {
	if _, err := c.org(c.param("guid"), false); err != nil {
		return nil, err
	}
	if err := c.only(); err != nil {
		return nil, err
	}
	o, err := cf.Get[cf.Organization](c.tx, c.param("guid"))
	if err != nil {
		return nil, err
	}
	spaces, err := guidsOf[cf.Space](c, cf.Query{Where: []cf.Cond{cf.Is("organization_guid", o.GUID)}})
	if err != nil {
		return nil, err
	}
	if err := c.empty(spaces); err != nil {
		return nil, err
	}
	if err := c.tx.Delete(o); err != nil {
		return nil, err
	}
	if err := c.record("audit.organization.delete-request", cf.Actor{GUID: o.GUID, Type: "organization", Name: o.Name}, nil, nil); err != nil {
		return nil, err
	}
	return c.done("organization.delete")
}

// members narrows a list of users to those with a role.
func (c *call) members(q *cf.Query, where cf.Cond) error {
	roles, err := cf.List[cf.Role](c.tx, cf.Query{Where: []cf.Cond{where}})
	guids := []string{}
	for _, r := range roles {
		guids = append(guids, r.UserGUID)
	}
	q.Where = append(q.Where, cf.Is("guid", guids...))
	return err
}

// noSegment takes an isolation segment away, which there never is.
func noSegment(c *call, _ *cf.Organization) (obj, error) {
	var b one
	if err := c.read(&b); err != nil {
		return nil, err
	}
	if b.Data != nil {
		return nil, unprocessable("Isolation segments are not supported: every instance is isolated in a guest of its own.")
	}
	return toOne(""), nil
}

type spaceBody struct {
	Name          *string `json:"name"`
	Relationships struct {
		Organization one `json:"organization"`
	} `json:"relationships"`
	Metadata metadata `json:"metadata"`
}

func (c *call) createSpace() (any, error) {
	var b spaceBody
	if err := c.read(&b); err != nil {
		return nil, err
	}
	o, err := c.orgFrom(b.Relationships.Organization.guid())
	if err != nil {
		return nil, err
	}
	s := &cf.Space{OrgGUID: o.GUID}
	if b.Name != nil {
		s.Name = *b.Name
	}
	if err := goodName(s.Name); err != nil {
		return nil, err
	}
	if err := b.Metadata.apply(&s.Meta); err != nil {
		return nil, err
	}
	if err := c.tx.Insert(s); err != nil {
		return nil, taken(err, "Name must be unique per organization")
	}
	if err := c.record("audit.space.create", cf.Actor{GUID: s.GUID, Type: "space", Name: s.Name}, s, nil); err != nil {
		return nil, err
	}
	return showSpace(c, s)
}

func (c *call) updateSpace(s *cf.Space) (obj, error) {
	var b spaceBody
	if err := c.read(&b); err != nil {
		return nil, err
	}
	if b.Name != nil {
		s.Name = *b.Name
	}
	if err := goodName(s.Name); err != nil {
		return nil, err
	}
	if err := b.Metadata.apply(&s.Meta); err != nil {
		return nil, err
	}
	if err := c.tx.Save(s); err != nil {
		return nil, taken(err, "Name must be unique per organization")
	}
	if err := c.note(s, "update"); err != nil {
		return nil, err
	}
	return showSpace(c, s)
}

func (c *call) deleteSpace() (any, error) {
	s, err := c.space(c.param("guid"), look, "Space")
	if err != nil {
		return nil, err
	}
	if !c.admin() && !c.orgs[s.OrgGUID][cf.OrgManager] {
		return nil, forbidden()
	}
	if err := c.empty([]string{s.GUID}); err != nil {
		return nil, err
	}
	if err := c.tx.Delete(s); err != nil {
		return nil, err
	}
	if err := c.record("audit.space.delete-request", cf.Actor{GUID: s.GUID, Type: "space", Name: s.Name}, s, nil); err != nil {
		return nil, err
	}
	return c.done("space.delete")
}

// empty tells brokers and runtime what goes with the spaces.
func (c *call) empty(spaces []string) error {
	in := cf.Is("space_guid", spaces...)
	if err := c.release(in, true); err != nil {
		return err
	}
	apps, err := cf.List[cf.App](c.tx, cf.Query{Where: []cf.Cond{in}})
	for _, a := range apps {
		c.changed(a)
	}
	return err
}
