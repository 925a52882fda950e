package api

import (
	"fmt"

	"github.com/dewpaas/dew/cf"
)

// changed tells the runtime, once the change is on disk.
func (c *call) changed(a *cf.App) {
	if c.runtime != nil {
		c.then(func() error { return c.runtime.Changed(c.ctx, a.GUID) })
	}
}

// say writes a line of the API into the app's log, once the change is on disk.
func (c *call) say(app string, format string, args ...any) {
	c.then(func() error {
		c.logs.Log(cf.LogLine{AppGUID: app, Time: c.now(), Source: "API", Instance: "0", Text: fmt.Appendf(nil, format, args...)})
		return nil
	})
}

func (c *call) act(a *cf.App, action string) (obj, error) {
	s, err := cf.Get[cf.Space](c.tx, a.SpaceGUID)
	if err != nil {
		return nil, err
	}
	if err := c.abandon(a); err != nil {
		return nil, err
	}
	if action == "stop" {
		a.State = cf.Stopped
		err = c.tx.Save(a)
	} else if a.State != cf.Started || action == "restart" {
		err = c.start(a, s, "")
	}
	if err != nil {
		return nil, err
	}
	if err := c.record("audit.app."+action, target(a), s, nil); err != nil {
		return nil, err
	}
	c.say(a.GUID, `Updated app with guid %s ({"state":%q})`, a.GUID, a.State)
	c.changed(a)
	return showApp(c, a)
}

// start makes a launch for each process of the app, so that every instance is
// replaced, and notes the revision: the given one, or a new one if needed.
func (c *call) start(a *cf.App, s *cf.Space, revision string) error {
	if a.DropletGUID == "" {
		return unprocessable("Assign a droplet before starting this app.")
	}
	if c.runtime == nil {
		return unavailable("No cell is connected to this API: apps cannot be started.")
	}
	a.State = cf.Started
	if err := c.tx.Save(a); err != nil {
		return err
	}
	if revision == "" {
		r, err := c.revise(a)
		if err != nil {
			return err
		}
		revision = r.GUID
	}
	list, err := c.processesOf(a)
	if err != nil {
		return err
	}
	for _, p := range list {
		if err := c.launch(a, p, revision); err != nil {
			return err
		}
	}
	return c.within(s, computing)
}

// processesOf are the processes of an app, oldest first.
func (c *call) processesOf(a *cf.App) ([]*cf.Process, error) {
	return cf.List[cf.Process](c.tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", a.GUID)}, Order: []cf.Order{{Key: "created_at"}}})
}

// launch fixes what instances of the process are made from. A process without a
// command runs nothing: its type may be one that the droplet no longer has.
func (c *call) launch(a *cf.App, p *cf.Process, revision string) error {
	p.Version = cf.NewGUID()
	l, err := cf.Prepare(c.tx, c.url, a, p)
	switch cf.KindOf(err) {
	case cf.Conflict:
		return unprocessable("Assign a droplet before starting this app.")
	case cf.Invalid:
		if p.Type == "web" && p.Instances > 0 {
			return unprocessable("There is no start command for process 'web': push with -c COMMAND, or with a Procfile.")
		}
		p.Launch = nil
		return c.tx.Save(p)
	}
	if err != nil {
		return err
	}
	l.RevisionGUID = revision
	p.Launch = l
	return c.tx.Save(p)
}

// deploying finds the deployment that is under way, or nil.
func (c *call) deploying(a *cf.App) (*cf.Deployment, error) {
	return cf.First[cf.Deployment](c.tx, cf.Is("app_guid", a.GUID), cf.Is("status_value", cf.Active))
}

func (c *call) setDroplet(a *cf.App) (obj, error) {
	var b one
	if err := c.read(&b); err != nil {
		return nil, err
	}
	if d, err := c.deploying(a); err != nil || d != nil && d.Reason != "CANCELING" {
		return nil, orElse(err, unprocessable("Cannot set the current droplet while a deployment is in flight."))
	}
	if err := c.assignDroplet(a, b.guid()); err != nil {
		return nil, err
	}
	return obj{"data": obj{"guid": a.DropletGUID}, "links": obj{"self": c.link("apps", a.GUID, "relationships", "current_droplet"),
		"related": c.link("apps", a.GUID, "droplets", "current")}}, c.recordApp("audit.app.droplet.mapped", a, obj{"request": obj{"droplet_guid": a.DropletGUID}})
}

// assignDroplet makes a droplet the app's current one and adds the process types
// that are new in it. What runs stays until the next start.
func (c *call) assignDroplet(a *cf.App, guid string) error {
	d, err := cf.First[cf.Droplet](c.tx, cf.Is("guid", guid), cf.Is("app_guid", a.GUID), cf.Is("state", "STAGED"))
	if err == nil && d == nil {
		err = unprocessable("Unable to assign current droplet. Ensure the droplet exists and belongs to this app.")
	}
	if err != nil {
		return err
	}
	a.DropletGUID = d.GUID
	if err := c.tx.Save(a); err != nil {
		return err
	}
	for kind := range d.ProcessTypes {
		p, err := cf.First[cf.Process](c.tx, cf.Is("app_guid", a.GUID), cf.Is("type", kind))
		if err == nil && p == nil {
			err = c.tx.Insert(newProcess(a, kind, 0))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mayRead lets developers and supporters read environments, unless an admin has
// turned that off for all or for them.
func (c *call) mayRead(s *cf.Space) error {
	if !c.may(s, operate) && !c.may(s, secrets) {
		return forbidden()
	}
	if err := c.enabled("env_var_visibility"); err != nil {
		return err
	}
	return c.enabled("space_developer_env_var_visibility")
}

// env is for developers and supporters; these see no credentials of services.
// Who looked is noted, in a transaction that may write.
func (c *call) env(a *cf.App) (obj, error) {
	groups := map[string]map[string]string{}
	for name, guid := range map[string]string{"running": cf.RunningEnv, "staging": cf.StagingEnv} {
		s, err := cf.First[cf.Setting](c.tx, cf.Is("guid", guid))
		if err != nil {
			return nil, err
		}
		groups[name] = map[string]string{}
		if s != nil {
			groups[name] = filled(s.Env)
		}
	}
	w, err := cf.PlaceOf(c.tx, c.url, a)
	if err != nil {
		return nil, err
	}
	if err := c.mayRead(w.Space); err != nil {
		return nil, err
	}
	system := obj{"redacted_message": "[PRIVATE DATA HIDDEN]"}
	if c.may(w.Space, secrets) {
		bound, err := cf.BoundTo(c.tx, a.GUID)
		if err != nil {
			return nil, err
		}
		system = obj{"VCAP_SERVICES": cf.VCAPServices(bound)}
	}
	return obj{"staging_env_json": groups["staging"], "running_env_json": groups["running"], "environment_variables": filled(a.Env),
		"system_env_json": system, "application_env_json": obj{"VCAP_APPLICATION": w.VCAPApplication(a, nil)}}, c.record("audit.app.environment.show", target(a), w.Space, nil)
}
