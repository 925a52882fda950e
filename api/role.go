package api

import (
	"strings"

	"github.com/dewpaas/dew/cf"
)

var roleList = listing[*cf.Role]{
	filters: filters{"types": by("type"), "user_guids": by("user_guid"), "organization_guids": by("organization_guid"), "space_guids": by("space_guid")},
	visible: func(c *call, q *cf.Query) error {
		if c.auditor() {
			return nil
		}
		var sq cf.Query
		if err := inVisibleSpaces(c, &sq); err != nil {
			return err
		}
		q.AnyOf = append(q.AnyOf, []cf.Cond{cf.Is("user_guid", c.id.GUID), cf.Is("organization_guid", keysOf(c.orgs)...), sq.Where[0]})
		return nil
	},
	show: showRole,
	includes: map[string]func(*call, []*cf.Role, obj) error{
		"user": func(c *call, page []*cf.Role, included obj) error {
			return includeIn(c, included, "users", each(page, func(r *cf.Role) string { return r.UserGUID }), showUser)
		},
		"space": func(c *call, page []*cf.Role, included obj) error {
			return includeIn(c, included, "spaces", each(page, func(r *cf.Role) string { return r.SpaceGUID }), showSpace)
		},
		"organization": func(c *call, page []*cf.Role, included obj) error {
			return includeIn(c, included, "organizations", each(page, func(r *cf.Role) string { return r.OrgGUID }), showOrg)
		}},
}

func showRole(c *call, r *cf.Role) (obj, error) {
	return c.base(&r.Meta, "roles", obj{"type": r.Type, "relationships": obj{"user": toOne(r.UserGUID), "organization": toOne(r.OrgGUID), "space": toOne(r.SpaceGUID)}}), nil
}

var userList = listing[*cf.User]{
	filters: filters{"usernames": by("username"), "partial_usernames": byPart("username"), "origins": by("origin")}, order: []string{"username"}, show: showUser,
	visible: func(c *call, q *cf.Query) error {
		if c.auditor() {
			return nil
		}
		roles, err := cf.List[cf.Role](c.tx, cf.Query{Where: []cf.Cond{cf.Is("organization_guid", keysOf(c.orgs)...)}})
		guids := []string{c.id.GUID}
		for _, r := range roles {
			guids = append(guids, r.UserGUID)
		}
		q.Where = append(q.Where, cf.Is("guid", guids...))
		return err
	},
}

func showUser(c *call, u *cf.User) (obj, error) {
	var name, origin any
	presentation := u.GUID
	if u.Username != "" {
		name, origin, presentation = u.Username, u.Origin, u.Username
	}
	return c.described(&u.Meta, "users", obj{"username": name, "presentation_name": presentation, "origin": origin}), nil
}

func (s *Server) roleRoutes(t table) {
	list(t, "/v3/roles", roleList)
	t.post("/v3/roles", 201, (*call).createRole)
	t.get("/v3/roles/{guid}", func(c *call) (any, error) { return seen(c, roleList, "Role") }, "include")
	t.delete("/v3/roles/{guid}", 202, (*call).deleteRole)
	list(t, "/v3/users", userList)
	t.post("/v3/users", 201, (*call).createUser)
	t.get("/v3/users/{guid}", func(c *call) (any, error) { return seen(c, userList, "User") })
	t.patch("/v3/users/{guid}", func(c *call) (any, error) {
		u, err := sought(c, userList, "User")
		if err == nil {
			err = c.only()
		}
		if err != nil {
			return nil, err
		}
		return relabel(showUser)(c, u)
	})
	t.delete("/v3/users/{guid}", 202, func(c *call) (any, error) {
		u, err := sought(c, userList, "User")
		if err == nil {
			err = c.only()
		}
		if err != nil {
			return nil, err
		}
		if err := c.tx.Delete(u); err != nil {
			return nil, err
		}
		if err := c.note(u, "delete"); err != nil {
			return nil, err
		}
		return c.done("user.delete")
	})
}

