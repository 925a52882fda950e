package api

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/dewpaas/dew/cf"
)

var appList = listing[*cf.App]{
	filters: filters{"names": by("name"), "space_guids": by("space_guid"), "stacks": by("stack"), "lifecycle_type": by("lifecycle"),
		"organization_guids": byOrg},
	order: []string{"name", "state"}, visible: inVisibleSpaces, show: showApp,
	includes: spacesAndOrgs(func(a *cf.App) string { return a.SpaceGUID }),
}

// spacesAndOrgs are the includes of what lives in a space.
func spacesAndOrgs[P cf.Record](spaceOf func(P) string) map[string]func(*call, []P, obj) error {
	spaces := func(c *call, page []P, included obj) error {
		return includeIn(c, included, "spaces", each(page, spaceOf), showSpace)
	}
	both := func(c *call, page []P, included obj) error {
		if err := spaces(c, page, included); err != nil {
			return err
		}
		list, err := cf.List[cf.Space](c.tx, cf.Query{Where: []cf.Cond{cf.Is("guid", each(page, spaceOf)...)}})
		if err != nil {
			return err
		}
		return includeOrgs(c, list, included)
	}
	return map[string]func(*call, []P, obj) error{"space": spaces, "space.organization": both, "org": both}
}

// each is f of every entry.
func each[P any](page []P, f func(P) string) []string {
	out := []string{}
	for _, p := range page {
		out = append(out, f(p))
	}
	return out
}

func showApp(c *call, a *cf.App) (obj, error) {
	packs := a.Buildpacks
	if packs == nil {
		packs = []string{}
	}
	links := obj{}
	for _, part := range []string{"processes", "packages", "droplets", "tasks", "environment_variables", "features"} {
		links[part] = c.link("apps", a.GUID, part)
	}
	return c.described(&a.Meta, "apps", obj{"name": a.Name, "state": a.State, "lifecycle": obj{"type": a.Lifecycle, "data": obj{"buildpacks": packs, "stack": a.Stack}},
		"relationships": obj{"space": toOne(a.SpaceGUID), "current_droplet": toOne(a.DropletGUID)}, "links": links}), nil
}

func (s *Server) appRoutes(t table) {
	list(t, "/v3/apps", appList)
	t.post("/v3/apps", 201, (*call).createApp)
	t.get("/v3/apps/{guid}", func(c *call) (any, error) { return seen(c, appList, "App") }, "include")
	t.patch("/v3/apps/{guid}", withApp(develop, (*call).updateApp))
	t.delete("/v3/apps/{guid}", 202, (*call).deleteApp)
	t.post("/v3/apps/{guid}/actions/clear_buildpack_cache", 202, withApp(operate, func(c *call, _ *cf.App) (obj, error) {
		_, err := c.done("app.clear_buildpack_cache") // builds have no cache of their own
		return nil, err
	}))
	for _, action := range []string{"start", "stop", "restart"} {
		t.post("/v3/apps/{guid}/actions/"+action, 200, withApp(operate, func(c *call, a *cf.App) (obj, error) { return c.act(a, action) }))
	}
	t.getAndNote("/v3/apps/{guid}/env", withApp(look, (*call).env))
	t.getAndNote("/v3/apps/{guid}/environment_variables", withApp(look, (*call).readVariables))
	t.patch("/v3/apps/{guid}/environment_variables", withApp(operate, (*call).setVariables))
	t.get("/v3/apps/{guid}/permissions", withApp(look, (*call).permissions))
	t.get("/v3/apps/{guid}/features", withApp(look, (*call).features))
	t.get("/v3/apps/{guid}/features/{feature}", withApp(look, (*call).feature))
	t.patch("/v3/apps/{guid}/features/{feature}", withApp(operate, (*call).setFeature))
	t.get("/v3/apps/{guid}/ssh_enabled", withApp(look, func(*call, *cf.App) (obj, error) {
		return obj{"enabled": false, "reason": "Unikernels have no shell: ssh is not offered"}, nil
	}))
	t.get("/v3/apps/{guid}/relationships/current_droplet", withApp(look, func(c *call, a *cf.App) (obj, error) {
		if a.DropletGUID == "" {
			return nil, notFound("Droplet")
		}
		return obj{"data": obj{"guid": a.DropletGUID}, "links": obj{"self": c.link("apps", a.GUID, "relationships", "current_droplet"),
			"related": c.link("apps", a.GUID, "droplets", "current")}}, nil
	}))
	t.patch("/v3/apps/{guid}/relationships/current_droplet", withApp(operate, (*call).setDroplet))
	t.get("/v3/apps/{guid}/droplets/current", withApp(look, func(c *call, a *cf.App) (obj, error) {
		d, err := cf.First[cf.Droplet](c.tx, cf.Is("guid", a.DropletGUID))
		if err != nil || d == nil {
			return nil, hide(err, "Droplet")
		}
		return showDroplet(c, d)
	}))
	t.get("/v3/apps/{guid}/routes", func(c *call) (any, error) {
		a, _, err := c.app("guid", look)
		if err != nil {
			return nil, err
		}
		q, err := routeList.query(c)
		if err != nil {
			return nil, err
		}
		guids, err := c.mapped(a.GUID)
		q.Where = append(q.Where, cf.Is("guid", guids...))
		if err != nil {
			return nil, err
		}
		return answer[cf.Route](c, routeList, q)
	}, routeList.params()...)
}

