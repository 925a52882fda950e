package api

import (
	"strings"

	"github.com/dewpaas/dew/cf"
)

func (c *call) admin() bool { return c.id.Has("cloud_controller.admin") }

// auditor sees everything and changes nothing; secrets only if it is a
// read-only admin.
func (c *call) auditor() bool {
	return c.admin() || c.id.Has("cloud_controller.admin_read_only") || c.id.Has("cloud_controller.global_auditor")
}

// scoped refuses tokens that were not given for what the request does.
func (c *call) scoped(write bool) error {
	switch {
	case c.admin(), !write && c.auditor():
	case write && !c.id.Has("cloud_controller.write"), !write && !c.id.Has("cloud_controller.read"):
		return forbidden()
	}
	return nil
}

func (c *call) loadRoles() error {
	c.orgs, c.spaces = map[string]map[string]bool{}, map[string]map[string]bool{}
	roles, err := cf.List[cf.Role](c.tx, cf.Query{Where: []cf.Cond{cf.Is("user_guid", c.id.GUID)}})
	for _, r := range roles {
		if r.OrgGUID != "" {
			note(c.orgs, r.OrgGUID, r.Type)
		} else {
			note(c.spaces, r.SpaceGUID, r.Type)
		}
	}
	return err
}

func note(m map[string]map[string]bool, guid, role string) {
	if m[guid] == nil {
		m[guid] = map[string]bool{}
	}
	m[guid][role] = true
}

// right is what a caller wants to do in a space.
type right uint8

const (
	look    right = iota // any role in it
	operate              // scale, start, stop, map: developers and supporters
	develop              // change apps: developers
	secrets              // see commands, environments and bits: developers
	take                 // download droplets: all but supporters
	manage               // the space itself: its managers and the organization's
)

func (c *call) may(s *cf.Space, what right) bool {
	if c.admin() {
		return true
	}
	r, manager := c.spaces[s.GUID], c.orgs[s.OrgGUID][cf.OrgManager]
	switch what {
	case look:
		return len(r) > 0 || manager || c.auditor()
	case operate:
		return r[cf.SpaceDeveloper] || r[cf.SpaceSupporter]
	case develop:
		return r[cf.SpaceDeveloper]
	case take:
		return r[cf.SpaceDeveloper] || r[cf.SpaceManager] || r[cf.SpaceAuditor] || manager || c.auditor()
	case secrets:
		return r[cf.SpaceDeveloper] || c.id.Has("cloud_controller.admin_read_only")
	}
	return r[cf.SpaceManager] || manager
}

// space loads a space for a purpose. Who may not even look is told that what he
// asked for is absent.
func (c *call) space(guid string, what right, name string) (*cf.Space, error) {
	s, err := cf.Get[cf.Space](c.tx, guid)
	if err != nil || !c.may(s, look) {
		return nil, hide(err, name)
	}
	return s, c.allow(s, what)
}

// allow refuses what the caller may not do in a space that he knows of.
func (c *call) allow(s *cf.Space, what right) error {
	if !c.may(s, what) {
		return forbidden()
	}
	if what == look || what == secrets || what == take {
		return nil
	}
	return c.notSuspended(s.OrgGUID)
}

// notSuspended lets only admins change what is in an organization that is.
func (c *call) notSuspended(orgGUID string) error {
	if c.admin() {
		return nil
	}
	o, err := cf.Get[cf.Organization](c.tx, orgGUID)
	if err == nil && o.Suspended {
		err = &refusal{403, 10017, "CF-OrgSuspended", "The organization is suspended"}
	}
	return err
}

// spaceFrom is the space that a body names, for a purpose.
func (c *call) spaceFrom(o one, what right) (*cf.Space, error) {
	s, err := c.space(o.guid(), what, "Space")
	return s, unlessForbidden(err, unprocessable("Invalid space. Ensure that the space exists and you have access to it."))
}

// orgFrom is the organization that a body names, for a change.
func (c *call) orgFrom(guid string) (*cf.Organization, error) {
	o, err := c.org(guid, true)
	return o, unlessForbidden(err, unprocessable("Invalid organization. Ensure the organization exists and you have access to it."))
}

// org loads an organization that the caller may see.
func (c *call) org(guid string, change bool) (*cf.Organization, error) {
	o, err := cf.Get[cf.Organization](c.tx, guid)
	if err != nil || !c.seesOrg(guid) {
		return nil, hide(err, "Organization")
	}
	if !change {
		return o, nil
	}
	if !c.admin() && !c.orgs[guid][cf.OrgManager] {
		return nil, forbidden()
	}
	return o, c.notSuspended(guid)
}

func (c *call) seesOrg(guid string) bool { return c.auditor() || len(c.orgs[guid]) > 0 }

func keysOf(m map[string]map[string]bool) []string {
	list := []string{}
	for k := range m {
		list = append(list, k)
	}
	return list
}

func (c *call) managed() []string {
	list := []string{}
	for guid, roles := range c.orgs {
		if roles[cf.OrgManager] {
			list = append(list, guid)
		}
	}
	return list
}

