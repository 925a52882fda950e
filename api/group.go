package api

import (
	"errors"
	"net/http"

	"github.com/dewpaas/dew/cf"
)

var groupList = listing[*cf.SecurityGroup]{
	filters: filters{"names": by("name"), "globally_enabled_running": byFlag("running_default"), "globally_enabled_staging": byFlag("staging_default"),
		"running_space_guids": byBinding(cf.Running), "staging_space_guids": byBinding(cf.Staging)},
	order: []string{"name"}, visible: visibleGroups, show: showGroup,
}

func byFlag(key string) filter {
	return func(_ *call, q *cf.Query, values []string) error {
		if len(values) != 1 || values[0] != "true" && values[0] != "false" {
			return badQuery("%s must be true or false", key)
		}
		on := int64(0)
		if values[0] == "true" {
			on = 1
		}
		q.Where = append(q.Where, cf.Is(key, on))
		return nil
	}
}

// byBinding filters groups by the spaces that they are bound to.
func byBinding(stage string) filter {
	return func(c *call, q *cf.Query, values []string) error {
		groups, err := c.boundTo(cf.Is("space_guid", values...), cf.Is("stage", stage))
		q.Where = append(q.Where, cf.Is("guid", groups...))
		return err
	}
}

// boundTo are the groups of the bindings that meet the conditions.
func (c *call) boundTo(where ...cf.Cond) ([]string, error) {
	list, err := cf.List[cf.GroupBinding](c.tx, cf.Query{Where: where})
	groups := []string{}
	for _, b := range list {
		groups = append(groups, b.GroupGUID)
	}
	return groups, err
}

// visibleGroups: everybody sees the global ones, and those of his spaces.
func visibleGroups(c *call, q *cf.Query) error {
	if c.auditor() {
		return nil
	}
	spaces, err := c.seenSpaces()
	if err != nil {
		return err
	}
	bound, err := c.boundTo(cf.Is("space_guid", spaces...))
	q.AnyOf = append(q.AnyOf, []cf.Cond{cf.Is("running_default", int64(1)), cf.Is("staging_default", int64(1)), cf.Is("guid", bound...)})
	return err
}

func showGroup(c *call, g *cf.SecurityGroup) (obj, error) {
	list, err := cf.List[cf.GroupBinding](c.tx, cf.Query{Where: []cf.Cond{cf.Is("group_guid", g.GUID)}, Order: []cf.Order{{Key: "created_at"}}})
	spaces := map[string][]string{}
	for _, b := range list {
		s, err := cf.Get[cf.Space](c.tx, b.SpaceGUID)
		if err != nil {
			return nil, err
		}
		if c.may(s, look) {
			spaces[b.Stage] = append(spaces[b.Stage], s.GUID)
		}
	}
	rules := g.Rules
	if rules == nil {
		rules = []cf.Rule{}
	}
	return c.base(&g.Meta, "security_groups", obj{"name": g.Name, "rules": rules, "globally_enabled": obj{"running": g.Running, "staging": g.Staging},
		"relationships": obj{"running_spaces": toMany(spaces[cf.Running]), "staging_spaces": toMany(spaces[cf.Staging])}}), err
}

func (s *Server) groupRoutes(t table) {
	list(t, "/v3/security_groups", groupList)
	t.post("/v3/security_groups", 201, (*call).createGroup)
	t.get("/v3/security_groups/{guid}", func(c *call) (any, error) {
		g, err := c.group("Security group")
		if err != nil {
			return nil, err
		}
		return showGroup(c, g)
	})
	t.patch("/v3/security_groups/{guid}", (*call).updateGroup)
	t.delete("/v3/security_groups/{guid}", 202, (*call).deleteGroup)
	for _, stage := range []string{cf.Running, cf.Staging} {
		path := "/v3/security_groups/{guid}/relationships/" + stage + "_spaces"
		t.post(path, http.StatusOK, func(c *call) (any, error) { return c.bindGroup(stage) })
		t.delete(path+"/{space}", 204, func(c *call) (any, error) { return c.unbindGroup(stage) })
		list(t, "/v3/spaces/{guid}/"+stage+"_security_groups", groupList, func(c *call, q *cf.Query, _ []string) error {
			s, err := c.space(c.param("guid"), look, "Space")
			if err != nil {
				return err
			}
			bound, err := c.boundTo(cf.Is("space_guid", s.GUID), cf.Is("stage", stage))
			q.AnyOf = append(q.AnyOf, []cf.Cond{cf.Is(stage+"_default", int64(1)), cf.Is("guid", bound...)})
			return err
		})
	}
}

// group loads a group that the caller sees.
func (c *call) group(name string) (*cf.SecurityGroup, error) {
	return sought(c, groupList, name)
}

type groupBody struct {
	Name    *string    `json:"name"`
	Rules   *[]cf.Rule `json:"rules"`
	Enabled *struct {
		Running *bool `json:"running"`
		Staging *bool `json:"staging"`
	} `json:"globally_enabled"`
	Relationships struct {
		Running many `json:"running_spaces"`
		Staging many `json:"staging_spaces"`
	} `json:"relationships"`
}

const maxRules = 1000

func (b groupBody) apply(g *cf.SecurityGroup) error {
	if b.Name != nil {
		g.Name = *b.Name
	}
	if b.Rules != nil {
		g.Rules = *b.Rules
	}
	if b.Enabled != nil {
		for from, into := range map[*bool]*bool{b.Enabled.Running: &g.Running, b.Enabled.Staging: &g.Staging} {
			if from != nil {
				*into = *from
			}
		}
	}
	if err := goodName(g.Name); err != nil {
		return err
	}
	if len(g.Rules) > maxRules {
		return unprocessable("Rules are more than %d", maxRules)
	}
	for i, r := range g.Rules {
		if _, err := r.Parse(); err != nil {
			return unprocessable("Rules[%d]: %v", i, plain(err))
		}
	}
	return nil
}

