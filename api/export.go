package api

import (
	"fmt"
	"net/http"

	"go.yaml.in/yaml/v3"

	"github.com/dewpaas/dew/cf"
)

// exported is an app as its manifest would say it.
type exported struct {
	Name       string            `yaml:"name"`
	Lifecycle  string            `yaml:"lifecycle"`
	Stack      string            `yaml:"stack"`
	Buildpacks []string          `yaml:"buildpacks,omitempty"`
	Env        map[string]string `yaml:"env,omitempty"`
	Features   map[string]bool   `yaml:"features,omitempty"`
	Routes     []exportedRoute   `yaml:"routes,omitempty"`
	NoRoute    bool              `yaml:"no-route,omitempty"`
	Services   []any             `yaml:"services,omitempty"`
	Metadata   *exportedMeta     `yaml:"metadata,omitempty"`
	Processes  []exportedProcess `yaml:"processes"`
}

type exportedRoute struct {
	Route    string            `yaml:"route"`
	Protocol string            `yaml:"protocol"`
	Options  map[string]string `yaml:"options,omitempty"`
}

type exportedMeta struct {
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

type exportedProcess struct {
	Type             string  `yaml:"type"`
	Instances        int     `yaml:"instances"`
	Memory           string  `yaml:"memory"`
	Disk             string  `yaml:"disk_quota"`
	LogRate          string  `yaml:"log-rate-limit-per-second"`
	Command          *string `yaml:"command,omitempty"`
	HealthType       string  `yaml:"health-check-type"`
	HealthEndpoint   string  `yaml:"health-check-http-endpoint,omitempty"`
	HealthInvocation int     `yaml:"health-check-invocation-timeout,omitempty"`
	HealthInterval   int     `yaml:"health-check-interval,omitempty"`
	Timeout          int     `yaml:"timeout,omitempty"`
	ReadyType        string  `yaml:"readiness-health-check-type"`
	ReadyEndpoint    string  `yaml:"readiness-health-check-http-endpoint,omitempty"`
	ReadyInvocation  int     `yaml:"readiness-health-check-invocation-timeout,omitempty"`
	ReadyInterval    int     `yaml:"readiness-health-check-interval,omitempty"`
}

func exportProcess(p *cf.Process) exportedProcess {
	rate := fmt.Sprintf("%dB", p.LogRate)
	if p.LogRate < 0 {
		rate = "-1"
	}
	h, r := p.Health, p.Readiness
	return exportedProcess{p.Type, p.Instances, fmt.Sprintf("%dM", p.MemoryMB), fmt.Sprintf("%dM", p.DiskMB), rate, p.Command,
		h.Type, h.Endpoint, h.InvocationTimeout, h.Interval, h.Timeout, r.Type, r.Endpoint, r.InvocationTimeout, r.Interval}
}

// exportManifest answers with YAML, which the CLI saves as it is.
func (c *call) exportManifest(w http.ResponseWriter) error {
	var text []byte
	err := c.transact(false, func() error {
		a, _, err := c.app("guid", secrets)
		if err != nil {
			return err
		}
		e, err := c.export(a)
		if err != nil {
			return err
		}
		text, err = yaml.Marshal(map[string]any{"applications": []exported{e}})
		return err
	})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-yaml")
	_, err = w.Write(text)
	return err
}

func (c *call) export(a *cf.App) (exported, error) {
	e := exported{Name: a.Name, Lifecycle: a.Lifecycle, Stack: a.Stack, Buildpacks: a.Buildpacks, Env: a.Env, Features: a.Features}
	if len(a.Labels)+len(a.Annotations) > 0 {
		e.Metadata = &exportedMeta{a.Labels, a.Annotations}
	}
	processes, err := cf.List[cf.Process](c.tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", a.GUID), {Key: "deployment_guid", Op: cf.Absent}}, Order: []cf.Order{{Key: "type"}}})
	if err != nil {
		return e, err
	}
	for _, p := range processes {
		e.Processes = append(e.Processes, exportProcess(p))
	}
	bindings, err := cf.List[cf.ServiceBinding](c.tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", a.GUID)}, Order: []cf.Order{{Key: "created_at"}}})
	if err != nil {
		return e, err
	}
	for _, b := range bindings {
		i, err := cf.Get[cf.ServiceInstance](c.tx, b.InstanceGUID)
		if err != nil {
			return e, err
		}
		if b.Name == "" {
			e.Services = append(e.Services, i.Name)
		} else {
			e.Services = append(e.Services, map[string]string{"name": i.Name, "binding_name": b.Name})
		}
	}
	e.Routes, err = c.exportRoutes(a)
	e.NoRoute = len(e.Routes) == 0
	return e, err
}

func (c *call) exportRoutes(a *cf.App) ([]exportedRoute, error) {
	destinations, err := cf.List[cf.Destination](c.tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", a.GUID)}, Order: []cf.Order{{Key: "created_at"}}})
	var out []exportedRoute
	for _, to := range destinations {
		r, err := cf.Get[cf.Route](c.tx, to.RouteGUID)
		if err != nil {
			return nil, err
		}
		d, err := cf.Get[cf.Domain](c.tx, r.DomainGUID)
		if err != nil {
			return nil, err
		}
		out = append(out, exportedRoute{r.Address(d), to.Protocol, r.Options})
	}
	return out, err
}
