package api

import (
	"encoding/json"
	"errors"

	"github.com/dewpaas/dew/cf"
)

type appLimits struct {
	TotalMemory   *int64 `json:"total_memory_in_mb"`
	ProcessMemory *int64 `json:"per_process_memory_in_mb"`
	Instances     *int64 `json:"total_instances"`
	Tasks         *int64 `json:"per_app_tasks"`
	LogRate       *int64 `json:"log_rate_limit_in_bytes_per_second"`
}

type serviceLimits struct {
	Paid      bool   `json:"paid_services_allowed"`
	Instances *int64 `json:"total_service_instances"`
	Keys      *int64 `json:"total_service_keys"`
}

type routeLimits struct {
	Routes *int64 `json:"total_routes"`
	Ports  *int64 `json:"total_reserved_ports"`
}

func showQuota(c *call, q *cf.Quota) (obj, error) {
	l := q.Limits
	fields := obj{"name": q.Name, "apps": appLimits{l.TotalMemoryMB, l.ProcessMemoryMB, l.TotalInstances, l.TasksPerApp, l.LogRate},
		"services": serviceLimits{l.PaidServices, l.ServiceInstances, l.ServiceKeys}, "routes": routeLimits{l.Routes, l.ReservedPorts}}
	path, users, noun := "organization_quotas", []string{}, "organizations"
	if q.OrgGUID != "" {
		path, noun = "space_quotas", "spaces"
		spaces, err := cf.List[cf.Space](c.tx, cf.Query{Where: []cf.Cond{cf.Is("quota_guid", q.GUID)}})
		if err != nil {
			return nil, err
		}
		for _, s := range spaces {
			if c.may(s, look) {
				users = append(users, s.GUID)
			}
		}
		fields["relationships"] = obj{"organization": toOne(q.OrgGUID), noun: toMany(users)}
		return c.base(&q.Meta, path, fields), nil
	}
	orgs, err := cf.List[cf.Organization](c.tx, cf.Query{Where: []cf.Cond{cf.Is("quota_guid", q.GUID)}})
	for _, o := range orgs {
		if c.seesOrg(o.GUID) {
			users = append(users, o.GUID)
		}
	}
	fields["domains"] = obj{"total_domains": l.Domains}
	fields["relationships"] = obj{noun: toMany(users)}
	return c.base(&q.Meta, path, fields), err
}

var (
	orgQuotaList   = listing[*cf.Quota]{filters: filters{"names": by("name"), "organization_guids": quotasOf[cf.Organization]}, order: []string{"name"}, visible: orgQuotas, show: showQuota}
	spaceQuotaList = listing[*cf.Quota]{filters: filters{"names": by("name"), "organization_guids": by("organization_guid"), "space_guids": quotasOf[cf.Space]}, order: []string{"name"}, visible: spaceQuotas, show: showQuota}
)

// quotasOf filters quotas by what has them.
func quotasOf[T any, P interface {
	*T
	cf.Record
}](c *call, q *cf.Query, values []string) error {
	list, err := cf.List[T, P](c.tx, cf.Query{Where: []cf.Cond{cf.Is("guid", values...)}})
	guids := []string{}
	for _, r := range list {
		if g, ok := r.Keys()["quota_guid"].(string); ok {
			guids = append(guids, g)
		}
	}
	q.Where = append(q.Where, cf.Is("guid", guids...))
	return err
}

func orgQuotas(_ *call, q *cf.Query) error {
	q.Where = append(q.Where, cf.Cond{Key: "organization_guid", Op: cf.Absent})
	return nil
}

// spaceQuotas are seen by managers of the organization, and by whoever sees a
// space that has them.
func spaceQuotas(c *call, q *cf.Query) error {
	if c.auditor() {
		q.Where = append(q.Where, cf.Cond{Key: "organization_guid", Op: cf.Greater, Values: []any{""}})
		return nil
	}
	var of cf.Query
	visibleSpaces(c, &of) // never fails
	spaces, err := cf.List[cf.Space](c.tx, of)
	guids := []string{}
	for _, s := range spaces {
		if s.QuotaGUID != "" {
			guids = append(guids, s.QuotaGUID)
		}
	}
	q.AnyOf = append(q.AnyOf, []cf.Cond{cf.Is("organization_guid", c.managed()...), cf.Is("guid", guids...)})
	return err
}

