package api

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/dewpaas/dew/cf"
)

// flagDefaults are the feature flags and what they are until an admin says
// otherwise.
func flagDefaults() map[string]bool {
	return map[string]bool{"user_org_creation": false, "private_domain_creation": true, "app_bits_upload": true, "app_scaling": true, "route_creation": true,
		"service_instance_creation": true, "diego_docker": false, "diego_cnb": false, "set_roles_by_username": true, "unset_roles_by_username": true,
		"task_creation": true, "env_var_visibility": true, "space_scoped_private_broker_creation": true, "space_developer_env_var_visibility": true,
		"service_instance_sharing": false, "hide_marketplace_from_unauthenticated_users": false, "resource_matching": true, "route_sharing": false, "hash_based_routing": false}
}

const flagPrefix = "flag:"

// flag tells whether a feature is on.
func (c *call) flag(name string) (bool, error) {
	s, err := c.flagSetting(name)
	if err != nil {
		return false, err
	}
	return s.Enabled, nil
}

// flagSetting is a flag as it was set, or as it is from the start: then it has no
// times.
func (c *call) flagSetting(name string) (*cf.Setting, error) {
	s, err := cf.First[cf.Setting](c.tx, cf.Is("guid", flagPrefix+name))
	if err == nil && s == nil {
		s = &cf.Setting{Meta: cf.Meta{GUID: flagPrefix + name}, Enabled: flagDefaults()[name]}
	}
	return s, err
}

// permitted refuses what a flag forbids to everybody, admins too, in the words that
// an admin chose for it. Flags for sharing are such: they say what tenants may have
// from each other.
func (c *call) permitted(flag string) error {
	s, err := c.flagSetting(flag)
	if err != nil || s.Enabled {
		return err
	}
	return disabled(cmp.Or(s.Error, flag))
}

// seed makes, in an empty ledger, what every foundation has.
func (s *Server) seed(ctx context.Context) error {
	return s.store.Update(ctx, func(tx cf.Tx) error {
		q, err := cf.First[cf.Quota](tx, cf.Is("name", "default"), cf.Cond{Key: "organization_guid", Op: cf.Absent})
		if err != nil || q != nil {
			return err
		}
		memory, routes, services := int64(100<<10), int64(1000), int64(100)
		for _, r := range []cf.Record{
			&cf.Quota{Name: "default", Limits: cf.Limits{TotalMemoryMB: &memory, Routes: &routes, ServiceInstances: &services, PaidServices: true}},
			&cf.Domain{Name: s.domain},
			&cf.Domain{Name: "apps.internal", Internal: true},
			&cf.SecurityGroup{Name: "public_networks", Running: true, Staging: true, Rules: publicNetworks()},
			&cf.SecurityGroup{Name: "dns", Running: true, Staging: true, Rules: []cf.Rule{{Protocol: "tcp", Destination: "0.0.0.0/0", Ports: "53"}, {Protocol: "udp", Destination: "0.0.0.0/0", Ports: "53"}}},
		} {
			if err := tx.Insert(r); err != nil {
				return err
			}
		}
		return nil
	})
}

// publicNetworks is everything but private, loopback and link-local addresses.
func publicNetworks() []cf.Rule {
	var rules []cf.Rule
	for _, span := range []string{"0.0.0.0-9.255.255.255", "11.0.0.0-126.255.255.255", "128.0.0.0-169.253.255.255", "169.255.0.0-172.15.255.255", "172.32.0.0-192.167.255.255", "192.169.0.0-255.255.255.255"} {
		rules = append(rules, cf.Rule{Protocol: "all", Destination: span})
	}
	return rules
}

func (s *Server) settingRoutes(t table) {
	t.get("/v3/feature_flags", func(c *call) (any, error) {
		list := []obj{}
		for _, name := range slices.Sorted(maps.Keys(flagDefaults())) {
			o, err := c.showFlag(name)
			if err != nil {
				return nil, err
			}
			list = append(list, o)
		}
		return fixedPage(c, list, "name")
	}, fixedParams()...)
	t.get("/v3/feature_flags/{name}", func(c *call) (any, error) {
		if _, known := flagDefaults()[c.param("name")]; !known {
			return nil, notFound("Feature flag")
		}
		return c.showFlag(c.param("name"))
	})
	t.patch("/v3/feature_flags/{name}", (*call).setFlag)
	t.get("/v3/environment_variable_groups/{name}", func(c *call) (any, error) { return c.envGroup(false) })
	t.patch("/v3/environment_variable_groups/{name}", func(c *call) (any, error) { return c.envGroup(true) })
	list(t, "/v3/audit_events", eventList)
	t.get("/v3/audit_events/{guid}", func(c *call) (any, error) { return seen(c, eventList, "Event") })
	t.get("/v3/jobs/{guid}", (*call).job)
}