// createUser makes the user known under the guid that the UAA gave.
func (c *call) createUser() (any, error) {
	if err := c.only(); err != nil {
		return nil, err
	}
	var b struct {
		GUID     string   `json:"guid"`
		Username string   `json:"username"`
		Origin   string   `json:"origin"`
		Metadata metadata `json:"metadata"`
	}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	switch {
	case b.Username != "" || b.Origin != "": // CAPI makes such users in its UAA, for identity providers that it trusts
		return nil, unprocessable("Users cannot be made by username: there is no identity provider but uaa. Make an account (POST /Users), then a user with its guid.")
	case b.GUID == "" || len(b.GUID) > 200:
		return nil, unprocessable("Guid must be a string of 1 to 200 characters")
	}
	u := &cf.User{Meta: cf.Meta{GUID: b.GUID}}
	account, err := cf.First[cf.Account](c.tx, cf.Is("guid", b.GUID))
	if err != nil {
		return nil, err
	}
	if account != nil {
		u.Username, u.Origin = account.Username, account.Origin
	}
	if err := b.Metadata.apply(&u.Meta); err != nil {
		return nil, err
	}
	if err := c.tx.Insert(u); err != nil {
		return nil, taken(err, "User with guid '%s' already exists.", b.GUID)
	}
	if err := c.note(u, "create"); err != nil {
		return nil, err
	}
	return showUser(c, u)
}

type roleBody struct {
	Type          string `json:"type"`
	Relationships struct {
		User         one `json:"user"`
		Organization one `json:"organization"`
		Space        one `json:"space"`
	} `json:"relationships"`
}

func (c *call) createRole() (any, error) {
	var b roleBody
	if err := c.read(&b); err != nil {
		return nil, err
	}
	r := &cf.Role{Type: b.Type, OrgGUID: b.Relationships.Organization.guid(), SpaceGUID: b.Relationships.Space.guid()}
	var s *cf.Space
	var err error
	switch b.Type {
	case cf.OrgUser, cf.OrgManager, cf.OrgBillingManager, cf.OrgAuditor:
		r.SpaceGUID = ""
		_, err = c.orgFrom(r.OrgGUID)
	case cf.SpaceDeveloper, cf.SpaceManager, cf.SpaceAuditor, cf.SpaceSupporter:
		r.OrgGUID = ""
		s, err = c.spaceFrom(b.Relationships.Space, manage)
	default:
		err = unprocessable("Type must be one of the allowed types")
	}
	if err != nil {
		return nil, err
	}
	u, err := c.named(b.Relationships.User)
	if err != nil {
		return nil, err
	}
	r.UserGUID = u.GUID
	if err := c.memberFirst(s, u); err != nil {
		return nil, err
	}
	if err := c.tx.Insert(r); err != nil {
		return nil, taken(err, "User '%s' already has '%s' role%s.", u.Username, r.Type, c.where(s, r.OrgGUID))
	}
	if err := c.recordRole(r, "_add", u.Username, s); err != nil {
		return nil, err
	}
	return showRole(c, r)
}

func (c *call) recordRole(r *cf.Role, verb, name string, s *cf.Space) error {
	target := cf.Actor{GUID: r.UserGUID, Type: "user", Name: name}
	if s != nil {
		return c.record("audit.user."+r.Type+verb, target, s, nil)
	}
	return c.tx.Insert(&cf.AuditEvent{Type: "audit.user." + r.Type + verb, Target: target, Actor: c.actor(), OrgGUID: r.OrgGUID})
}

// where is the end of the sentence about a role that is there already.
func (c *call) where(s *cf.Space, org string) string {
	if s != nil {
		return " in space '" + s.Name + "'"
	}
	if o, err := cf.Get[cf.Organization](c.tx, org); err == nil {
		return " in organization '" + o.Name + "'"
	}
	return ""
}

