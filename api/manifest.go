package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dewpaas/dew/cf"
)

// manifest is what a team writes about its apps. Keys that are not here are
// refused, so that a typing mistake does not pass as a wish.
type manifest struct {
	Version      int           `yaml:"version"`
	Applications []manifestApp `yaml:"applications"`
}

type manifestProcess struct {
	Type             string    `yaml:"type"`
	Command          yaml.Node `yaml:"command"` // a null resets, absence keeps
	Instances        *int      `yaml:"instances"`
	Memory           *string   `yaml:"memory"`
	DiskQuota        *string   `yaml:"disk_quota"`
	DiskHyphen       *string   `yaml:"disk-quota"`
	LogRate          *string   `yaml:"log-rate-limit-per-second"`
	HealthType       *string   `yaml:"health-check-type"`
	HealthEndpoint   *string   `yaml:"health-check-http-endpoint"`
	HealthInvocation *int      `yaml:"health-check-invocation-timeout"`
	HealthInterval   *int      `yaml:"health-check-interval"`
	Timeout          *int      `yaml:"timeout"`
	ReadyType        *string   `yaml:"readiness-health-check-type"`
	ReadyEndpoint    *string   `yaml:"readiness-health-check-http-endpoint"`
	ReadyInvocation  *int      `yaml:"readiness-health-check-invocation-timeout"`
	ReadyInterval    *int      `yaml:"readiness-health-check-interval"`
}

type manifestRoute struct {
	Route    string  `yaml:"route"`
	Protocol *string `yaml:"protocol"`
	Options  options `yaml:"options"`
}

// manifestService is the name of a service instance, or that and how to bind it.
type manifestService struct {
	Name       string         `yaml:"name"`
	Binding    string         `yaml:"binding_name"`
	Parameters map[string]any `yaml:"parameters"`
}

// UnmarshalYAML takes a name alone too. A typing mistake is refused, as in the
// rest of a manifest.
func (s *manifestService) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return n.Decode(&s.Name)
	}
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: a service is a name, or a map with one", n.Line)
	}
	for i := 0; i < len(n.Content); i += 2 {
		if key := n.Content[i].Value; key != "name" && key != "binding_name" && key != "parameters" {
			return fmt.Errorf("line %d: field %s not found in a service", n.Content[i].Line, key)
		}
	}
	type plain manifestService
	return n.Decode((*plain)(s))
}

type manifestApp struct {
	Name            string `yaml:"name"`
	Path            any    `yaml:"path"`
	manifestProcess `yaml:",inline"`
	Buildpacks      []string          `yaml:"buildpacks"`
	Buildpack       string            `yaml:"buildpack"`
	Stack           string            `yaml:"stack"`
	Lifecycle       string            `yaml:"lifecycle"`
	Docker          any               `yaml:"docker"`
	Env             map[string]any    `yaml:"env"`
	Routes          []manifestRoute   `yaml:"routes"`
	NoRoute         bool              `yaml:"no-route"`
	RandomRoute     bool              `yaml:"random-route"`
	DefaultRoute    bool              `yaml:"default-route"`
	Services        []manifestService `yaml:"services"`
	Sidecars        []any             `yaml:"sidecars"`
	Processes       []manifestProcess `yaml:"processes"`
	Metadata        metadata          `yaml:"metadata"`
	Features        map[string]bool   `yaml:"features"`
}

const maxManifestApps = 100

// goTypes are what the decoder says about our types, which are no reader's
// business.
var goTypes = regexp.MustCompile(` (in|into) type api\.\w+`)

// unknownKey is what the decoder says of a key that is no field. Its line is of the
// manifest as the CLI sends it, not as its author wrote it.
var unknownKey = regexp.MustCompile(`line \d+: field (\S+) not found`)

// inWords turns what the decoder says into what an author can act upon.
func inWords(err error) string {
	text := goTypes.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), "")
	return unknownKey.ReplaceAllString(text, "$0: the key is unknown, correct its spelling or take it out")
}