var eventList = listing[*cf.AuditEvent]{
	filters: filters{"types": by("type"), "target_guids": by("target_guid"), "target_guids[not]": byOther("target_guid"), "space_guids": by("space_guid"), "organization_guids": by("organization_guid")},
	visible: visibleEvents,
	show: func(c *call, e *cf.AuditEvent) (obj, error) {
		data := e.Data
		if data == nil {
			data = map[string]any{}
		}
		var space, org any
		if e.SpaceGUID != "" {
			space = obj{"guid": e.SpaceGUID}
		}
		if e.OrgGUID != "" {
			org = obj{"guid": e.OrgGUID}
		}
		return c.base(&e.Meta, "audit_events", obj{"type": e.Type, "actor": e.Actor, "target": e.Target, "data": data, "space": space, "organization": org}), nil
	},
}

// visibleEvents: developers and auditors of a space see what happened in it,
// auditors of an organization all that happened in it.
func visibleEvents(c *call, q *cf.Query) error {
	if c.auditor() {
		return nil
	}
	audited := []string{}
	for guid, roles := range c.orgs {
		if roles[cf.OrgAuditor] || roles[cf.OrgManager] {
			audited = append(audited, guid)
		}
	}
	spaces := c.spacesWith(cf.SpaceDeveloper, cf.SpaceAuditor, cf.SpaceSupporter, cf.SpaceManager)
	q.AnyOf = append(q.AnyOf, []cf.Cond{cf.Is("space_guid", spaces...), cf.Is("organization_guid", audited...)})
	return nil
}

func (c *call) showFlag(name string) (obj, error) {
	s, err := c.flagSetting(name)
	if err != nil {
		return nil, err
	}
	var at any
	if !s.UpdatedAt.IsZero() {
		at = s.UpdatedAt
	}
	return obj{"name": name, "enabled": s.Enabled, "updated_at": at, "custom_error_message": nullable(s.Error), "links": obj{"self": c.link("feature_flags", name)}}, nil
}

// maxFlagError bounds the words of a flag, in characters.
const maxFlagError = 250

func (c *call) setFlag() (any, error) {
	name := c.param("name")
	if _, known := flagDefaults()[name]; !known {
		return nil, notFound("Feature flag")
	}
	if err := c.only(); err != nil {
		return nil, err
	}
	s, err := c.flagSetting(name)
	if err != nil {
		return nil, err
	}
	b := struct {
		Enabled *bool
		Error   *string `json:"custom_error_message"` // null, or none: as it was; "": none
	}{Error: &s.Error}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	if b.Enabled == nil {
		return nil, unprocessable("Enabled must be a boolean")
	}
	s.Enabled = *b.Enabled
	if utf8.RuneCountInString(s.Error) > maxFlagError {
		return nil, unprocessable("Custom error message is too long (maximum is %d characters)", maxFlagError)
	}
	if err := c.set(s); err != nil {
		return nil, err
	}
	if err := c.record("audit.feature_flag.update", cf.Actor{GUID: name, Type: "feature_flag", Name: name}, nil, obj{"request": obj{"enabled": s.Enabled, "custom_error_message": nullable(s.Error)}}); err != nil {
		return nil, err
	}
	return c.showFlag(name)
}

func (c *call) set(s *cf.Setting) error {
	old, err := cf.First[cf.Setting](c.tx, cf.Is("guid", s.GUID))
	if err != nil {
		return err
	}
	if old == nil {
		return c.tx.Insert(s)
	}
	s.CreatedAt = old.CreatedAt
	return c.tx.Save(s)
}

func (c *call) envGroup(change bool) (any, error) {
	name := c.param("name")
	if name != "running" && name != "staging" {
		return nil, notFound("Environment variable group")
	}
	s, err := cf.First[cf.Setting](c.tx, cf.Is("guid", "env:"+name))
	if err != nil {
		return nil, err
	}
	if s == nil {
		s = &cf.Setting{Meta: cf.Meta{GUID: "env:" + name}}
	}
	if change {
		if err := c.only(); err != nil {
			return nil, err
		}
		if s.Env, err = c.variables(s.Env); err != nil {
			return nil, err
		}
		if err := c.set(s); err != nil {
			return nil, err
		}
		if err := c.record("audit.environment_variable_group.update", cf.Actor{GUID: name, Type: "environment_variable_group", Name: name}, nil, nil); err != nil {
			return nil, err
		}
	}
	return obj{"name": name, "var": filled(s.Env), "updated_at": s.UpdatedAt, "links": obj{"self": c.link("environment_variable_groups", name)}}, nil
}

func filled(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