func (s *Server) quotaRoutes(t table) {
	list(t, "/v3/organization_quotas", orgQuotaList)
	list(t, "/v3/space_quotas", spaceQuotaList)
	for path, org := range map[string]bool{"/v3/organization_quotas": true, "/v3/space_quotas": false} {
		t.post(path, 201, func(c *call) (any, error) { return c.createQuota(org) })
		t.get(path+"/{guid}", func(c *call) (any, error) { return c.withQuota(org, false, showQuota) })
		t.patch(path+"/{guid}", func(c *call) (any, error) { return c.withQuota(org, true, (*call).updateQuota) })
		t.delete(path+"/{guid}", 202, func(c *call) (any, error) { return c.deleteQuota(org) })
	}
	t.post("/v3/organization_quotas/{guid}/relationships/organizations", 200, (*call).giveOrgQuota)
	t.post("/v3/space_quotas/{guid}/relationships/spaces", 200, (*call).giveSpaceQuota)
	t.delete("/v3/space_quotas/{guid}/relationships/spaces/{space}", 204, (*call).takeSpaceQuota)
}

type quotaBody struct {
	Name          *string                    `json:"name"`
	Apps          map[string]json.RawMessage `json:"apps"`
	Services      map[string]json.RawMessage `json:"services"`
	Routes        map[string]json.RawMessage `json:"routes"`
	Domains       map[string]json.RawMessage `json:"domains"`
	Relationships struct {
		Organization  one  `json:"organization"`
		Organizations many `json:"organizations"`
		Spaces        many `json:"spaces"`
	} `json:"relationships"`
}

// apply sets the limits that the body names: a limit that is absent stays, null
// is unlimited.
func (b quotaBody) apply(q *cf.Quota) error {
	if b.Name != nil {
		q.Name = *b.Name
	}
	if err := goodName(q.Name); err != nil {
		return err
	}
	l := &q.Limits
	for _, part := range []struct {
		given map[string]json.RawMessage
		into  map[string]any
	}{
		{b.Apps, map[string]any{"total_memory_in_mb": &l.TotalMemoryMB, "per_process_memory_in_mb": &l.ProcessMemoryMB, "total_instances": &l.TotalInstances, "per_app_tasks": &l.TasksPerApp, "log_rate_limit_in_bytes_per_second": &l.LogRate}},
		{b.Services, map[string]any{"paid_services_allowed": &l.PaidServices, "total_service_instances": &l.ServiceInstances, "total_service_keys": &l.ServiceKeys}},
		{b.Routes, map[string]any{"total_routes": &l.Routes, "total_reserved_ports": &l.ReservedPorts}},
		{b.Domains, map[string]any{"total_domains": &l.Domains}},
	} {
		for name, raw := range part.given {
			into := part.into[name]
			if into == nil {
				return unprocessable("Unknown field(s): '%s'", name)
			}
			if err := json.Unmarshal(raw, into); err != nil {
				return unprocessable("%s must be a whole number or null", name)
			}
			if n, ok := into.(**int64); ok && *n != nil && (**n < 0 || **n > 1<<31) {
				return unprocessable("%s must be between 0 and %d", name, 1<<31)
			}
		}
	}
	return nil
}

func (c *call) createQuota(org bool) (any, error) {
	var b quotaBody
	if err := c.read(&b); err != nil {
		return nil, err
	}
	q := &cf.Quota{Limits: cf.Limits{PaidServices: true}}
	kind := "Organization"
	if org {
		if err := c.only(); err != nil {
			return nil, err
		}
	} else {
		o, err := c.orgFrom(b.Relationships.Organization.guid())
		if err != nil {
			return nil, err
		}
		q.OrgGUID, kind = o.GUID, "Space"
	}
	if err := b.apply(q); err != nil {
		return nil, err
	}
	if err := c.tx.Insert(q); err != nil {
		return nil, taken(err, "%s Quota '%s' already exists.", kind, q.Name)
	}
	if err := c.assign(q, b.Relationships.Organizations, b.Relationships.Spaces); err != nil {
		return nil, err
	}
	if err := c.note(q, "create"); err != nil {
		return nil, err
	}
	return showQuota(c, q)
}