func visibleOrgs(c *call, q *cf.Query) error {
	if !c.auditor() {
		q.Where = append(q.Where, cf.Is("guid", keysOf(c.orgs)...))
	}
	return nil
}

func visibleSpaces(c *call, q *cf.Query) error {
	if !c.auditor() {
		q.AnyOf = append(q.AnyOf, []cf.Cond{cf.Is("guid", keysOf(c.spaces)...), cf.Is("organization_guid", c.managed()...)})
	}
	return nil
}

// inVisibleSpaces is the visibility of all that lives in a space.
func inVisibleSpaces(c *call, q *cf.Query) error {
	if c.auditor() {
		return nil
	}
	guids, err := c.seenSpaces()
	q.Where = append(q.Where, cf.Is("space_guid", guids...))
	return err
}

// audits tells that the caller is an auditor of the organization: of what is in
// its spaces those see the routes, and nothing else.
func (c *call) audits(org string) bool { return c.orgs[org][cf.OrgAuditor] }

// auditedSpaces are the guids of the spaces whose routes the caller may look at.
func (c *call) auditedSpaces() ([]string, error) {
	guids, err := c.seenSpaces()
	if err != nil {
		return nil, err
	}
	var audited []string
	for org := range c.orgs {
		if c.audits(org) {
			audited = append(audited, org)
		}
	}
	more, err := guidsOf[cf.Space](c, cf.Query{Where: []cf.Cond{cf.Is("organization_guid", audited...)}})
	return append(guids, more...), err
}

// seenSpaces are the guids of the spaces that the caller may look into.
func (c *call) seenSpaces() ([]string, error) {
	var q cf.Query
	visibleSpaces(c, &q) // never fails
	return guidsOf[cf.Space](c, q)
}

func guidsOf[T any, P interface {
	*T
	cf.Record
}](c *call, q cf.Query) ([]string, error) {
	list, err := cf.List[T, P](c.tx, q)
	guids := []string{}
	for _, r := range list {
		guids = append(guids, r.Base().GUID)
	}
	return guids, err
}

// only refuses everybody but admins.
func (c *call) only() error {
	if !c.admin() {
		return forbidden()
	}
	return nil
}

// enabled refuses what a feature flag forbids to everybody but admins.
func (c *call) enabled(flag string) error {
	if c.admin() {
		return nil
	}
	return c.permitted(flag)
}

// note records what happened to a record, named after its noun: most changes
// need no more words.
func (c *call) note(r cf.Record, verb string) error {
	keys := r.Keys()
	kind := strings.TrimSuffix(string(r.Noun()), "s")
	if q, ok := r.(*cf.Quota); ok {
		kind = "organization_quota"
		if q.OrgGUID != "" {
			kind = "space_quota"
		}
	}
	name, _ := keys["name"].(string)
	if user, ok := r.(*cf.User); ok {
		name = user.Username
	}
	target := cf.Actor{GUID: r.Base().GUID, Type: kind, Name: name}
	e := &cf.AuditEvent{Type: "audit." + kind + "." + verb, Target: target, Actor: c.actor()}
	e.OrgGUID, _ = keys["organization_guid"].(string)
	if e.SpaceGUID, _ = keys["space_guid"].(string); e.SpaceGUID != "" {
		return c.recordIn(e.SpaceGUID, e.Type, target, nil)
	}
	switch r := r.(type) {
	case *cf.Organization:
		e.OrgGUID = r.GUID
	case *cf.Space:
		e.SpaceGUID = r.GUID
	}
	return c.tx.Insert(e)
}

func (c *call) actor() cf.Actor {
	a := cf.Actor{GUID: c.id.GUID, Type: "user", Name: c.id.Name}
	if c.id.Client {
		a.Type = "client"
	}
	return a
}

// recordBits records what happened to a package or a droplet as an event of its app.
func (c *call) recordBits(r cf.Record, verb string) error {
	kind, keys := strings.TrimSuffix(string(r.Noun()), "s"), r.Keys()
	space, _ := keys["space_guid"].(string)
	app, _ := keys["app_guid"].(string)
	return c.recordIn(space, "audit.app."+kind+"."+verb, cf.Actor{GUID: app, Type: "app"}, obj{kind + "_guid": r.Base().GUID})
}

// recordIn is record for a thing that lives in a space.
func (c *call) recordIn(space, event string, target cf.Actor, data map[string]any) error {
	s, err := cf.Get[cf.Space](c.tx, space)
	if err != nil {
		return err
	}
	return c.record(event, target, s, data)
}

// record writes what happened to the audit log, with the change itself.
func (c *call) record(event string, target cf.Actor, s *cf.Space, data map[string]any) error {
	e := &cf.AuditEvent{Type: event, Target: target, Data: data, Actor: c.actor()}
	if s != nil {
		e.SpaceGUID, e.OrgGUID = s.GUID, s.OrgGUID
	}
	return c.tx.Insert(e)
}