// parseManifest is the one door for manifests.
func parseManifest(text []byte) (*manifest, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	m := new(manifest)
	if err := d.Decode(m); err != nil {
		return nil, badBody("invalid manifest: %s", inWords(err))
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, badBody("invalid manifest: there is a second document")
	}
	if len(m.Applications) == 0 || len(m.Applications) > maxManifestApps {
		return nil, unprocessable("Cannot parse manifest with no 'applications' field, or with more than %d", maxManifestApps)
	}
	seen := map[string]bool{}
	for _, a := range m.Applications {
		switch {
		case a.Name == "":
			return nil, unprocessable("For application at index %d: Name must not be empty", len(seen))
		case seen[a.Name]:
			return nil, unprocessable("For application '%s': it is in the manifest twice", a.Name)
		case a.Docker != nil || a.Lifecycle == "docker":
			return nil, unprocessable("For application '%s': Docker support is disabled: droplets are built from Go source. Push the folder that holds it.", a.Name)
		case a.Lifecycle != "" && a.Lifecycle != "buildpack":
			return nil, unprocessable("For application '%s': Lifecycle '%s' is disabled: leave it out, droplets are built from Go source", a.Name, a.Lifecycle)
		case len(a.Sidecars) > 0:
			return nil, unprocessable("For application '%s': Sidecars are not supported: a unikernel runs one program", a.Name)
		case len(a.Services) > 100:
			return nil, unprocessable("For application '%s': at most 100 services", a.Name)
		case len(a.Processes) > 20 || len(a.Routes) > 100:
			return nil, unprocessable("For application '%s': at most 20 processes and 100 routes", a.Name)
		}
		seen[a.Name] = true
	}
	return m, nil
}

func (s *Server) manifestRoutes(t table) {
	t.post("/v3/spaces/{guid}/actions/apply_manifest", 202, (*call).applyManifest)
	t.post("/v3/spaces/{guid}/manifest_diff", 201, (*call).diffManifest)
	t.raw(http.MethodGet, "/v3/apps/{guid}/manifest", (*call).exportManifest)
}

func (c *call) applyManifest() (any, error) {
	s, err := c.space(c.param("guid"), develop, "Space")
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(c.body)
	if err != nil {
		return nil, err
	}
	var work []*cf.ServiceWork
	for _, a := range m.Applications {
		more, err := c.applyApp(s, a)
		if err != nil {
			var r *refusal
			if errors.As(err, &r) {
				return nil, &refusal{r.status, r.code, r.title, "For application '" + a.Name + "': " + r.detail}
			}
			return nil, err
		}
		work = append(work, more...)
	}
	if len(work) == 0 {
		return c.done("space.apply_manifest")
	}
	j, err := c.begin("space.apply_manifest")
	for _, w := range work {
		if w.JobGUID = j.GUID; err == nil {
			err = c.assignWork(w)
		}
	}
	return nil, err
}

// bindServices binds what is not bound yet, and returns what brokers have to do
// for it. Bindings that the manifest does not name stay.
func (c *call) bindServices(s *cf.Space, a *cf.App, wanted []manifestService) (work []*cf.ServiceWork, err error) {
	for _, m := range wanted {
		i, err := c.instanceNamed(s.GUID, m.Name)
		if err != nil || i == nil {
			return nil, orElse(err, unprocessable("Service instance '%s' not found", m.Name))
		}
		old, err := cf.First[cf.ServiceBinding](c.tx, cf.Is("app_guid", a.GUID), cf.Is("service_instance_guid", i.GUID))
		if err != nil {
			return nil, err
		}
		if old != nil {
			continue
		}
		b := &cf.ServiceBinding{Type: appBinding, Name: m.Binding, AppGUID: a.GUID, InstanceGUID: i.GUID, SpaceGUID: s.GUID}
		parameters := &m.Parameters
		if m.Parameters == nil {
			parameters = nil
		}
		w, err := c.bind(b, i, s, a, parameters)
		if err != nil {
			return nil, err
		}
		if w != nil {
			work = append(work, w)
		}
	}
	return work, nil
}

func (c *call) applyApp(s *cf.Space, m manifestApp) ([]*cf.ServiceWork, error) {
	a, err := cf.First[cf.App](c.tx, cf.Is("space_guid", s.GUID), cf.Is("name", m.Name))
	if err != nil {
		return nil, err
	}
	fresh := a == nil
	if fresh {
		a = &cf.App{Name: m.Name}
		if err := c.insertApp(a, s); err != nil {
			return nil, err
		}
	}
	if err := m.onApp(a); err != nil {
		return nil, err
	}
	if err := c.suits(a); err != nil {
		return nil, err
	}
	if err := c.tx.Save(a); err != nil {
		return nil, err
	}
	if err := c.record("audit.app.update", target(a), s, obj{"manifest_triggered": true}); err != nil {
		return nil, err
	}
	if err := c.applyProcesses(s, a, m); err != nil {
		return nil, err
	}
	if err := c.applyRoutes(s, a, m, fresh); err != nil {
		return nil, err
	}
	work, err := c.bindServices(s, a, m.Services)
	if err != nil {
		return nil, err
	}
	c.say(a.GUID, "Applied manifest to app with guid %s", a.GUID)
	return work, c.record("audit.app.apply_manifest", target(a), s, nil)
}