func (c *call) assign(q *cf.Quota, orgs, spaces many) error {
	for _, d := range orgs.Data {
		o, err := cf.Get[cf.Organization](c.tx, d.GUID)
		if err != nil || q.OrgGUID != "" {
			return unprocessable("Organizations with guids [\"%s\"] do not exist, or you do not have access to them.", d.GUID)
		}
		o.QuotaGUID = q.GUID
		if err := c.tx.Save(o); err != nil {
			return err
		}
	}
	for _, d := range spaces.Data {
		s, err := cf.Get[cf.Space](c.tx, d.GUID)
		if err != nil || s.OrgGUID != q.OrgGUID {
			return unprocessable("Spaces with guids [\"%s\"] do not exist, or you do not have access to them.", d.GUID)
		}
		s.QuotaGUID = q.GUID
		if err := c.tx.Save(s); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) quota(org, change bool) (*cf.Quota, error) {
	q, err := cf.Get[cf.Quota](c.tx, c.param("guid"))
	name := "Organization quota"
	if !org {
		name = "Space quota"
	}
	if err != nil || (q.OrgGUID == "") != org {
		return nil, hide(err, name)
	}
	if org && change {
		return q, c.only()
	}
	if org {
		return q, nil
	}
	seen := cf.Query{Where: []cf.Cond{cf.Is("guid", q.GUID)}}
	if err := spaceQuotas(c, &seen); err != nil {
		return nil, err
	}
	if n, err := c.tx.Count(q, seen); err != nil || n == 0 {
		return nil, hide(err, name)
	}
	if change {
		_, err = c.org(q.OrgGUID, true)
	}
	return q, err
}

func (c *call) withQuota(org, change bool, f func(*call, *cf.Quota) (obj, error)) (any, error) {
	q, err := c.quota(org, change)
	if err != nil {
		return nil, err
	}
	return f(c, q)
}

func (c *call) updateQuota(q *cf.Quota) (obj, error) {
	var b quotaBody
	if err := c.read(&b); err != nil {
		return nil, err
	}
	if err := b.apply(q); err != nil {
		return nil, err
	}
	if err := c.tx.Save(q); err != nil {
		return nil, taken(err, "Quota '%s' already exists.", q.Name)
	}
	if err := c.note(q, "update"); err != nil {
		return nil, err
	}
	return showQuota(c, q)
}

func (c *call) deleteQuota(org bool) (any, error) {
	q, err := c.quota(org, true)
	if err != nil {
		return nil, err
	}
	if !org { // its spaces go on without one
		spaces, err := cf.List[cf.Space](c.tx, cf.Query{Where: []cf.Cond{cf.Is("quota_guid", q.GUID)}})
		for _, s := range spaces {
			s.QuotaGUID = ""
			err = errors.Join(err, c.tx.Save(s))
		}
		if err != nil {
			return nil, err
		}
	}
	if err := c.tx.Delete(q); err != nil {
		if cf.KindOf(err) == cf.Conflict {
			err = unprocessable("This quota is applied to one or more organizations. Apply different quotas to those organizations before deleting.")
		}
		return nil, err
	}
	if err := c.note(q, "delete"); err != nil {
		return nil, err
	}
	return c.done("quota.delete")
}

func (c *call) giveOrgQuota() (any, error) {
	var m many
	q, err := c.quota(true, true)
	if err == nil {
		err = c.read(&m)
	}
	if err == nil {
		err = c.assign(q, m, many{})
	}
	if err == nil {
		err = c.note(q, "apply")
	}
	return m, err
}

func (c *call) giveSpaceQuota() (any, error) {
	var m many
	q, err := c.quota(false, true)
	if err == nil {
		err = c.read(&m)
	}
	if err == nil {
		err = c.assign(q, many{}, m)
	}
	if err == nil {
		err = c.note(q, "apply")
	}
	return m, err
}

func (c *call) takeSpaceQuota() (any, error) {
	q, err := c.quota(false, true)
	if err != nil {
		return nil, err
	}
	s, err := cf.Get[cf.Space](c.tx, c.param("space"))
	if err != nil || s.QuotaGUID != q.GUID {
		return nil, hide(err, "Space")
	}
	s.QuotaGUID = ""
	if err := c.tx.Save(s); err != nil {
		return nil, err
	}
	return nil, c.note(q, "remove")
}