func (c *call) memberFirst(s *cf.Space, u *cf.User) error {
	if s == nil {
		return nil
	}
	n, err := c.tx.Count(new(cf.Role), cf.Query{Where: []cf.Cond{cf.Is("user_guid", u.GUID), cf.Is("organization_guid", s.OrgGUID)}})
	if err == nil && n == 0 {
		err = unprocessable("Users cannot be assigned roles in a space if they do not have a role in that space's organization.")
	}
	return err
}

// named finds a user by guid or by name; accounts that logged in only here
// become users when they first get a role.
func (c *call) named(o one) (*cf.User, error) {
	if o.Data == nil {
		return nil, unprocessable("Relationships User can't be blank")
	}
	if o.Data.GUID != "" {
		return c.userOrClient(o.Data.GUID)
	}
	if err := c.enabled("set_roles_by_username"); err != nil {
		return nil, err
	}
	where := []cf.Cond{cf.Is("username", o.Data.Username)}
	if o.Data.Origin != "" {
		where = append(where, cf.Is("origin", o.Data.Origin))
	}
	u, err := cf.First[cf.User](c.tx, where...)
	if err != nil || u != nil {
		return u, err
	}
	a, err := cf.First[cf.Account](c.tx, where...)
	if err != nil || a == nil {
		if err == nil {
			err = unprocessable("No user exists with the username '%s'.", o.Data.Username)
		}
		return nil, err
	}
	u = &cf.User{Meta: cf.Meta{GUID: a.GUID}, Username: a.Username, Origin: a.Origin}
	return u, c.tx.Insert(u)
}

// userOrClient finds a user. A client of the UAA becomes one when it first gets a
// role: it has a guid, which is its name, and no other name.
func (c *call) userOrClient(guid string) (*cf.User, error) {
	u, err := cf.First[cf.User](c.tx, cf.Is("guid", guid))
	if err != nil || u != nil {
		return u, err
	}
	if _, err := cf.Get[cf.Client](c.tx, guid); err != nil {
		if cf.KindOf(err) == cf.NotFound {
			err = unprocessable("Invalid user. Ensure that the user exists and you have access to it.")
		}
		return nil, err
	}
	u = &cf.User{Meta: cf.Meta{GUID: guid}}
	return u, c.tx.Insert(u)
}

func (c *call) deleteRole() (any, error) {
	r, err := cf.Get[cf.Role](c.tx, c.param("guid"))
	if err != nil {
		return nil, hide(err, "Role")
	}
	var s *cf.Space
	if r.SpaceGUID != "" {
		s, err = c.space(r.SpaceGUID, manage, "Role")
	} else {
		_, err = c.org(r.OrgGUID, true)
	}
	if err != nil {
		return nil, err
	}
	if r.Type == cf.OrgUser {
		if err := c.lastInOrg(r); err != nil {
			return nil, err
		}
	}
	if err := c.tx.Delete(r); err != nil {
		return nil, err
	}
	if err := c.recordRole(r, "_remove", "", s); err != nil {
		return nil, err
	}
	return c.done("role.delete")
}

// lastInOrg keeps space roles from outliving the membership they rest on.
func (c *call) lastInOrg(r *cf.Role) error {
	spaces, err := cf.List[cf.Space](c.tx, cf.Query{Where: []cf.Cond{cf.Is("organization_guid", r.OrgGUID)}})
	guids := []string{}
	for _, s := range spaces {
		guids = append(guids, s.GUID)
	}
	if err != nil {
		return err
	}
	n, err := c.tx.Count(new(cf.Role), cf.Query{Where: []cf.Cond{cf.Is("user_guid", r.UserGUID), cf.Is("space_guid", guids...)}})
	if err == nil && n > 0 {
		err = unprocessable("Cannot delete %s role while user has roles in spaces in that organization.", strings.ReplaceAll(r.Type, "_", " "))
	}
	return err
}