// plain is the cause of an error of package cf without what was tried.
func plain(err error) error {
	var e *cf.Error
	if errors.As(err, &e) && e.Err != nil {
		return e.Err
	}
	return err
}

func (c *call) createGroup() (any, error) {
	if err := c.only(); err != nil {
		return nil, err
	}
	var b groupBody
	if err := c.read(&b); err != nil {
		return nil, err
	}
	g := new(cf.SecurityGroup)
	if err := b.apply(g); err != nil {
		return nil, err
	}
	if err := c.tx.Insert(g); err != nil {
		return nil, taken(err, "Security group with name '%s' already exists.", g.Name)
	}
	for stage, spaces := range map[string]many{cf.Running: b.Relationships.Running, cf.Staging: b.Relationships.Staging} {
		if err := c.addBindings(g, stage, spaces); err != nil {
			return nil, err
		}
	}
	if err := c.recordGroup("audit.security_group.create", g, nil); err != nil {
		return nil, err
	}
	c.regroup()
	return showGroup(c, g)
}

func (c *call) recordGroup(event string, g *cf.SecurityGroup, s *cf.Space) error {
	return c.record(event, cf.Actor{GUID: g.GUID, Type: "security_group", Name: g.Name}, s, nil)
}

// regroup tells the runtime that rules have changed, of no app in particular.
func (c *call) regroup() {
	if c.runtime != nil {
		c.then(func() error { return c.runtime.Changed(c.ctx, "") })
	}
}

func (c *call) updateGroup() (any, error) {
	g, err := c.group("Security group")
	if err == nil {
		err = c.only()
	}
	if err != nil {
		return nil, err
	}
	var b groupBody
	if err := c.read(&b); err != nil {
		return nil, err
	}
	if err := b.apply(g); err != nil {
		return nil, err
	}
	if err := c.tx.Save(g); err != nil {
		return nil, taken(err, "Security group with name '%s' already exists.", g.Name)
	}
	if err := c.recordGroup("audit.security_group.update", g, nil); err != nil {
		return nil, err
	}
	c.regroup()
	return showGroup(c, g)
}

func (c *call) deleteGroup() (any, error) {
	g, err := c.group("Security group")
	if err == nil {
		err = c.only()
	}
	if err != nil {
		return nil, err
	}
	if err := c.tx.Delete(g); err != nil {
		return nil, err
	}
	if err := c.recordGroup("audit.security_group.delete", g, nil); err != nil {
		return nil, err
	}
	c.regroup()
	return c.done("security_group.delete")
}

// addBindings binds a group to spaces that the caller manages. Binding twice is
// no error.
func (c *call) addBindings(g *cf.SecurityGroup, stage string, spaces many) error {
	for _, d := range spaces.Data {
		s, err := c.space(d.GUID, manage, "Space")
		if err != nil {
			return unlessForbidden(err, unprocessable("Spaces with guids [\"%s\"] do not exist, or you do not have access to them.", d.GUID))
		}
		old, err := cf.First[cf.GroupBinding](c.tx, cf.Is("group_guid", g.GUID), cf.Is("space_guid", s.GUID), cf.Is("stage", stage))
		if err != nil {
			return err
		}
		if old != nil {
			continue
		}
		if err := c.tx.Insert(&cf.GroupBinding{GroupGUID: g.GUID, SpaceGUID: s.GUID, Stage: stage}); err != nil {
			return err
		}
		if err := c.recordGroup("audit.security_group.bind_"+stage, g, s); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) bindGroup(stage string) (any, error) {
	g, err := c.group("Security group")
	if err != nil {
		return nil, err
	}
	var m many
	if err := c.read(&m); err != nil {
		return nil, err
	}
	if len(m.Data) == 0 && !c.admin() {
		return nil, forbidden()
	}
	if err := c.addBindings(g, stage, m); err != nil {
		return nil, err
	}
	c.regroup()
	list, err := cf.List[cf.GroupBinding](c.tx, cf.Query{Where: []cf.Cond{cf.Is("group_guid", g.GUID), cf.Is("stage", stage)}, Order: []cf.Order{{Key: "created_at"}}})
	guids := []string{}
	for _, b := range list {
		if s, err := cf.Get[cf.Space](c.tx, b.SpaceGUID); err == nil && c.may(s, look) {
			guids = append(guids, s.GUID)
		}
	}
	answer := toMany(guids)
	answer["links"] = obj{"self": c.link("security_groups", g.GUID, "relationships", stage+"_spaces")}
	return answer, err
}

func (c *call) unbindGroup(stage string) (any, error) {
	g, err := c.group("Security group")
	if err != nil {
		return nil, err
	}
	unbound := unprocessable("Unable to unbind security group from space with guid '%s'. Ensure the space is bound to this security group.", c.param("space"))
	s, err := c.space(c.param("space"), manage, "Space")
	if err != nil {
		return nil, unlessForbidden(err, unbound)
	}
	b, err := cf.First[cf.GroupBinding](c.tx, cf.Is("group_guid", g.GUID), cf.Is("space_guid", s.GUID), cf.Is("stage", stage))
	if err != nil || b == nil {
		return nil, orElse(err, unbound)
	}
	if err := c.tx.Delete(b); err != nil {
		return nil, err
	}
	c.regroup()
	return nil, c.recordGroup("audit.security_group.unbind_"+stage, g, s)
}
