package api

import (
	"slices"
	"strconv"
	"time"

	"github.com/dewpaas/dew/cf"
)

// newProcess has the platform's defaults.
func newProcess(a *cf.App, kind string, instances int) *cf.Process {
	check := cf.HealthCheck{Type: "process"}
	if kind == "web" {
		check.Type = "port"
	}
	return &cf.Process{AppGUID: a.GUID, SpaceGUID: a.SpaceGUID, Type: kind, Instances: instances, MemoryMB: 1024, DiskMB: 1024, LogRate: -1,
		Health: check, Readiness: cf.HealthCheck{Type: "process"}, Version: cf.NewGUID()}
}

var processList = listing[*cf.Process]{
	filters: filters{"types": by("type"), "app_guids": by("app_guid"), "space_guids": by("space_guid"), "organization_guids": routeList.filters["organization_guids"]},
	visible: inVisibleSpaces,
	show: func(c *call, p *cf.Process) (obj, error) {
		o := showProcess(c, p)
		if p.Command != nil {
			o["command"] = "[PRIVATE DATA HIDDEN IN LISTS]"
		}
		return o, nil
	},
}

func showHealth(h cf.HealthCheck) obj {
	data := obj{}
	if h.Type != "process" || h.Timeout > 0 {
		data["timeout"], data["invocation_timeout"] = number(h.Timeout), number(h.InvocationTimeout)
	}
	if h.Interval > 0 {
		data["interval"] = h.Interval
	}
	if h.Type == "http" {
		data["endpoint"] = h.Endpoint
	}
	return obj{"type": h.Type, "data": data}
}

func number(n int) any {
	if n == 0 {
		return nil
	}
	return n
}

func showProcess(c *call, p *cf.Process) obj {
	return c.described(&p.Meta, "processes", obj{"type": p.Type, "command": p.Command, "instances": p.Instances, "memory_in_mb": p.MemoryMB, "disk_in_mb": p.DiskMB,
		"log_rate_limit_in_bytes_per_second": p.LogRate, "health_check": showHealth(p.Health), "readiness_health_check": showHealth(p.Readiness), "version": p.Version,
		"relationships": obj{"app": toOne(p.AppGUID), "revision": nil}})
}

func (s *Server) processRoutes(t table) {
	list(t, "/v3/processes", processList)
	for path, find := range map[string]func(c *call, what right) (*cf.Process, *cf.App, error){
		"/v3/processes/{guid}": (*call).processByGUID, "/v3/apps/{guid}/processes/{type}": (*call).processByType,
	} {
		t.get(path, func(c *call) (any, error) {
			p, _, err := find(c, look)
			if err != nil {
				return nil, err
			}
			return showProcess(c, p), nil
		})
		t.patch(path, func(c *call) (any, error) {
			p, a, err := find(c, develop)
			if err != nil {
				return nil, err
			}
			return c.updateProcess(p, a)
		})
		t.post(path+"/actions/scale", 202, func(c *call) (any, error) {
			p, a, err := find(c, operate)
			if err != nil {
				return nil, err
			}
			return c.scale(p, a)
		})
		t.get(path+"/stats", func(c *call) (any, error) {
			p, a, err := find(c, look)
			if err != nil {
				return nil, err
			}
			return c.stats(p, a)
		})
		empty(t, path+"/sidecars")
		t.delete(path+"/instances/{index}", 204, func(c *call) (any, error) {
			p, _, err := find(c, operate)
			if err != nil {
				return nil, err
			}
			return nil, c.stopInstance(p)
		})
	}
}

func (c *call) processByGUID(what right) (*cf.Process, *cf.App, error) {
	p, err := cf.Get[cf.Process](c.tx, c.param("guid"))
	if err != nil {
		return nil, nil, hide(err, "Process")
	}
	if _, err := c.space(p.SpaceGUID, what, "Process"); err != nil {
		return nil, nil, err
	}
	a, err := cf.Get[cf.App](c.tx, p.AppGUID)
	return p, a, err
}

func (c *call) processByType(what right) (*cf.Process, *cf.App, error) {
	a, _, err := c.app("guid", what)
	if err != nil {
		return nil, nil, err
	}
	p, err := cf.First[cf.Process](c.tx, cf.Is("app_guid", a.GUID), cf.Is("type", c.param("type")))
	if err != nil || p == nil {
		return nil, nil, hide(err, "Process")
	}
	return p, a, nil
}

type healthBody struct {
	Type *string `json:"type"`
	Data struct {
		Timeout    *int    `json:"timeout"`
		Invocation *int    `json:"invocation_timeout"`
		Interval   *int    `json:"interval"`
		Endpoint   *string `json:"endpoint"`
	} `json:"data"`
}

func (b *healthBody) apply(h *cf.HealthCheck) error {
	if b == nil {
		return nil
	}
	if b.Type != nil {
		h.Type = *b.Type
	}
	for from, into := range map[*int]*int{b.Data.Timeout: &h.Timeout, b.Data.Invocation: &h.InvocationTimeout, b.Data.Interval: &h.Interval} {
		if from != nil {
			*into = *from
		}
	}
	if b.Data.Endpoint != nil {
		h.Endpoint = *b.Data.Endpoint
	}
	return goodHealth(h)
}

