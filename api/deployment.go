package api

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/dewpaas/dew/cf"
)

var deploymentList = listing[*cf.Deployment]{
	filters: filters{"app_guids": by("app_guid"), "status_values": by("status_value"), "status_reasons": by("status_reason"), "states": byOldState},
	visible: inVisibleSpaces, show: showDeployment,
}

func showDeployment(c *call, d *cf.Deployment) (obj, error) {
	status := obj{"value": d.Status, "reason": d.Reason}
	details := obj{"last_status_change": stamp(d.ChangedAt), "last_successful_healthcheck": nil}
	if d.Error != "" {
		details["error"] = d.Error
	}
	status["details"] = details
	options := obj{"max_in_flight": d.MaxInFlight}
	if d.Target != d.Original {
		options["web_instances"] = d.Target
	}
	if d.Strategy == "canary" {
		status["canary"] = obj{"steps": obj{"current": d.CanaryStep, "total": max(1, len(d.CanarySteps))}}
		steps := []obj{}
		for _, w := range d.CanarySteps {
			steps = append(steps, obj{"instance_weight": w})
		}
		if len(steps) > 0 {
			options["canary"] = obj{"steps": steps}
		}
	}
	links := obj{"app": c.link("apps", d.AppGUID)}
	for _, action := range []string{"cancel", "continue"} {
		if d.Status == cf.Active && (action == "cancel" || d.Reason == "PAUSED") {
			links[action] = obj{"href": c.url + "/v3/deployments/" + d.GUID + "/actions/" + action, "method": "POST"}
		}
	}
	var revision any
	if d.RevisionGUID != "" {
		revision = obj{"guid": d.RevisionGUID, "version": d.RevisionVersion}
	}
	news := []obj{}
	if d.ProcessGUID != "" {
		news = append(news, obj{"guid": d.ProcessGUID, "type": "web"})
	}
	return c.described(&d.Meta, "deployments", obj{"state": oldState(d), "strategy": d.Strategy, "status": status, "options": options, "droplet": obj{"guid": d.DropletGUID},
		"previous_droplet": obj{"guid": nullable(d.PreviousDroplet)}, "new_processes": news, "revision": revision,
		"relationships": obj{"app": toOne(d.AppGUID)}, "links": links}), nil
}

// oldState is the single word that clients read before there was a status.
func oldState(d *cf.Deployment) string {
	switch {
	case d.Reason == "SUPERSEDED":
		return "DEPLOYED"
	case d.Reason == "DEPLOYING" && d.Pausing:
		return "PREPAUSED"
	}
	return d.Reason
}

// byOldState finds those that oldState calls so.
func byOldState(_ *call, q *cf.Query, values []string) error {
	var any []cf.Cond
	for _, v := range values {
		switch v {
		case "DEPLOYED":
			any = append(any, cf.Is("status_reason", "DEPLOYED", "SUPERSEDED"))
		case "DEPLOYING", "PREPAUSED": // told apart by what the instances do now
			any = append(any, cf.Is("status_reason", "DEPLOYING"))
		default:
			any = append(any, cf.Is("status_reason", v))
		}
	}
	q.AnyOf = append(q.AnyOf, any)
	return nil
}

func (s *Server) deploymentRoutes(t table) {
	list(t, "/v3/deployments", deploymentList)
	t.post("/v3/deployments", 201, (*call).createDeployment)
	t.get("/v3/deployments/{guid}", inSpace("Deployment", look, showDeployment))
	t.patch("/v3/deployments/{guid}", inSpace("Deployment", develop, relabel(showDeployment)))
	t.post("/v3/deployments/{guid}/actions/cancel", 200, inSpace("Deployment", operate, (*call).cancelDeployment))
	t.post("/v3/deployments/{guid}/actions/continue", 200, inSpace("Deployment", operate, (*call).continueDeployment))
}