// under lists the records of one app.
func under[T any, P interface {
	*T
	cf.Record
}](t table, name string, l listing[P]) {
	list(t, "/v3/apps/{guid}/"+name, l, func(c *call, q *cf.Query, _ []string) error {
		a, _, err := c.app("guid", look)
		if err == nil {
			q.Where = append(q.Where, cf.Is("app_guid", a.GUID))
		}
		return err
	})
}

func (c *call) app(param string, what right) (*cf.App, *cf.Space, error) {
	a, err := cf.Get[cf.App](c.tx, c.param(param))
	if err != nil {
		return nil, nil, hide(err, "App")
	}
	s, err := c.space(a.SpaceGUID, what, "App")
	return a, s, err
}

func withApp(what right, f func(*call, *cf.App) (obj, error)) endpoint {
	return func(c *call) (any, error) {
		a, _, err := c.app("guid", what)
		if err != nil {
			return nil, err
		}
		return f(c, a)
	}
}

type lifecycle struct {
	Type string `json:"type"`
	Data struct {
		Buildpacks []string `json:"buildpacks"`
		Stack      string   `json:"stack"`
	} `json:"data"`
}

func (l *lifecycle) apply(a *cf.App) error {
	if l == nil {
		return nil
	}
	if l.Type != "" && l.Type != "buildpack" {
		return unprocessable("Lifecycle type '%s' is disabled: droplets are built from Go source. Docker support is disabled.", l.Type)
	}
	a.Buildpacks = l.Data.Buildpacks
	if l.Data.Stack != "" {
		a.Stack = l.Data.Stack
	}
	return nil
}

// stackForm are the stacks of CF that manifests name. None of them is used: a
// droplet brings its own operating system.
var stackForm = regexp.MustCompile(`^cflinuxfs\d{1,2}$`)

const ourStack = "cflinuxfs4"

// suits checks the stack and the buildpacks of an app, and warns about those
// that have no effect.
func (c *call) suits(a *cf.App) error {
	if a.Stack == "" {
		a.Stack = ourStack
	}
	if !stackForm.MatchString(a.Stack) {
		return unprocessable("Stack must be an existing stack: this platform has %s.", ourStack)
	}
	if a.Stack != ourStack {
		c.warn("Stack %s has no effect: droplets are unikernels and bring their own operating system.", a.Stack)
	}
	if len(a.Buildpacks) > 32 {
		return unprocessable("Buildpacks can be at most 32")
	}
	for _, b := range a.Buildpacks {
		if len(b) > 255 {
			return unprocessable("Buildpack names can have at most 255 characters")
		}
		if b != "go_buildpack" && b != "binary_buildpack" {
			c.warn("Buildpack %s has no effect: Dew builds droplets from Go source itself.", b)
		}
	}
	return nil
}

func (c *call) createApp() (any, error) {
	var b struct {
		Name          string            `json:"name"`
		Lifecycle     *lifecycle        `json:"lifecycle"`
		Env           map[string]string `json:"environment_variables"`
		Metadata      metadata          `json:"metadata"`
		Relationships struct{ Space one }
	}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	s, err := c.spaceFrom(b.Relationships.Space, develop)
	if err != nil {
		return nil, err
	}
	a := &cf.App{Name: b.Name, Env: b.Env}
	if err := b.Lifecycle.apply(a); err != nil {
		return nil, err
	}
	if err := goodEnv(a.Env); err != nil {
		return nil, err
	}
	if err := b.Metadata.apply(&a.Meta); err != nil {
		return nil, err
	}
	if err := c.insertApp(a, s); err != nil {
		return nil, err
	}
	return showApp(c, a)
}