func goodHealth(h *cf.HealthCheck) error {
	if h.Type == "none" {
		h.Type = "process"
	}
	if h.Type != "http" {
		h.Endpoint = ""
	} else if h.Endpoint == "" {
		h.Endpoint = "/"
	}
	switch {
	case !slices.Contains([]string{"port", "process", "http"}, h.Type):
		return unprocessable("Health check type must be \"port\", \"process\", or \"http\"")
	case h.Timeout < 0 || h.Timeout > 180:
		return unprocessable("Health check timeout must be between 1 and 180 seconds")
	case h.InvocationTimeout < 0 || h.Interval < 0:
		return unprocessable("Health check invocation timeout and interval must be greater than or equal to 1")
	case len(h.Endpoint) > 1024 || h.Endpoint != "" && h.Endpoint[0] != '/':
		return unprocessable("Health check endpoint must be a valid URI path")
	}
	return nil
}

func (c *call) updateProcess(p *cf.Process, a *cf.App) (any, error) {
	var b struct {
		Command   **string    `json:"command"`
		Health    *healthBody `json:"health_check"`
		Readiness *healthBody `json:"readiness_health_check"`
		Metadata  metadata    `json:"metadata"`
	}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	if b.Command != nil {
		p.Command = *b.Command
	}
	for err := range one3(b.Health.apply(&p.Health), b.Readiness.apply(&p.Readiness), b.Metadata.apply(&p.Meta)) {
		if err != nil {
			return nil, err
		}
	}
	if err := c.tx.Save(p); err != nil {
		return nil, err
	}
	return showProcess(c, p), c.recordApp("audit.app.process.update", a, obj{"process_guid": p.GUID})
}

// one3 yields each of the errors.
func one3(errs ...error) func(func(error) bool) {
	return func(yield func(error) bool) {
		for _, err := range errs {
			if !yield(err) {
				return
			}
		}
	}
}

type scaleBody struct {
	Instances *int   `json:"instances"`
	MemoryMB  *int   `json:"memory_in_mb"`
	DiskMB    *int   `json:"disk_in_mb"`
	LogRate   *int64 `json:"log_rate_limit_in_bytes_per_second"`
}

const (
	maxInstances = 1000
	maxMemoryMB  = 1 << 20
	maxDiskMB    = 2048
)

func (b scaleBody) apply(p *cf.Process) error {
	for from, into := range map[*int]*int{b.Instances: &p.Instances, b.MemoryMB: &p.MemoryMB, b.DiskMB: &p.DiskMB} {
		if from != nil {
			*into = *from
		}
	}
	if b.LogRate != nil {
		p.LogRate = *b.LogRate
	}
	switch {
	case p.Instances < 0 || p.Instances > maxInstances:
		return unprocessable("Instances must be between 0 and %d", maxInstances)
	case p.MemoryMB < 1 || p.MemoryMB > maxMemoryMB:
		return unprocessable("Memory in mb must be between 1 and %d", maxMemoryMB)
	case p.DiskMB < 1 || p.DiskMB > maxDiskMB:
		return unprocessable("Disk in mb must be between 1 and %d", maxDiskMB)
	case p.LogRate < -1:
		return unprocessable("Log rate limit in bytes per second must be greater than or equal to -1")
	}
	return nil
}

func (c *call) scale(p *cf.Process, a *cf.App) (any, error) {
	open, err := c.flag("app_scaling")
	if err != nil || !open && !c.admin() {
		return nil, orForbidden(err)
	}
	var b scaleBody
	if err := c.read(&b); err != nil {
		return nil, err
	}
	if err := b.apply(p); err != nil {
		return nil, err
	}
	s, err := cf.Get[cf.Space](c.tx, a.SpaceGUID)
	if err != nil {
		return nil, err
	}
	busy, err := cf.First[cf.Deployment](c.tx, cf.Is("app_guid", a.GUID), cf.Is("status_value", "ACTIVE"))
	if err != nil {
		return nil, err
	}
	if busy != nil && p.Type == "web" {
		return nil, unprocessable("Cannot scale this process while a deployment is in flight.")
	}
	if err := c.tx.Save(p); err != nil {
		return nil, err
	}
	if err := c.within(s); err != nil {
		return nil, err
	}
	if err := c.record("audit.app.process.scale", target(a), s, obj{"process_guid": p.GUID, "request": b}); err != nil {
		return nil, err
	}
	c.changed(a)
	return showProcess(c, p), nil
}

func (c *call) stats(p *cf.Process, a *cf.App) (any, error) {
	resources := []obj{}
	if a.State == cf.Stopped || p.Instances == 0 {
		return obj{"resources": resources}, nil
	}
	if c.runtime == nil {
		return nil, unavailable("No cell is connected to this API: instances cannot be seen.")
	}
	list, err := c.runtime.Instances(c.ctx, p.GUID)
	for _, i := range list {
		resources = append(resources, obj{"index": i.Index, "state": i.State, "type": p.Type, "uptime": int(time.Since(i.Since).Seconds()), "details": i.Details,
			"isolation_segment": nil, "routable": i.Routable, "mem_quota": int64(p.MemoryMB) << 20, "disk_quota": int64(p.DiskMB) << 20, "log_rate_limit": p.LogRate,
			"fds_quota": 16384, "host": "", "instance_ports": []obj{},
			"usage": obj{"time": time.Now().UTC().Format(time.RFC3339), "cpu": i.CPU, "cpu_entitlement": i.CPU, "mem": i.MemoryBytes, "disk": i.DiskBytes, "log_rate": i.LogRate}})
	}
	return obj{"resources": resources}, err
}

func (c *call) stopInstance(p *cf.Process) error {
	index, err := strconv.Atoi(c.param("index"))
	if err != nil || index < 0 || index >= p.Instances {
		return notFound("Instance")
	}
	if c.runtime == nil {
		return unavailable("No cell is connected to this API: there are no instances.")
	}
	c.after = func() error { return c.runtime.Stop(c.ctx, p.GUID, index) }
	return nil
}