type deploymentBody struct {
	Droplet *struct {
		GUID string `json:"guid"`
	} `json:"droplet"`
	Revision *struct {
		GUID string `json:"guid"`
	} `json:"revision"`
	Strategy      string                     `json:"strategy"`
	Options       map[string]json.RawMessage `json:"options"`
	Relationships struct {
		App one `json:"app"`
	} `json:"relationships"`
	Metadata metadata `json:"metadata"`
}

// deploymentOptions are what the CLI sends; null is as good as absent.
type deploymentOptions struct {
	MaxInFlight *int
	Instances   *int
	scale       scaleBody
	Canary      *struct {
		Steps []struct {
			Weight *int `json:"instance_weight"`
		} `json:"steps"`
	}
}

func (b deploymentBody) options() (o deploymentOptions, err error) {
	for name, raw := range b.Options {
		into := map[string]any{"max_in_flight": &o.MaxInFlight, "web_instances": &o.Instances, "memory_in_mb": &o.scale.MemoryMB, "disk_in_mb": &o.scale.DiskMB,
			"log_rate_limit_in_bytes_per_second": &o.scale.LogRate, "canary": &o.Canary}[name]
		if into == nil {
			return o, unprocessable("Options has unsupported key(s): %s", name)
		}
		if json.Unmarshal(raw, into) != nil {
			return o, unprocessable("Options %s has a value of the wrong type", name)
		}
	}
	switch {
	case o.MaxInFlight != nil && *o.MaxInFlight < 1:
		return o, unprocessable("Max in flight must be an integer greater than 0")
	case o.Instances != nil && *o.Instances < 1:
		return o, unprocessable("Web instances must be an integer greater than 0")
	case o.Canary != nil && b.Strategy != "canary":
		return o, unprocessable("Options.canary are only valid for Canary deployments")
	}
	return o, nil
}

func (o deploymentOptions) steps() ([]int, error) {
	var weights []int
	if o.Canary == nil {
		return nil, nil
	}
	for _, s := range o.Canary.Steps {
		if s.Weight == nil || *s.Weight < 1 || *s.Weight > 100 {
			return nil, unprocessable("Options.canary.steps.instance_weight must be an Integer between 1-100 (inclusive)")
		}
		weights = append(weights, *s.Weight)
	}
	if !slices.IsSorted(weights) {
		return nil, unprocessable("Options.canary.steps.instance_weight must be sorted in ascending order")
	}
	if len(weights) > 100 {
		return nil, unprocessable("Options.canary.steps can be at most 100")
	}
	return weights, nil
}

func (c *call) createDeployment() (any, error) {
	var b deploymentBody
	if err := c.read(&b); err != nil {
		return nil, err
	}
	a, s, err := c.appFrom(b.Relationships.App, operate)
	if err != nil {
		return nil, err
	}
	d, o, err := b.begin(a)
	if err != nil {
		return nil, err
	}
	if err := b.Metadata.apply(&d.Meta); err != nil {
		return nil, err
	}
	r, err := c.deploymentTarget(a, b)
	if err != nil {
		return nil, err
	}
	d.DropletGUID, d.RevisionGUID, d.RevisionVersion = a.DropletGUID, r.GUID, r.Version
	if err := c.bringUp(a, s, d, o); err != nil {
		return nil, moreForDeployments(err, s)
	}
	kind := ""
	if b.Revision != nil {
		kind = "rollback"
	}
	if err := c.record("audit.app.deployment.create", target(a), s, obj{"deployment_guid": d.GUID, "droplet_guid": d.DropletGUID, "type": kind, "revision_guid": d.RevisionGUID, "strategy": d.Strategy}); err != nil {
		return nil, err
	}
	c.changed(a)
	return showDeployment(c, d)
}

