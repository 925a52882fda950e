package api

import (
	"bytes"
	"encoding/json"
	"math"
	"regexp"
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

const hidden = "[PRIVATE DATA HIDDEN IN LISTS]"

var processList = listing[*cf.Process]{
	filters: filters{"types": by("type"), "app_guids": by("app_guid"), "space_guids": by("space_guid"), "organization_guids": byOrg},
	visible: inVisibleSpaces, extra: []string{"embed"},
	show: func(c *call, p *cf.Process) (obj, error) {
		o := showProcess(c, p)
		if p.Command != nil {
			o["command"] = hidden
		}
		return o, c.embed(o, p)
	},
}

// embed adds to a listed process its instances, if the caller asked for them.
// They are asked of the runtime when the transaction is over.
func (c *call) embed(o obj, p *cf.Process) error {
	switch c.r.URL.Query().Get("embed") {
	case "":
		return nil
	case "process_instances":
	default:
		return badQuery("Invalid embedded resource: '%s'. Valid embedded resources are: 'process_instances'", c.r.URL.Query().Get("embed"))
	}
	a, err := cf.Get[cf.App](c.tx, p.AppGUID)
	if err != nil {
		return err
	}
	o["process_instances"] = []obj{}
	c.then(func() error {
		list, err := c.instances(p, a)
		o["process_instances"] = c.brief(list)
		return err
	})
	return nil
}

func (c *call) brief(list []cf.ActualLRP) []obj {
	out := []obj{}
	for _, i := range list {
		out = append(out, obj{"index": i.Index, "state": i.State, "since": int(math.Ceil(c.since(i)))}) // clients expect one from the start
	}
	return out
}

// since is for how many seconds an instance has been in its state.
func (c *call) since(i cf.ActualLRP) float64 {
	if i.Since.IsZero() {
		return 0
	}
	return max(0, c.now().Sub(i.Since).Seconds())
}

// instances are the wanted instances of a process, each with what the cells say
// of it: one that nobody knows is DOWN. It must not run inside a transaction.
func (c *call) instances(p *cf.Process, a *cf.App) ([]cf.ActualLRP, error) {
	if a.State != cf.Started || p.Launch == nil || c.runtime == nil {
		return nil, nil
	}
	known, err := c.runtime.Instances(c.ctx, p.GUID)
	if err != nil {
		return nil, err
	}
	byIndex := map[int]cf.ActualLRP{}
	for _, i := range known {
		byIndex[i.Index] = i
	}
	list := []cf.ActualLRP{}
	for index := range p.Instances {
		i, ok := byIndex[index]
		if !ok {
			i = cf.ActualLRP{ProcessGUID: p.GUID, Index: index, State: "DOWN", Since: p.UpdatedAt}
		}
		list = append(list, i)
	}
	return list, nil
}

// stopped are the instances of a process whose app is.
func stopped(p *cf.Process, a *cf.App) (list []cf.ActualLRP) {
	for index := range p.Instances {
		list = append(list, cf.ActualLRP{ProcessGUID: p.GUID, Index: index, State: "DOWN", Since: a.UpdatedAt})
	}
	return list
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
	var revision any
	if p.Launch != nil && p.Launch.RevisionGUID != "" {
		revision = toOne(p.Launch.RevisionGUID)
	}
	links := obj{"app": c.link("apps", p.AppGUID), "space": c.link("spaces", p.SpaceGUID), "stats": c.link("processes", p.GUID, "stats"),
		"process_instances": c.link("processes", p.GUID, "process_instances"),
		"scale":             obj{"href": c.url + "/v3/processes/" + p.GUID + "/actions/scale", "method": "POST"}}
	return c.described(&p.Meta, "processes", obj{"links": links, "user": nil, "type": p.Type, "command": p.Command, "instances": p.Instances, "memory_in_mb": p.MemoryMB, "disk_in_mb": p.DiskMB,
		"log_rate_limit_in_bytes_per_second": p.LogRate, "health_check": showHealth(p.Health), "readiness_health_check": showHealth(p.Readiness), "version": p.Version,
		"relationships": obj{"app": toOne(p.AppGUID), "revision": revision}})
}

func (s *Server) processRoutes(t table) {
	list(t, "/v3/processes", processList)
	under(t, "processes", processList)
	type finder func(c *call, what right) (*cf.Process, *cf.App, error)
	with := func(find finder, what right, f func(*call, *cf.Process, *cf.App) (any, error)) endpoint {
		return func(c *call) (any, error) {
			p, a, err := find(c, what)
			if err != nil {
				return nil, err
			}
			return f(c, p, a)
		}
	}
	for path, find := range map[string]finder{"/v3/processes/{guid}": (*call).processByGUID, "/v3/apps/{guid}/processes/{type}": (*call).processByType} {
		t.get(path, with(find, look, (*call).getProcess), "embed")
		t.patch(path, with(find, operate, (*call).updateProcess))
		t.post(path+"/actions/scale", 202, with(find, operate, (*call).scale))
		t.get(path+"/stats", with(find, look, (*call).stats))
		t.delete(path+"/instances/{index}", 204, with(find, operate, (*call).stopInstance))
	}
	t.get("/v3/processes/{guid}/process_instances", with((*call).processByGUID, look, func(c *call, p *cf.Process, a *cf.App) (any, error) {
		c.then(func() error {
			list, err := c.instances(p, a)
			if a.State != cf.Started { // here, unlike in lists, what would run is shown
				list = stopped(p, a)
			}
			c.late = obj{"resources": c.brief(list), "links": obj{"self": c.link("processes", p.GUID, "process_instances"), "process": c.link("processes", p.GUID)}}
			return err
		})
		return nil, nil
	}))
	sidecarRoutes(t)
}

// getProcess shows the command, which may hold secrets, to developers only.
func (c *call) getProcess(p *cf.Process, _ *cf.App) (any, error) {
	s, err := cf.Get[cf.Space](c.tx, p.SpaceGUID)
	if err != nil {
		return nil, err
	}
	o := showProcess(c, p)
	if p.Command == nil && p.Launch != nil {
		o["command"] = p.Launch.Command
	}
	if !c.may(s, secrets) {
		o["command"] = "[PRIVATE DATA HIDDEN]"
	}
	return o, c.embed(o, p)
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
	// While a deployment is under way the newest process of a type is meant.
	list, err := cf.List[cf.Process](c.tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", a.GUID), cf.Is("type", c.param("type"))}, Order: []cf.Order{{Key: "created_at", Descending: true}}, Limit: 1})
	if err != nil || len(list) == 0 {
		return nil, nil, hide(err, "Process")
	}
	return list[0], a, nil
}

// settled refuses changes to web processes that a deployment is moving.
func (c *call) settled(p *cf.Process, a *cf.App, verb string) error {
	d, err := c.deploying(a)
	if err == nil && d != nil && d.Reason != "CANCELING" && p.Type == "web" {
		err = unprocessable("Cannot %s this process while a deployment is in flight.", verb)
	}
	return err
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
	if err := c.settled(p, a, "update"); err != nil {
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

// UnmarshalJSON takes whole numbers in quotes too, as CAPI does.
func (b *scaleBody) UnmarshalJSON(text []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	for name, value := range fields {
		if digits := bytes.Trim(value, `"`); len(digits)+2 == len(value) && wholeNumber.Match(digits) {
			fields[name] = digits
		}
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	type plain scaleBody
	return json.Unmarshal(text, (*plain)(b))
}

var wholeNumber = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,17})$`)

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

// grown tells that a process wants more than before: who is over a quota that was
// lowered may still become smaller.
func grown(before, now *cf.Process) bool {
	return now.Instances > before.Instances || now.MemoryMB > before.MemoryMB || now.LogRate != before.LogRate
}

func (c *call) scale(p *cf.Process, a *cf.App) (any, error) {
	if err := c.enabled("app_scaling"); err != nil {
		return nil, err
	}
	if err := c.settled(p, a, "scale"); err != nil {
		return nil, err
	}
	var b scaleBody
	if err := c.read(&b); err != nil {
		return nil, err
	}
	before := *p
	if err := b.apply(p); err != nil {
		return nil, err
	}
	s, err := cf.Get[cf.Space](c.tx, a.SpaceGUID)
	if err != nil {
		return nil, err
	}
	if err := c.tx.Save(p); err != nil {
		return nil, err
	}
	if grown(&before, p) {
		if err := c.within(s, computing); err != nil {
			return nil, err
		}
	}
	if err := c.record("audit.app.process.scale", target(a), s, obj{"process_guid": p.GUID, "request": b}); err != nil {
		return nil, err
	}
	c.changed(a)
	return showProcess(c, p), nil
}

func (c *call) stats(p *cf.Process, a *cf.App) (any, error) {
	if a.State == cf.Stopped || p.Instances == 0 {
		return obj{"resources": []obj{}}, nil
	}
	if c.runtime == nil {
		return nil, unavailable("No cell is connected to this API: instances cannot be seen.")
	}
	c.then(func() error {
		list, err := c.instances(p, a)
		resources := []obj{}
		for _, i := range list {
			resources = append(resources, c.showStats(p, i))
		}
		c.late = obj{"resources": resources}
		return err
	})
	return nil, nil
}

func (c *call) showStats(p *cf.Process, i cf.ActualLRP) obj {
	o := obj{"index": i.Index, "instance_guid": i.InstanceGUID, "state": i.State, "type": p.Type, "uptime": int(c.since(i)), "details": nullable(i.Details), "isolation_segment": nil, "routable": i.Routable}
	if i.State == "DOWN" {
		return o
	}
	for name, value := range (obj{"mem_quota": int64(p.Launch.MemoryMB) << 20, "disk_quota": int64(p.Launch.DiskMB) << 20, "log_rate_limit": p.Launch.LogRate,
		"fds_quota": 16384, "host": i.Address, "instance_internal_ip": i.Address,
		"instance_ports": []obj{{"external": cf.AppPort, "internal": cf.AppPort, "external_tls_proxy_port": nil, "internal_tls_proxy_port": nil}},
		"usage":          obj{"time": c.now().UTC().Format(time.RFC3339), "cpu": i.CPU, "cpu_entitlement": i.Entitlement(), "mem": i.MemoryBytes, "disk": i.DiskBytes, "log_rate": i.LogRate}}) {
		o[name] = value
	}
	return o
}

func (c *call) stopInstance(p *cf.Process, a *cf.App) (any, error) {
	index, err := strconv.Atoi(c.param("index"))
	if err != nil || index < 0 || index >= p.Instances {
		return nil, notFound("Instance")
	}
	if c.runtime == nil {
		return nil, unavailable("No cell is connected to this API: there are no instances.")
	}
	c.then(func() error { return c.runtime.Stop(c.ctx, p.GUID, index) })
	return nil, c.recordApp("audit.app.process.terminate_instance", a, obj{"process_guid": p.GUID, "process_type": p.Type, "process_index": index})
}

// noSidecar is CAPI's sentence, and why it is always true.
func noSidecar() error {
	return &refusal{404, 10010, "CF-ResourceNotFound", "Sidecar not found: there are none, because a unikernel runs one program. Push the sidecar as an app of its own."}
}

// sidecarRoutes list none and refuse to make one.
func sidecarRoutes(t table) {
	none := func(what func(c *call) error) endpoint {
		return func(c *call) (any, error) {
			if err := what(c); err != nil {
				return nil, err
			}
			return fixedPage(c, nil)
		}
	}
	pages := fixedParams()
	t.get("/v3/processes/{guid}/sidecars", none(func(c *call) error { _, _, err := c.processByGUID(look); return err }), pages...)
	t.get("/v3/apps/{guid}/sidecars", none(func(c *call) error { _, _, err := c.app("guid", look); return err }), pages...)
	t.post("/v3/apps/{guid}/sidecars", 201, withApp(develop, func(*call, *cf.App) (obj, error) {
		return nil, unprocessable("Sidecars are not supported: a unikernel runs one program.")
	}))
	absent := func(*call) (any, error) { return nil, noSidecar() }
	t.get("/v3/sidecars/{guid}", absent)
	t.patch("/v3/sidecars/{guid}", absent)
	t.delete("/v3/sidecars/{guid}", 204, absent)
}