func (m manifestApp) onApp(a *cf.App) error {
	if m.Stack != "" {
		a.Stack = m.Stack
	}
	if m.Buildpack != "" {
		m.Buildpacks = []string{m.Buildpack}
	}
	if m.Buildpacks != nil {
		a.Buildpacks = m.Buildpacks
	}
	for k, v := range m.Env {
		if v == nil {
			delete(a.Env, k)
			continue
		}
		text, err := yaml.Marshal(v)
		if err != nil {
			return unprocessable("Environment variable %s cannot be read", k)
		}
		value := strings.TrimSuffix(string(text), "\n")
		if plain, ok := v.(string); ok {
			value = plain
		}
		a.Env = change(a.Env, k, &value)
	}
	for k, v := range m.Features {
		if _, err := showFeature(a, k); err != nil {
			return unprocessable("Feature '%s' is unknown", k)
		}
		if err := setFeature(a, k, v); err != nil {
			return err
		}
	}
	if err := m.Metadata.apply(&a.Meta); err != nil {
		return err
	}
	return goodEnv(a.Env)
}

func (c *call) applyProcesses(s *cf.Space, a *cf.App, m manifestApp) error {
	web := m.manifestProcess
	web.Type = "web"
	for _, spec := range append([]manifestProcess{web}, m.Processes...) {
		if spec.Type == "" || len(spec.Type) > 255 {
			return unprocessable("Process type must be a string of 1 to 255 characters")
		}
		p, err := cf.First[cf.Process](c.tx, cf.Is("app_guid", a.GUID), cf.Is("type", spec.Type))
		if err != nil {
			return err
		}
		fresh := p == nil
		if fresh {
			p = newProcess(a, spec.Type, 0)
		}
		before := *p
		if err := spec.onProcess(p); err != nil {
			return err
		}
		if fresh {
			err = c.tx.Insert(p)
		} else {
			err = c.tx.Save(p)
		}
		if err == nil && a.State == cf.Started && (fresh || grown(&before, p)) {
			err = c.within(s, computing)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m manifestProcess) onProcess(p *cf.Process) error {
	if m.Command.Kind != 0 {
		if m.Command.Kind != yaml.ScalarNode {
			return unprocessable("Process \"%s\": Command must be a string", p.Type)
		}
		p.Command = nil
		if m.Command.Tag != "!!null" {
			p.Command = &m.Command.Value
		}
	}
	b := scaleBody{Instances: m.Instances}
	disk := m.DiskQuota
	if disk == nil {
		disk = m.DiskHyphen
	}
	for _, size := range []struct {
		text *string
		into **int
		name string
	}{{m.Memory, &b.MemoryMB, "Memory"}, {disk, &b.DiskMB, "Disk quota"}} {
		if size.text == nil {
			continue
		}
		n, err := parseSize(*size.text)
		if err != nil {
			return unprocessable("Process \"%s\": %s must use a supported unit: B, K, KB, M, MB, G, GB, T, or TB", p.Type, size.name)
		}
		mb := int(n >> 20)
		*size.into = &mb
	}
	if m.LogRate != nil {
		n, err := parseSize(*m.LogRate)
		if *m.LogRate == "-1" {
			n, err = -1, nil
		}
		if err != nil {
			return unprocessable("Process \"%s\": Log rate limit must use a supported unit: B, K, KB, M, MB, G, GB, T, or TB", p.Type)
		}
		b.LogRate = &n
	}
	if err := b.apply(p); err != nil {
		return err
	}
	health := healthBody{Type: m.HealthType}
	health.Data.Endpoint, health.Data.Invocation, health.Data.Interval, health.Data.Timeout = m.HealthEndpoint, m.HealthInvocation, m.HealthInterval, m.Timeout
	if err := health.apply(&p.Health); err != nil {
		return err
	}
	ready := healthBody{Type: m.ReadyType}
	ready.Data.Endpoint, ready.Data.Invocation, ready.Data.Interval = m.ReadyEndpoint, m.ReadyInvocation, m.ReadyInterval
	return ready.apply(&p.Readiness)
}

var sizeForm = regexp.MustCompile(`^(\d{1,15})\s*([KMGT]?)B?$`)

// parseSize reads sizes like 64M, 1GB, 512K. A number alone has no unit and is
// refused, except 0.
func parseSize(text string) (int64, error) {
	text = strings.ToUpper(strings.TrimSpace(text))
	m := sizeForm.FindStringSubmatch(text)
	if m == nil || text == m[1] && text != "0" {
		return 0, errors.New("no size")
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	shift := map[string]int{"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[m[2]]
	if err != nil || n > math.MaxInt64>>shift {
		return 0, errors.New("too large")
	}
	return n << shift, nil
}

func (c *call) applyRoutes(s *cf.Space, a *cf.App, m manifestApp, fresh bool) error {
	if m.NoRoute {
		return c.dropDestinations(cf.Is("app_guid", a.GUID))
	}
	wanted := m.Routes
	if len(wanted) == 0 && (m.DefaultRoute || m.RandomRoute) {
		guids, err := c.mapped(a.GUID)
		if err != nil || len(guids) > 0 {
			return err
		}
		d, err := c.defaultDomain()
		if err != nil {
			return err
		}
		host := hostOf(a.Name)
		if m.RandomRoute {
			host += "-" + cf.NewGUID()[:8]
		}
		wanted = []manifestRoute{{Route: host + "." + d.Name}}
	}
	for _, r := range wanted {
		if err := c.applyRoute(s, a, r); err != nil {
			return err
		}
	}
	return nil
}

var notInHost = regexp.MustCompile(`[^a-z0-9-]+`)

func hostOf(app string) string {
	host := strings.Trim(notInHost.ReplaceAllString(strings.ToLower(app), "-"), "-")
	return host[:min(len(host), 50)]
}

func (c *call) applyRoute(s *cf.Space, a *cf.App, m manifestRoute) error {
	text := strings.TrimPrefix(strings.TrimPrefix(m.Route, "http://"), "https://")
	name, path, found := strings.Cut(text, "/")
	if found {
		path = "/" + path
	}
	r, d, err := c.splitRoute(strings.ToLower(name), s)
	if err != nil {
		return err
	}
	if d == nil {
		return unprocessable("The route '%s' is not a properly formed URL, or its domain does not exist: cf domains lists those that do", m.Route)
	}
	r.Path = path
	old, err := cf.First[cf.Route](c.tx, cf.Is("domain_guid", d.GUID), cf.Is("host", r.Host), cf.Is("path", r.Path))
	if err != nil {
		return err
	}
	if old == nil {
		err = c.insertRoute(r, d, s)
	} else {
		r = old
	}
	if err != nil {
		return err
	}
	if err := c.applyOptions(s, r, m); err != nil {
		return err
	}
	body := destinationBody{Protocol: m.Protocol}
	body.App.GUID = a.GUID
	return c.addDestination(r, body)
}

// applyOptions sets those of a route of the space. A route that is shared with it
// has its owner's.
func (c *call) applyOptions(s *cf.Space, r *cf.Route, m manifestRoute) error {
	if r.SpaceGUID == s.GUID {
		if err := m.Options.apply(c, r); err != nil {
			return err
		}
		return c.tx.Save(r)
	}
	has, err := c.has(s.GUID, sharedRoutes(), r.GUID, r.SpaceGUID)
	switch {
	case err != nil:
		return err
	case !has:
		return unprocessable("Routes cannot be mapped to destinations in different spaces: Route already exists for '%s'. Choose another route, or push with --random-route.", m.Route)
	case len(m.Options) > 0:
		return unprocessable("The route '%s' is shared with this space: its options are set in the space that owns it", m.Route)
	}
	return nil
}

// splitRoute finds the longest domain of the space that name ends in.
func (c *call) splitRoute(name string, s *cf.Space) (*cf.Route, *cf.Domain, error) {
	var host string
	for rest, i := name, 0; i < 10; i++ {
		q := cf.Query{Where: []cf.Cond{cf.Is("name", rest)}, Limit: 1}
		if err := domainsOf(s.OrgGUID)(c, &q, nil); err != nil {
			return nil, nil, err
		}
		list, err := cf.List[cf.Domain](c.tx, q)
		if err != nil {
			return nil, nil, err
		}
		if len(list) > 0 {
			return &cf.Route{SpaceGUID: s.GUID, DomainGUID: list[0].GUID, Host: host}, list[0], nil
		}
		var found bool
		_, rest, found = strings.Cut(rest, ".")
		if !found {
			break
		}
		host = strings.TrimSuffix(name, "."+rest)
	}
	return nil, nil, nil
}