// insertApp makes the app and the web process that every app has.
func (c *call) insertApp(a *cf.App, s *cf.Space) error {
	if err := goodName(a.Name); err != nil {
		return err
	}
	a.SpaceGUID, a.State, a.Lifecycle = s.GUID, cf.Stopped, "buildpack"
	if err := c.suits(a); err != nil {
		return err
	}
	if err := c.tx.Insert(a); err != nil {
		return taken(err, "App with the name '%s' already exists.", a.Name)
	}
	if err := c.tx.Insert(newProcess(a, "web", 1)); err != nil {
		return err
	}
	// A push asks four times a second for logs until there is a first line.
	c.say(a.GUID, "Created app with guid %s", a.GUID)
	return c.record("audit.app.create", target(a), s, nil)
}

func (c *call) updateApp(a *cf.App) (obj, error) {
	var b struct {
		Name      *string    `json:"name"`
		Lifecycle *lifecycle `json:"lifecycle"`
		Metadata  metadata   `json:"metadata"`
	}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	if b.Name != nil {
		a.Name = *b.Name
	}
	if err := goodName(a.Name); err != nil {
		return nil, err
	}
	if err := b.Lifecycle.apply(a); err != nil {
		return nil, err
	}
	if err := c.suits(a); err != nil {
		return nil, err
	}
	if err := b.Metadata.apply(&a.Meta); err != nil {
		return nil, err
	}
	if err := c.tx.Save(a); err != nil {
		return nil, taken(err, "App with the name '%s' already exists.", a.Name)
	}
	if err := c.recordApp("audit.app.update", a, nil); err != nil {
		return nil, err
	}
	return showApp(c, a)
}

func (c *call) recordApp(event string, a *cf.App, data obj) error {
	s, err := cf.Get[cf.Space](c.tx, a.SpaceGUID)
	if err != nil {
		return err
	}
	return c.record(event, target(a), s, data)
}

func (c *call) deleteApp() (any, error) {
	a, s, err := c.app("guid", develop)
	if err != nil {
		return nil, err
	}
	if err := c.release(cf.Is("app_guid", a.GUID), false); err != nil {
		return nil, err
	}
	if err := c.tx.Delete(a); err != nil {
		return nil, err
	}
	if err := c.record("audit.app.delete-request", target(a), s, nil); err != nil {
		return nil, err
	}
	c.say(a.GUID, "Deleted app with guid %s", a.GUID)
	c.changed(a)
	return c.done("app.delete")
}

func goodEnv(env map[string]string) error {
	size := 0
	for k, v := range env {
		size += len(k) + len(v)
		switch {
		case k == "" || strings.ContainsAny(k, "=\x00") || strings.ContainsRune(v, 0):
			return unprocessable("Environment variable names must not be empty or contain '='")
		case strings.HasPrefix(strings.ToUpper(k), "VCAP_"):
			return unprocessable("Environment variables cannot start with VCAP_")
		case strings.ToUpper(k) == "PORT":
			return unprocessable("Environment variables cannot set PORT")
		}
	}
	if size > 64<<10 {
		return unprocessable("Environment variables are too large: %d bytes of at most 65536", size)
	}
	return nil
}

// variables merges the change in the body into env.
func (c *call) variables(env map[string]string) (map[string]string, error) {
	var b struct{ Var map[string]any }
	if err := c.read(&b); err != nil {
		return nil, err
	}
	for k, v := range b.Var {
		if v == nil {
			delete(env, k)
			continue
		}
		text := fmt.Sprint(v)
		if _, nested := v.(map[string]any); nested {
			return nil, unprocessable("Non-string value in environment variable for key '%s'", k)
		}
		env = change(env, k, &text)
	}
	return env, goodEnv(env)
}

// readVariables is for developers and supporters, and notes who looked.
func (c *call) readVariables(a *cf.App) (obj, error) {
	s, err := cf.Get[cf.Space](c.tx, a.SpaceGUID)
	if err != nil {
		return nil, err
	}
	if err := c.mayRead(s); err != nil {
		return nil, err
	}
	if err := c.record("audit.app.environment_variables.show", target(a), s, nil); err != nil {
		return nil, err
	}
	return c.showVariables(a)
}