func (b deploymentBody) begin(a *cf.App) (*cf.Deployment, deploymentOptions, error) {
	o, err := b.options()
	if err != nil {
		return nil, o, err
	}
	if b.Strategy == "" {
		b.Strategy = "rolling"
	}
	if b.Strategy != "rolling" && b.Strategy != "canary" {
		return nil, o, unprocessable("Strategy '%s' is not a supported deployment strategy", b.Strategy)
	}
	if b.Droplet != nil && b.Revision != nil {
		return nil, o, unprocessable("Cannot set both fields 'droplet' and 'revision'")
	}
	d := &cf.Deployment{AppGUID: a.GUID, SpaceGUID: a.SpaceGUID, Strategy: b.Strategy, Status: cf.Active, Reason: "DEPLOYING", PreviousDroplet: a.DropletGUID, MaxInFlight: 1}
	d.GUID = cf.NewGUID()
	if o.MaxInFlight != nil {
		d.MaxInFlight = *o.MaxInFlight
	}
	if b.Strategy == "canary" {
		d.Pausing, d.CanaryStep = true, 1
		d.CanarySteps, err = o.steps()
	}
	return d, o, err
}

// deploymentTarget makes the app what it shall become and returns its revision.
func (c *call) deploymentTarget(a *cf.App, b deploymentBody) (*cf.Revision, error) {
	switch {
	case b.Revision != nil:
		if !featureOn(a, "revisions") {
			return nil, unprocessable("Cannot create deployment from revision for an app without revisions enabled")
		}
		to, err := cf.First[cf.Revision](c.tx, cf.Is("guid", b.Revision.GUID), cf.Is("app_guid", a.GUID))
		if err == nil && to == nil {
			err = unprocessable("The revision does not exist")
		}
		if err != nil {
			return nil, err
		}
		return c.rollBack(a, to)
	case b.Droplet != nil && b.Droplet.GUID != "":
		if err := c.assignDroplet(a, b.Droplet.GUID); err != nil {
			return nil, err
		}
	case a.DropletGUID == "":
		return nil, unprocessable("Invalid droplet. Please specify a droplet in the request or set a current droplet for the app.")
	}
	return c.revise(a)
}

// bringUp starts a stopped app at once; beside the processes of a started one it
// makes the process that shall replace them, and supersedes what was under way.
func (c *call) bringUp(a *cf.App, s *cf.Space, d *cf.Deployment, o deploymentOptions) error {
	webs, err := c.webs(a)
	if err != nil {
		return err
	}
	if len(webs) == 0 {
		return unprocessable("The app has no web process.")
	}
	newest := webs[0]
	before, err := c.deploying(a)
	if err != nil {
		return err
	}
	d.Original = webs[len(webs)-1].Instances
	if before != nil {
		d.Original = before.Original
	}
	d.Target, d.ChangedAt = d.Original, c.now().UTC()
	if o.Instances != nil {
		d.Target = *o.Instances
	}
	if a.State != cf.Started {
		return c.startDeployed(a, s, d, o, newest)
	}
	p := *newest
	p.Meta = cf.Meta{GUID: cf.NewGUID(), Labels: newest.Labels, Annotations: newest.Annotations}
	p.DeploymentGUID = d.GUID
	d.ProcessGUID = p.GUID
	p.Instances = min(d.MaxInFlight, d.Target)
	if d.Strategy == "canary" {
		canary, _ := d.CanaryTarget()
		p.Instances = min(d.MaxInFlight, canary)
	}
	if err := o.scale.apply(&p); err != nil {
		return err
	}
	if before != nil {
		before.Status, before.Reason, before.ChangedAt = cf.Finalized, "SUPERSEDED", c.now().UTC()
		if err := c.tx.Save(before); err != nil {
			return err
		}
	}
	if err := c.tx.Insert(d); err != nil {
		return err
	}
	if err := c.tx.Insert(&p); err != nil {
		return err
	}
	if err := c.launch(a, &p, d.RevisionGUID); err != nil {
		return err
	}
	return c.within(s, computing)
}

