package api

import (
	"time"

	"github.com/dewpaas/dew/cf"
)

// Usage events are recorded by the ledger with the changes that cause them; here
// they are read by those who see everything. An instance's guid, name and times
// are of then, its name as it was.
var (
	appUsageList = listing[*cf.AppUsage]{filters: filters{"after_guid": after[cf.AppUsage]("app usage event")}, visible: auditorsOnly, show: showAppUsage}

	serviceUsageList = listing[*cf.ServiceUsage]{
		filters: filters{"after_guid": after[cf.ServiceUsage]("service usage event"), "service_instance_types": by("service_instance_type"), "service_offering_guids": by("offering_guid")},
		visible: auditorsOnly, show: showServiceUsage,
	}
)

// auditorsOnly shows a list as empty to everybody else.
func auditorsOnly(c *call, q *cf.Query) error {
	if !c.auditor() {
		q.Where = append(q.Where, cf.Is[string]("guid"))
	}
	return nil
}

// after leaves the events that were made after one. Their instants are all
// different, and rise.
func after[T any, P interface {
	*T
	cf.Record
}](what string) filter {
	return func(c *call, q *cf.Query, values []string) error {
		if len(values) != 1 {
			return unprocessable("After guid filter accepts only one guid")
		}
		if !c.auditor() {
			return nil // who sees none is not told which there are
		}
		last, err := cf.First[T, P](c.tx, cf.Is("guid", values[0]))
		if err != nil || last == nil {
			return orElse(err, unprocessable("After guid filter must be a valid %s guid.", what))
		}
		q.Where = append(q.Where, cf.Cond{Key: "created_at", Op: cf.Greater, Values: []any{last.Base().CreatedAt.UnixMicro()}})
		return nil
	}
}

func showAppUsage(c *call, u *cf.AppUsage) (obj, error) {
	return c.base(&u.Meta, "app_usage_events", obj{"state": u.State, "memory_in_mb_per_instance": u.MemoryMB, "instance_count": u.Instances,
		"app": u.App, "process": obj{"guid": nullable(u.ProcessGUID), "type": nullable(u.ProcessType)}, "space": u.Space, "organization": obj{"guid": u.OrgGUID},
		"buildpack": u.Buildpack, "task": u.Task}), nil
}

func showServiceUsage(c *call, u *cf.ServiceUsage) (obj, error) {
	return c.base(&u.Meta, "service_usage_events", obj{"state": u.State, "space": u.Space, "organization": obj{"guid": u.OrgGUID},
		"service_instance": obj{"guid": u.Instance.GUID, "name": u.Instance.Name, "type": u.Type}, "service_plan": u.Plan, "service_offering": u.Offering, "service_broker": u.Broker}), nil
}

func (s *Server) usageEventRoutes(t table) {
	const reseed = "/actions/destructively_purge_all_and_reseed"
	list(t, "/v3/app_usage_events", appUsageList)
	t.get("/v3/app_usage_events/{guid}", func(c *call) (any, error) { return seen(c, appUsageList, "App usage event") })
	t.post("/v3/app_usage_events"+reseed, 200, (*call).reseedApps)
	list(t, "/v3/service_usage_events", serviceUsageList)
	t.get("/v3/service_usage_events/{guid}", func(c *call) (any, error) { return seen(c, serviceUsageList, "Service usage event") })
	t.post("/v3/service_usage_events"+reseed, 200, (*call).reseedServices)
}

// reseedApps forgets all events and makes one of every process that is started,
// which gets the guid of its process.
func (c *call) reseedApps() (any, error) {
	if err := c.only(); err != nil {
		return nil, err
	}
	if err := forget[cf.AppUsage](c.tx); err != nil {
		return nil, err
	}
	apps, err := cf.List[cf.App](c.tx, cf.Query{Where: []cf.Cond{cf.Is("state", cf.Started)}, Order: []cf.Order{{Key: "created_at"}}})
	if err != nil {
		return nil, err
	}
	for _, a := range apps {
		processes, err := c.processesOf(a)
		if err != nil {
			return nil, err
		}
		for _, p := range processes {
			m := cf.MeterOf(a.State, p)
			u, err := cf.ProcessUsage(c.tx, a, p, m, m)
			if err != nil {
				return nil, err
			}
			u.GUID = p.GUID
			if err := c.tx.Insert(u); err != nil {
				return nil, err
			}
		}
	}
	return obj{}, c.recordReseed("app_usage_events")
}

// reseedServices forgets all events and makes one of every service instance,
// which gets its guid.
func (c *call) reseedServices() (any, error) {
	if err := c.only(); err != nil {
		return nil, err
	}
	if err := forget[cf.ServiceUsage](c.tx); err != nil {
		return nil, err
	}
	instances, err := cf.List[cf.ServiceInstance](c.tx, cf.Query{Order: []cf.Order{{Key: "created_at"}}})
	if err != nil {
		return nil, err
	}
	for _, i := range instances {
		u, err := cf.InstanceUsage(c.tx, i, cf.UsageCreated)
		if err != nil {
			return nil, err
		}
		u.GUID = i.GUID
		if err := c.tx.Insert(u); err != nil {
			return nil, err
		}
	}
	return obj{}, c.recordReseed("service_usage_events")
}

// recordReseed leaves word of who emptied a record that bills are made from.
func (c *call) recordReseed(noun string) error {
	return c.record("audit."+noun+".purge_and_reseed", cf.Actor{GUID: noun, Type: noun, Name: noun}, nil, nil)
}

// forget deletes all records of a noun, some at a time.
func forget[T any, P interface {
	*T
	cf.Record
}](tx cf.Tx) error {
	for {
		n, err := drop[T, P](tx)
		if err != nil || n < sweepAtOnce {
			return err
		}
	}
}

// DefaultKeepUsage is how long usage events are kept: as long as CAPI does.
const DefaultKeepUsage = 31 * 24 * time.Hour

// dropUsage takes away what is too old, but for the newest event: whoever read up
// to it goes on from there.
func dropUsage[T any, P interface {
	*T
	cf.Record
}](tx cf.Tx, old cf.Cond) (int, error) {
	newest, err := cf.List[T, P](tx, cf.Query{Order: []cf.Order{{Key: "created_at", Descending: true}}, Limit: 1})
	if err != nil || len(newest) == 0 {
		return 0, err
	}
	return drop[T, P](tx, old, cf.Cond{Key: "guid", Op: cf.NotIn, Values: []any{newest[0].Base().GUID}})
}