func (c *call) showVariables(a *cf.App) (obj, error) {
	return obj{"var": filled(a.Env), "links": obj{"self": c.link("apps", a.GUID, "environment_variables"), "app": c.link("apps", a.GUID)}}, nil
}

func (c *call) setVariables(a *cf.App) (obj, error) {
	var err error
	if a.Env, err = c.variables(a.Env); err != nil {
		return nil, err
	}
	if err := c.tx.Save(a); err != nil {
		return nil, err
	}
	if err := c.recordApp("audit.app.update", a, obj{"request": obj{"environment_variables": "[PRIVATE DATA HIDDEN]"}}); err != nil {
		return nil, err
	}
	return c.showVariables(a)
}

var featureAbout = [][2]string{{"ssh", "Enable SSHing into the app."}, {"revisions", "Enable versioning of an application"},
	{"service-binding-k8s", "Enable k8s service bindings for the app"}, {"file-based-vcap-services", "Enable file-based VCAP service bindings for the app"}}

// featureOn tells whether an app has a feature. Revisions are on unless somebody
// turned them off.
func featureOn(a *cf.App, name string) bool {
	on, set := a.Features[name]
	return on || !set && name == "revisions"
}

func showFeature(a *cf.App, name string) (obj, error) {
	for _, f := range featureAbout {
		if f[0] == name {
			return obj{"name": name, "description": f[1], "enabled": featureOn(a, name)}, nil
		}
	}
	return nil, notFound("Feature")
}

func (c *call) feature(a *cf.App) (obj, error) { return showFeature(a, c.param("feature")) }

func (c *call) features(a *cf.App) (obj, error) {
	list := []obj{}
	for _, f := range featureAbout {
		o, err := showFeature(a, f[0])
		if err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	return obj{"resources": list, "pagination": c.pagination(cf.Query{Limit: defaultPerPage}, len(list))}, nil
}

// setFeature keeps the wish for ssh, which has no effect, because the CLI sends
// it. What would change how services are told to an app is refused.
func (c *call) setFeature(a *cf.App) (obj, error) {
	var b struct {
		Enabled *bool `json:"enabled"`
	}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	name := c.param("feature")
	if _, err := showFeature(a, name); err != nil {
		return nil, err
	}
	if name != "revisions" {
		if _, err := c.space(a.SpaceGUID, develop, "App"); err != nil {
			return nil, err
		}
	}
	if b.Enabled == nil {
		return nil, unprocessable("Enabled must be a boolean")
	}
	if err := setFeature(a, name, *b.Enabled); err != nil {
		return nil, err
	}
	if err := c.tx.Save(a); err != nil {
		return nil, err
	}
	if err := c.recordApp("audit.app.update", a, obj{"request": obj{"features": obj{name: *b.Enabled}}}); err != nil {
		return nil, err
	}
	return showFeature(a, name)
}

func setFeature(a *cf.App, name string, on bool) error {
	if name != "ssh" && name != "revisions" && on {
		return unprocessable("Feature '%s' is not supported: services are told in VCAP_SERVICES.", name)
	}
	if a.Features == nil {
		a.Features = map[string]bool{}
	}
	a.Features[name] = on
	return nil
}

// permissions is what logs and consoles ask before they show an app.
func (c *call) permissions(a *cf.App) (obj, error) {
	s, err := cf.Get[cf.Space](c.tx, a.SpaceGUID)
	if err != nil {
		return nil, err
	}
	return obj{"read_basic_data": true, "read_sensitive_data": c.may(s, secrets)}, nil
}

// appFrom is the app that a body names, for a purpose.
func (c *call) appFrom(o one, what right) (*cf.App, *cf.Space, error) {
	gone := unprocessable("App is invalid. Ensure it exists and you have access to it.")
	a, err := cf.First[cf.App](c.tx, cf.Is("guid", o.guid()))
	if err != nil {
		return nil, nil, err
	}
	if a == nil {
		return nil, nil, gone
	}
	s, err := c.space(a.SpaceGUID, what, "App")
	return a, s, unlessForbidden(err, gone)
}

func target(a *cf.App) cf.Actor { return cf.Actor{GUID: a.GUID, Type: "app", Name: a.Name} }