// startDeployed is a deployment of a stopped app: there is nothing to roll.
func (c *call) startDeployed(a *cf.App, s *cf.Space, d *cf.Deployment, o deploymentOptions, web *cf.Process) error {
	o.scale.Instances = o.Instances
	if err := o.scale.apply(web); err != nil {
		return err
	}
	if err := c.tx.Save(web); err != nil {
		return err
	}
	d.Status, d.Reason, d.ProcessGUID = cf.Finalized, "DEPLOYED", web.GUID
	if err := c.tx.Insert(d); err != nil {
		return err
	}
	return c.start(a, s, d.RevisionGUID)
}

// webs are the web processes of an app, newest first.
func (c *call) webs(a *cf.App) ([]*cf.Process, error) {
	return cf.List[cf.Process](c.tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", a.GUID), cf.Is("type", "web")}, Order: []cf.Order{{Key: "created_at", Descending: true}}})
}

func moreForDeployments(err error, s *cf.Space) error {
	r, ok := err.(*refusal)
	if !ok || !strings.Contains(r.detail, "quota_exceeded") && !strings.Contains(r.detail, "limit_exceeded") {
		return err
	}
	return unprocessable("%s for space %s. This quota may not be large enough to support rolling deployments or your configured max-in-flight.", r.detail, s.Name)
}

func (c *call) cancelDeployment(d *cf.Deployment) (obj, error) {
	if d.Status != cf.Active {
		return nil, unprocessable("Cannot cancel a deployment with status: %s and reason: %s", d.Status, d.Reason)
	}
	a, err := cf.Get[cf.App](c.tx, d.AppGUID)
	if err != nil {
		return nil, err
	}
	if d.PreviousDroplet != "" {
		if err := c.assignDroplet(a, d.PreviousDroplet); err != nil {
			return nil, err
		}
	}
	d.Reason, d.ChangedAt = "CANCELING", c.now().UTC()
	if err := c.tx.Save(d); err != nil {
		return nil, err
	}
	if err := c.recordApp("audit.app.deployment.cancel", a, obj{"deployment_guid": d.GUID, "droplet_guid": d.DropletGUID}); err != nil {
		return nil, err
	}
	c.changed(a)
	return showDeployment(c, d)
}

func (c *call) continueDeployment(d *cf.Deployment) (obj, error) {
	if d.Status != cf.Active || d.Reason != "PAUSED" {
		return nil, unprocessable("Cannot continue a deployment with status: %s and reason: %s", d.Status, d.Reason)
	}
	a, err := cf.Get[cf.App](c.tx, d.AppGUID)
	if err != nil {
		return nil, err
	}
	d.Reason, d.ChangedAt = "DEPLOYING", c.now().UTC()
	if d.CanaryStep < len(d.CanarySteps) {
		d.CanaryStep++
	} else {
		d.Pausing = false
	}
	if err := c.tx.Save(d); err != nil {
		return nil, err
	}
	if err := c.recordApp("audit.app.deployment.continue", a, obj{"deployment_guid": d.GUID, "droplet_guid": d.DropletGUID}); err != nil {
		return nil, err
	}
	c.changed(a)
	return showDeployment(c, d)
}

// abandon ends a deployment because the app is stopped or started anew: the
// oldest web process stays, as large as it was, and the others go.
func (c *call) abandon(a *cf.App) error {
	d, err := c.deploying(a)
	if err != nil || d == nil {
		return err
	}
	webs, err := c.webs(a)
	if err != nil {
		return err
	}
	for i, p := range webs {
		if i < len(webs)-1 {
			err = c.tx.Delete(p)
		} else {
			p.Instances, p.DeploymentGUID = d.Original, ""
			err = c.tx.Save(p)
		}
		if err != nil {
			return err
		}
	}
	d.Status, d.Reason, d.ChangedAt = cf.Finalized, "CANCELED", c.now().UTC()
	return c.tx.Save(d)
}

// stamp is a time of an answer; nil stands for one that never was.
func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}
