package api

import (
	"maps"
	"slices"
	"strings"

	"github.com/dewpaas/dew/cf"
)

const maxRevisions = 100

var revisionList = listing[*cf.Revision]{filters: filters{"versions": byNumber("version"), "deployable": byDeployable}, order: []string{"version"}, visible: inVisibleSpaces, show: showRevision}

func showRevision(c *call, r *cf.Revision) (obj, error) {
	d, err := cf.First[cf.Droplet](c.tx, cf.Is("guid", r.DropletGUID), cf.Is("state", "STAGED"))
	processes := obj{}
	for kind, command := range r.Commands {
		processes[kind] = obj{"command": command}
	}
	return c.described(&r.Meta, "revisions", obj{"version": r.Version, "description": r.Description, "deployable": d != nil, "droplet": obj{"guid": r.DropletGUID},
		"processes": processes, "sidecars": []obj{}, "relationships": obj{"app": toOne(r.AppGUID)},
		"links": obj{"app": c.link("apps", r.AppGUID), "environment_variables": c.link("revisions", r.GUID, "environment_variables")}}), err
}

// byDeployable finds the revisions whose droplets are still there, or the others.
func byDeployable(c *call, q *cf.Query, values []string) error {
	want := strings.Join(values, ",")
	if want != "true" && want != "false" {
		return badQuery("Deployable must be a boolean")
	}
	droplets, err := guidsOf[cf.Droplet](c, cf.Query{Where: []cf.Cond{cf.Is("state", "STAGED"), cf.Is("app_guid", c.param("guid"))}})
	if err != nil {
		return err
	}
	revisions, err := cf.List[cf.Revision](c.tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", c.param("guid"))}})
	guids := []string{}
	for _, r := range revisions {
		if slices.Contains(droplets, r.DropletGUID) == (want == "true") {
			guids = append(guids, r.GUID)
		}
	}
	q.Where = append(q.Where, cf.Is("guid", guids...))
	return err
}

func (s *Server) revisionRoutes(t table) {
	under(t, "revisions", revisionList)
	list(t, "/v3/apps/{guid}/revisions/deployed", revisionList, func(c *call, q *cf.Query, _ []string) error {
		a, _, err := c.app("guid", look)
		if err != nil {
			return err
		}
		guids, err := c.deployed(a)
		q.Where = append(q.Where, cf.Is("app_guid", a.GUID), cf.Is("guid", guids...))
		return err
	})
	t.get("/v3/revisions/{guid}", inSpace("Revision", look, showRevision))
	t.patch("/v3/revisions/{guid}", inSpace("Revision", develop, relabel(showRevision)))
	t.get("/v3/revisions/{guid}/environment_variables", inSpace("Revision", secrets, func(c *call, r *cf.Revision) (obj, error) {
		return obj{"var": filled(r.Env), "links": obj{"self": c.link("revisions", r.GUID, "environment_variables"), "revision": c.link("revisions", r.GUID), "app": c.link("apps", r.AppGUID)}}, nil
	}))
}

// deployed are the revisions that instances are made from now.
func (c *call) deployed(a *cf.App) ([]string, error) {
	guids := []string{}
	if a.State != cf.Started {
		return guids, nil
	}
	list, err := c.processesOf(a)
	for _, p := range list {
		if p.Launch != nil && p.Launch.RevisionGUID != "" && p.Instances > 0 {
			guids = append(guids, p.Launch.RevisionGUID)
		}
	}
	return guids, err
}

func (c *call) newestRevision(app string) (*cf.Revision, error) {
	list, err := cf.List[cf.Revision](c.tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", app)}, Order: []cf.Order{{Key: "version", Descending: true}}, Limit: 1})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

// snapshot is the app as a revision would keep it.
func (c *call) snapshot(a *cf.App) (*cf.Revision, error) {
	r := &cf.Revision{AppGUID: a.GUID, SpaceGUID: a.SpaceGUID, DropletGUID: a.DropletGUID, Env: maps.Clone(a.Env), Commands: map[string]*string{}}
	list, err := c.processesOf(a)
	for _, p := range list {
		r.Commands[p.Type] = p.Command
	}
	return r, err
}

// revise returns the newest revision if the app is still like it, or makes a
// new one. Without the feature it returns an empty one.
func (c *call) revise(a *cf.App) (*cf.Revision, error) {
	if !featureOn(a, "revisions") {
		return &cf.Revision{}, nil
	}
	last, err := c.newestRevision(a.GUID)
	if err != nil {
		return nil, err
	}
	next, err := c.snapshot(a)
	if err != nil {
		return nil, err
	}
	if last == nil {
		return next, c.insertRevision(a, next, 1, "Initial revision.")
	}
	reasons := differences(last, next)
	if len(reasons) == 0 {
		return last, nil
	}
	return next, c.insertRevision(a, next, last.Version+1, strings.Join(reasons, " "))
}

// rollBack makes the app like an older revision and notes that as a new one.
func (c *call) rollBack(a *cf.App, to *cf.Revision) (*cf.Revision, error) {
	last, err := c.newestRevision(a.GUID)
	if err != nil {
		return nil, err
	}
	reasons := differences(last, to)
	if len(reasons) == 0 {
		return nil, unprocessable("Unable to rollback. The code and configuration you are rolling back to is the same as the deployed revision.")
	}
	reasons = append(reasons, "Rolled back to revision "+number10(to.Version)+".")
	slices.Sort(reasons)
	next := &cf.Revision{AppGUID: a.GUID, SpaceGUID: a.SpaceGUID, DropletGUID: to.DropletGUID, Env: to.Env, Commands: to.Commands}
	if err := c.assignDroplet(a, to.DropletGUID); err != nil {
		return nil, err
	}
	a.Env = maps.Clone(to.Env)
	if err := c.tx.Save(a); err != nil {
		return nil, err
	}
	list, err := cf.List[cf.Process](c.tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", a.GUID), {Key: "deployment_guid", Op: cf.Absent}}})
	for _, p := range list {
		if command, known := to.Commands[p.Type]; known {
			p.Command = command
			if err := c.tx.Save(p); err != nil {
				return nil, err
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return next, c.insertRevision(a, next, last.Version+1, strings.Join(reasons, " "))
}

// differences says what a new revision changes, in CAPI's words.
func differences(old, now *cf.Revision) []string {
	var reasons []string
	if old.DropletGUID != now.DropletGUID {
		reasons = append(reasons, "New droplet deployed.")
	}
	if !maps.Equal(old.Env, now.Env) {
		reasons = append(reasons, "New environment variables deployed.")
	}
	for kind, command := range now.Commands {
		before, known := old.Commands[kind]
		switch {
		case !known:
			reasons = append(reasons, "New process type '"+kind+"' added.")
		case before == nil && command != nil:
			reasons = append(reasons, "Custom start command added for '"+kind+"' process.")
		case before != nil && command == nil:
			reasons = append(reasons, "Custom start command removed for '"+kind+"' process.")
		case before != nil && *before != *command:
			reasons = append(reasons, "Custom start command updated for '"+kind+"' process.")
		}
	}
	for kind := range old.Commands {
		if _, still := now.Commands[kind]; !still {
			reasons = append(reasons, "Process type '"+kind+"' removed.")
		}
	}
	slices.Sort(reasons)
	return reasons
}

func (c *call) insertRevision(a *cf.App, r *cf.Revision, version int, why string) error {
	r.Version, r.Description = version, why
	if err := c.tx.Insert(r); err != nil {
		return err
	}
	old, err := cf.List[cf.Revision](c.tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", a.GUID)}, Order: []cf.Order{{Key: "version", Descending: true}}, Limit: maxRevisions, Offset: maxRevisions})
	if err != nil {
		return err
	}
	for _, gone := range old {
		if err := c.tx.Delete(gone); err != nil {
			return err
		}
	}
	return c.recordApp("audit.app.revision.create", a, obj{"revision_guid": r.GUID, "revision_version": r.Version, "droplet_guid": r.DropletGUID})
}
