package api

import (
	"net/http"
	"strconv"

	"github.com/dewpaas/dew/api/logcache"
	"github.com/dewpaas/dew/cf"
)

// logRoutes answer what cf logs asks. The paths are those of CF's log-cache.
func (s *Server) logRoutes(t table) {
	started := s.now()
	t.add(http.MethodGet, "/api/v1/info", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, obj{"version": logcache.Version, "vm_uptime": strconv.Itoa(int(s.now().Sub(started).Seconds()))})
	}, nil)
	t.stream(http.MethodGet, "/api/v1/read/{guid}", (*call).readLogs)
	t.stream(http.MethodGet, "/api/v1/meta", (*call).logMeta)
	t.raw(http.MethodGet, "/metrics", (*call).serveMetrics)
}

// readLogs shows the log of an app to everybody who may look at the app. The
// log of a deleted one is left to admins.
func (c *call) readLogs(w http.ResponseWriter) error {
	q, err := logcache.ParseQuery(c.r.URL.Query())
	if err != nil {
		return badQuery("%v", err)
	}
	guid := c.param("guid")
	var tags map[string]string
	var processes []*cf.Process
	var a *cf.App
	err = c.transact(false, func() (err error) {
		if a, _, err = c.app("guid", look); err != nil {
			if c.admin() {
				a, err = nil, nil
			}
			return err
		}
		p, err := cf.PlaceOf(c.tx, c.url, a)
		if err != nil {
			return err
		}
		tags = map[string]string{"app_id": a.GUID, "app_name": a.Name, "space_id": p.Space.GUID, "space_name": p.Space.Name, "organization_id": p.Org.GUID, "organization_name": p.Org.Name}
		if q.Gauges {
			processes, err = c.processesOf(a)
		}
		return err
	})
	if err != nil {
		return err
	}
	list := c.logs.Read(guid, q)
	if len(list) < q.Limit {
		list = append(list, c.gauges(a, processes, q)...)
	}
	return logcache.WriteEnvelopes(w, list, tags)
}

// gauges are the measurements of now: they are not kept.
func (c *call) gauges(a *cf.App, processes []*cf.Process, q logcache.Query) []logcache.Envelope {
	var out []logcache.Envelope
	now := c.now()
	if now.UnixNano() < q.From || now.UnixNano() >= q.To {
		return nil
	}
	for _, p := range processes {
		list, err := c.instances(p, a)
		if err != nil {
			return nil // lines are worth more than a failure to measure
		}
		for _, i := range list {
			if i.State == cf.InstanceDown || p.Launch == nil {
				continue
			}
			out = append(out, logcache.Gauge(a.GUID, now, i.Index, map[string]logcache.Metric{
				"cpu": {Unit: "percentage", Value: 100 * i.CPU}, "cpu_entitlement": {Unit: "percentage", Value: 100 * i.Entitlement()},
				"memory": {Unit: "bytes", Value: float64(i.MemoryBytes)}, "memory_quota": {Unit: "bytes", Value: float64(int64(p.Launch.MemoryMB) << 20)},
				"disk": {Unit: "bytes", Value: float64(i.DiskBytes)}, "disk_quota": {Unit: "bytes", Value: float64(int64(p.Launch.DiskMB) << 20)},
			}))
		}
	}
	return out
}

// logMeta tells which apps have lines; admins are told of deleted apps too.
func (c *call) logMeta(w http.ResponseWriter) error {
	seen := map[string]bool{}
	if !c.admin() {
		err := c.transact(false, func() error {
			var q cf.Query
			if err := inVisibleSpaces(c, &q); err != nil {
				return err
			}
			guids, err := guidsOf[cf.App](c, q)
			for _, g := range guids {
				seen[g] = true
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	reply(w, http.StatusOK, obj{"meta": c.logs.Meta(func(app string) bool { return seen[app] || c.admin() })})
	return nil
}
