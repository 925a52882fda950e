package api

import (
	"github.com/dewpaas/dew/cf"
)

// used is what counts against quotas: sums over started apps, and the largest
// process and the most tasks of one app.
type used struct {
	memory, instances, logRate, routes, services, keys int64
	tasks, largest, appTasks                           int64
	boundless                                          bool // something has no limit of its log rate
}

// usage sums what the spaces with this key use: key is organization_guid or guid.
func (c *call) usage(key, guid string) (used, error) {
	guids, err := guidsOf[cf.Space](c, cf.Query{Where: []cf.Cond{cf.Is(key, guid)}})
	if err != nil {
		return used{}, err
	}
	return c.usageIn(guids)
}

func (c *call) usageIn(spaces []string) (used, error) {
	var u used
	in := cf.Is("space_guid", spaces...)
	if err := c.addProcesses(&u, in); err != nil {
		return u, err
	}
	if err := c.addTasks(&u, in); err != nil {
		return u, err
	}
	for into, q := range map[*int64]struct {
		noun  cf.Record
		where []cf.Cond
	}{
		&u.routes:   {new(cf.Route), []cf.Cond{in}},
		&u.services: {new(cf.ServiceInstance), []cf.Cond{in, cf.Is("type", "managed")}},
		&u.keys:     {new(cf.ServiceBinding), []cf.Cond{in, cf.Is("type", "key")}},
	} {
		n, err := c.tx.Count(q.noun, cf.Query{Where: q.where})
		if err != nil {
			return u, err
		}
		*into = int64(n)
	}
	return u, nil
}

func (c *call) addProcesses(u *used, in cf.Cond) error {
	started, err := guidsOf[cf.App](c, cf.Query{Where: []cf.Cond{in, cf.Is("state", cf.Started)}})
	if err != nil {
		return err
	}
	list, err := cf.List[cf.Process](c.tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", started...)}})
	for _, p := range list {
		n := int64(p.Instances)
		u.memory += n * int64(p.MemoryMB)
		u.instances += n
		u.logRate += n * max(0, p.LogRate)
		if n > 0 {
			u.largest = max(u.largest, int64(p.MemoryMB))
			u.boundless = u.boundless || p.LogRate < 0
		}
	}
	return err
}

func (c *call) addTasks(u *used, in cf.Cond) error {
	list, err := cf.List[cf.Task](c.tx, cf.Query{Where: []cf.Cond{in, cf.Is("state", cf.TaskPending, cf.TaskRunning, cf.TaskCanceling)}})
	byApp := map[string]int64{}
	for _, t := range list {
		u.memory += int64(t.MemoryMB)
		u.logRate += max(0, t.LogRate)
		u.largest = max(u.largest, int64(t.MemoryMB))
		u.boundless = u.boundless || t.LogRate < 0
		u.tasks++
		byApp[t.AppGUID]++
		u.appTasks = max(u.appTasks, byApp[t.AppGUID])
	}
	return err
}

// limited is what quotas limit. Who asks for more of one is not held up because
// there is too much of another already.
type limited int

const (
	computing limited = iota // memory, instances, tasks, log rates
	routing
	servicing
	keying
)

// within checks what this transaction leaves of a resource against the quotas of
// the space and its organization. The transaction is undone when it fails.
func (c *call) within(s *cf.Space, r limited) error {
	o, err := cf.Get[cf.Organization](c.tx, s.OrgGUID)
	if err != nil {
		return err
	}
	for _, level := range []scope{{o.QuotaGUID, "organization_guid", o.GUID, "", "organization", o.Name}, {s.QuotaGUID, "guid", s.GUID, "space_", "space", s.Name}} {
		if level.quota == "" {
			continue
		}
		q, err := cf.Get[cf.Quota](c.tx, level.quota)
		if err != nil {
			return err
		}
		u, err := c.usage(level.key, level.guid)
		if err != nil {
			return err
		}
		if err := level.exceeds(r, q.Limits, u); err != nil {
			return err
		}
	}
	return nil
}

// scope is one of the two levels that have quotas.
type scope struct{ quota, key, guid, prefix, kind, name string }

// full says how much a limit is exceeded by, what to do, and at the end, where
// clients look for it, CAPI's own word.
func (s scope) full(what string, wanted, may int64, word string) error {
	return unprocessable("In %s '%s' "+what+": ask for less, stop something, or have the quota raised. %s", s.kind, s.name, wanted, may, word)
}

// exceeds says what is too much, in the words that CAPI has for it.
func (s scope) exceeds(r limited, l cf.Limits, u used) error {
	over := func(n int64, limit *int64) bool { return limit != nil && *limit >= 0 && n > *limit }
	switch {
	case r == routing && over(u.routes, l.Routes):
		return unprocessable("Routes quota exceeded for %s '%s'.", s.kind, s.name)
	case r == servicing && over(u.services, l.ServiceInstances):
		return unprocessable("You have exceeded your %s's services limit.", s.kind)
	case r == keying && over(u.keys, l.ServiceKeys):
		return unprocessable("You have exceeded your %s's limit for service binding of type key.", s.kind)
	case r != computing:
		return nil
	case over(u.memory, l.TotalMemoryMB):
		return s.full("%d MB of memory would be used, %d may be", u.memory, *l.TotalMemoryMB, "memory "+s.prefix+"quota_exceeded")
	case over(u.largest, l.ProcessMemoryMB):
		return s.full("an instance would have %d MB of memory, %d may be", u.largest, *l.ProcessMemoryMB, "memory "+s.prefix+"instance_memory_limit_exceeded")
	case over(u.instances, l.TotalInstances):
		return s.full("%d instances would run, %d may", u.instances, *l.TotalInstances, "app_instance_limit "+s.prefix+"app_instance_limit_exceeded")
	case over(u.appTasks, l.TasksPerApp):
		return s.full("%d tasks of the app would run, %d may", u.appTasks, *l.TasksPerApp, "app_task_limit "+s.prefix+"app_task_limit_exceeded")
	case l.LogRate != nil && *l.LogRate >= 0 && u.boundless:
		return unprocessable("log_rate_limit cannot be unlimited in %s '%s'.", s.kind, s.name)
	case over(u.logRate, l.LogRate):
		return unprocessable("log_rate_limit exceeds %s log rate quota", s.kind)
	}
	return nil
}
