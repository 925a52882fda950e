package api

import (
	"fmt"
	"strings"

	"github.com/dewpaas/dew/cf"
)

var appList = listing[*cf.App]{
	filters: filters{"names": by("name"), "space_guids": by("space_guid"), "stacks": by("stack"), "lifecycle_type": by("lifecycle"),
		"organization_guids": routeList.filters["organization_guids"]},
	order: []string{"name", "state"}, visible: inVisibleSpaces, show: showApp,
	includes: map[string]func(*call, []*cf.App, obj) error{"space": func(c *call, page []*cf.App, included obj) error {
		guids := []string{}
		for _, a := range page {
			guids = append(guids, a.SpaceGUID)
		}
		return includeIn(c, included, "spaces", guids, showSpace)
	}},
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
	t.get("/v3/apps/{guid}", withApp(look, showApp))
	t.patch("/v3/apps/{guid}", withApp(develop, (*call).updateApp))
	t.delete("/v3/apps/{guid}", 202, (*call).deleteApp)
	for _, action := range []string{"start", "stop", "restart"} {
		t.post("/v3/apps/{guid}/actions/"+action, 200, withApp(operate, func(c *call, a *cf.App) (obj, error) { return c.act(a, action) }))
	}
	t.get("/v3/apps/{guid}/env", withApp(develop, (*call).env))
	t.get("/v3/apps/{guid}/environment_variables", withApp(develop, (*call).showVariables))
	t.patch("/v3/apps/{guid}/environment_variables", withApp(develop, (*call).setVariables))
	t.get("/v3/apps/{guid}/features/{feature}", withApp(look, (*call).feature))
	t.patch("/v3/apps/{guid}/features/{feature}", withApp(develop, (*call).setFeature))
	t.get("/v3/apps/{guid}/ssh_enabled", withApp(look, func(*call, *cf.App) (obj, error) {
		return obj{"enabled": false, "reason": "Unikernels have no shell: ssh is not offered"}, nil
	}))
	t.get("/v3/apps/{guid}/relationships/current_droplet", withApp(look, func(c *call, a *cf.App) (obj, error) {
		if a.DropletGUID == "" {
			return nil, notFound("Droplet")
		}
		return toOne(a.DropletGUID), nil
	}))
	t.patch("/v3/apps/{guid}/relationships/current_droplet", withApp(develop, (*call).setDroplet))
	t.get("/v3/apps/{guid}/droplets/current", withApp(look, func(c *call, a *cf.App) (obj, error) {
		d, err := cf.First[cf.Droplet](c.tx, cf.Is("guid", a.DropletGUID))
		if err != nil || d == nil {
			return nil, hide(err, "Droplet")
		}
		return showDroplet(c, d)
	}))
	under(t, "processes", processList)
	under(t, "packages", packageList)
	under(t, "droplets", dropletList)
	under(t, "builds", buildList)
	under(t, "revisions", revisionList)
	under(t, "revisions/deployed", revisionList)
	under(t, "tasks", taskList)
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
	if len(l.Data.Buildpacks) > 32 {
		return unprocessable("Buildpacks can be at most 32")
	}
	a.Buildpacks = l.Data.Buildpacks
	if l.Data.Stack != "" {
		a.Stack = l.Data.Stack
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
	s, err := c.space(b.Relationships.Space.guid(), develop, "Space")
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
	if a.Stack == "" {
		a.Stack = "cflinuxfs4"
	}
	if err := c.tx.Insert(a); err != nil {
		return taken(err, "App with the name '%s' already exists.", a.Name)
	}
	if err := c.tx.Insert(newProcess(a, "web", 1)); err != nil {
		return err
	}
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
	if err := c.tx.Delete(a); err != nil {
		return nil, err
	}
	if err := c.record("audit.app.delete-request", target(a), s, nil); err != nil {
		return nil, err
	}
	c.changed(a)
	after := c.after
	answer, err := c.done("app.delete")
	c.after = after
	return answer, err
}

// changed tells the runtime, once the change is on disk.
func (c *call) changed(a *cf.App) {
	if c.runtime == nil {
		return
	}
	c.after = func() error { return c.runtime.Changed(c.ctx, a.GUID) }
}

func (c *call) act(a *cf.App, action string) (obj, error) {
	if action == "stop" {
		a.State = cf.Stopped
	} else {
		if a.DropletGUID == "" {
			return nil, unprocessable("Assign a droplet before starting this app.")
		}
		if c.runtime == nil {
			return nil, unavailable("No cell is connected to this API: apps cannot be started.")
		}
		a.State = cf.Started
	}
	if err := c.tx.Save(a); err != nil {
		return nil, err
	}
	s, err := cf.Get[cf.Space](c.tx, a.SpaceGUID)
	if err != nil {
		return nil, err
	}
	if action == "restart" {
		if err := c.renew(a); err != nil {
			return nil, err
		}
	}
	if err := c.within(s); err != nil {
		return nil, err
	}
	if err := c.record("audit.app."+action, target(a), s, nil); err != nil {
		return nil, err
	}
	c.changed(a)
	return showApp(c, a)
}

// renew gives all processes a new version, so that every instance is replaced.
func (c *call) renew(a *cf.App) error {
	list, err := cf.List[cf.Process](c.tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", a.GUID)}})
	for _, p := range list {
		p.Version = cf.NewGUID()
		if err := c.tx.Save(p); err != nil {
			return err
		}
	}
	return err
}

func (c *call) setDroplet(a *cf.App) (obj, error) {
	var b one
	if err := c.read(&b); err != nil {
		return nil, err
	}
	d, err := cf.First[cf.Droplet](c.tx, cf.Is("guid", b.guid()), cf.Is("app_guid", a.GUID), cf.Is("state", "STAGED"))
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, unprocessable("Unable to assign current droplet. Ensure the droplet exists and belongs to this app.")
	}
	a.DropletGUID = d.GUID
	if err := c.tx.Save(a); err != nil {
		return nil, err
	}
	for kind := range d.ProcessTypes {
		p, err := cf.First[cf.Process](c.tx, cf.Is("app_guid", a.GUID), cf.Is("type", kind))
		if err == nil && p == nil {
			err = c.tx.Insert(newProcess(a, kind, 0))
		}
		if err != nil {
			return nil, err
		}
	}
	c.changed(a)
	return toOne(d.GUID), c.recordApp("audit.app.droplet.mapped", a, obj{"request": obj{"droplet_guid": d.GUID}})
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

func (c *call) env(a *cf.App) (obj, error) {
	groups := map[string]map[string]string{}
	for _, name := range []string{"running", "staging"} {
		s, err := cf.First[cf.Setting](c.tx, cf.Is("guid", "env:"+name))
		if err != nil {
			return nil, err
		}
		groups[name] = map[string]string{}
		if s != nil {
			groups[name] = filled(s.Env)
		}
	}
	s, err := cf.Get[cf.Space](c.tx, a.SpaceGUID)
	if err != nil {
		return nil, err
	}
	o, err := cf.Get[cf.Organization](c.tx, s.OrgGUID)
	if err != nil {
		return nil, err
	}
	guids, err := c.mapped(a.GUID)
	if err != nil {
		return nil, err
	}
	uris := []string{}
	routes, err := cf.List[cf.Route](c.tx, cf.Query{Where: []cf.Cond{cf.Is("guid", guids...)}})
	for _, r := range routes {
		d, err := cf.Get[cf.Domain](c.tx, r.DomainGUID)
		if err != nil {
			return nil, err
		}
		uris = append(uris, r.Address(d))
	}
	vcap := obj{"cf_api": c.url, "application_id": a.GUID, "application_name": a.Name, "name": a.Name, "space_id": s.GUID, "space_name": s.Name,
		"organization_id": o.GUID, "organization_name": o.Name, "application_uris": uris, "uris": uris, "users": nil, "limits": obj{"fds": 16384}}
	return obj{"staging_env_json": groups["staging"], "running_env_json": groups["running"], "environment_variables": filled(a.Env),
		"system_env_json": obj{"VCAP_SERVICES": obj{}}, "application_env_json": obj{"VCAP_APPLICATION": vcap}}, err
}

func (c *call) feature(a *cf.App) (obj, error) {
	name := c.param("feature")
	about, known := map[string]string{"revisions": "Enable versioning of an application", "ssh": "Enable SSHing into the app."}[name]
	if !known {
		return nil, notFound("Feature")
	}
	on, set := a.Features[name]
	if !set {
		on = name == "revisions"
	}
	return obj{"name": name, "description": about, "enabled": on}, nil
}

func (c *call) setFeature(a *cf.App) (obj, error) {
	var b struct{ Enabled bool }
	if err := c.read(&b); err != nil {
		return nil, err
	}
	if a.Features == nil {
		a.Features = map[string]bool{}
	}
	a.Features[c.param("feature")] = b.Enabled
	if _, err := c.feature(a); err != nil {
		return nil, err
	}
	if err := c.tx.Save(a); err != nil {
		return nil, err
	}
	return c.feature(a)
}
