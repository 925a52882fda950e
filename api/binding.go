package api

import (
	"github.com/dewpaas/dew/cf"
)

// The types of credential bindings.
const (
	appBinding = "app"
	keyBinding = "key"
)

var bindingList = listing[*cf.ServiceBinding]{
	filters: filters{"names": by("name"), "type": byType(appBinding, keyBinding), "app_guids": by("app_guid"), "service_instance_guids": by("service_instance_guid"),
		"app_names": func(c *call, q *cf.Query, names []string) error {
			guids, err := guidsOf[cf.App](c, cf.Query{Where: []cf.Cond{cf.Is("name", names...)}})
			q.Where = append(q.Where, cf.Is("app_guid", guids...))
			return err
		},
		"service_instance_names": bindingsOf("name"), "service_plan_guids": bindingsOf("plan_guid"),
		"service_plan_names":     bindingsOfPlans(func(names []string) cf.Cond { return cf.Is("name", names...) }),
		"service_offering_guids": bindingsOfPlans(func(guids []string) cf.Cond { return cf.Is("offering_guid", guids...) }),
		"service_offering_names": func(c *call, q *cf.Query, names []string) error {
			guids, err := guidsOf[cf.ServiceOffering](c, cf.Query{Where: []cf.Cond{cf.Is("name", names...)}})
			if err != nil {
				return err
			}
			return bindingsOfPlans(func([]string) cf.Cond { return cf.Is("offering_guid", guids...) })(c, q, nil)
		}},
	order: []string{"name"}, visible: inVisibleSpaces, show: showBinding,
	includes: map[string]func(*call, []*cf.ServiceBinding, obj) error{
		"app": func(c *call, page []*cf.ServiceBinding, included obj) error {
			return includeIn(c, included, "apps", each(page, func(b *cf.ServiceBinding) string { return b.AppGUID }), showApp)
		},
		"service_instance": func(c *call, page []*cf.ServiceBinding, included obj) error {
			return includeIn(c, included, "service_instances", each(page, func(b *cf.ServiceBinding) string { return b.InstanceGUID }), showInstance)
		}},
}

// bindingsOf filters bindings by a key of their instances.
func bindingsOf(key string) filter {
	return func(c *call, q *cf.Query, values []string) error {
		guids, err := guidsOf[cf.ServiceInstance](c, cf.Query{Where: []cf.Cond{cf.Is(key, values...)}})
		q.Where = append(q.Where, cf.Is("service_instance_guid", guids...))
		return err
	}
}

func bindingsOfPlans(cond func(values []string) cf.Cond) filter {
	return func(c *call, q *cf.Query, values []string) error {
		plans, err := guidsOf[cf.ServicePlan](c, cf.Query{Where: []cf.Cond{cond(values)}})
		if err != nil {
			return err
		}
		return bindingsOf("plan_guid")(c, q, plans)
	}
}

func showBinding(c *call, b *cf.ServiceBinding) (obj, error) {
	relations := obj{"service_instance": toOne(b.InstanceGUID)}
	links := obj{"service_instance": c.link("service_instances", b.InstanceGUID), "details": c.link("service_credential_bindings", b.GUID, "details"),
		"parameters": c.link("service_credential_bindings", b.GUID, "parameters")}
	if b.AppGUID != "" {
		relations["app"] = toOne(b.AppGUID)
		links["app"] = c.link("apps", b.AppGUID)
	}
	return c.described(&b.Meta, "service_credential_bindings", obj{"name": nullable(b.Name), "type": b.Type, "strategy": "single", "last_operation": showLast(b.Last), "relationships": relations, "links": links}), nil
}

func (s *Server) bindingRoutes(t table) {
	list(t, "/v3/service_credential_bindings", bindingList)
	t.post("/v3/service_credential_bindings", 201, (*call).createBinding)
	t.get("/v3/service_credential_bindings/{guid}", inSpace("Service credential binding", look, func(c *call, b *cf.ServiceBinding) (obj, error) {
		out, err := showBinding(c, b)
		if err != nil {
			return nil, err
		}
		return out, bindingList.include(c, []*cf.ServiceBinding{b}, out)
	}), "include")
	t.patch("/v3/service_credential_bindings/{guid}", inSpace("Service credential binding", develop, relabel(showBinding)))
	t.delete("/v3/service_credential_bindings/{guid}", 204, (*call).deleteBinding)
	t.getAndNote("/v3/service_credential_bindings/{guid}/details", inSpace("Service credential binding", look, (*call).bindingDetails))
	t.get("/v3/service_credential_bindings/{guid}/parameters", inSpace("Service credential binding", look, (*call).bindingParameters))
	empty(t, "/v3/service_route_bindings", "include", "route_guids", "service_instance_guids", "service_instance_names")
	t.post("/v3/service_route_bindings", 202, (*call).refuseRouteBinding)
}

// refuseRouteBinding says why to those who might make one.
func (c *call) refuseRouteBinding() (any, error) {
	var b struct {
		Relationships struct {
			Instance one `json:"service_instance"`
		} `json:"relationships"`
	}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	gone := unprocessable("The service instance could not be found: '%s'", b.Relationships.Instance.guid())
	i, err := cf.First[cf.ServiceInstance](c.tx, cf.Is("guid", b.Relationships.Instance.guid()))
	if err != nil || i == nil {
		return nil, orElse(err, gone)
	}
	if _, err := c.space(i.SpaceGUID, operate, "Service instance"); err != nil {
		return nil, unlessForbidden(err, gone)
	}
	return nil, unprocessable("Route services are not supported.")
}

type bindingBody struct {
	Type          string          `json:"type"`
	Name          *string         `json:"name"`
	Strategy      *string         `json:"strategy"`
	Parameters    *map[string]any `json:"parameters"`
	Metadata      metadata        `json:"metadata"`
	Relationships struct {
		App      one `json:"app"`
		Instance one `json:"service_instance"`
	} `json:"relationships"`
}

func (c *call) createBinding() (any, error) {
	var b bindingBody
	if err := c.read(&b); err != nil {
		return nil, err
	}
	if b.Strategy != nil && *b.Strategy != "single" {
		return nil, unprocessable("Strategy '%s' is not supported: an app has one binding to a service instance.", *b.Strategy)
	}
	one, i, s, a, err := c.bindingFrom(b)
	if err != nil {
		return nil, err
	}
	w, err := c.bind(one, i, s, a, b.Parameters)
	if err != nil {
		return nil, err
	}
	if w == nil {
		return showBinding(c, one)
	}
	return c.workJob(w, "service_bindings.create")
}

// bindingFrom is the binding that a body asks for, with its instance, the space
// that it lives in, and its app unless it is a key.
func (c *call) bindingFrom(b bindingBody) (*cf.ServiceBinding, *cf.ServiceInstance, *cf.Space, *cf.App, error) {
	i, owner, err := c.bindableInstance(b.Relationships.Instance.guid())
	if err != nil {
		return nil, nil, nil, nil, err
	}
	one := &cf.ServiceBinding{Type: b.Type, InstanceGUID: i.GUID, SpaceGUID: i.SpaceGUID}
	if b.Name != nil {
		one.Name = *b.Name
	}
	if err := b.Metadata.apply(&one.Meta); err != nil {
		return nil, nil, nil, nil, err
	}
	switch b.Type {
	case appBinding:
		a, s, err := c.bindableApp(b.Relationships.App.guid(), i)
		if err != nil {
			return nil, nil, nil, nil, err
		}
		one.AppGUID, one.SpaceGUID = a.GUID, a.SpaceGUID
		return one, i, s, a, nil
	case keyBinding:
		// Keys are the owners': they outlive every share.
		if err := c.allow(owner, develop); err != nil {
			return nil, nil, nil, nil, err
		}
		return one, i, owner, nil, goodKeyBinding(one, i)
	}
	return nil, nil, nil, nil, unprocessable("Type must be 'app' or 'key'")
}

// bindableInstance is one that the caller sees, be it shared, and its owner.
func (c *call) bindableInstance(guid string) (*cf.ServiceInstance, *cf.Space, error) {
	gone := unprocessable("The service instance could not be found: '%s'", guid)
	i, err := cf.First[cf.ServiceInstance](c.tx, cf.Is("guid", guid))
	if err != nil || i == nil {
		return nil, nil, orElse(err, gone)
	}
	s, err := c.ownerOf(sharedInstances(), i.GUID, i.SpaceGUID, instanceName, look)
	return i, s, unlessForbidden(err, gone)
}

// bindableApp is an app of a space that has the instance, and that space.
func (c *call) bindableApp(guid string, i *cf.ServiceInstance) (*cf.App, *cf.Space, error) {
	gone := unprocessable("The app could not be found: '%s'", guid)
	a, err := cf.First[cf.App](c.tx, cf.Is("guid", guid))
	if err != nil || a == nil {
		return nil, nil, orElse(err, gone)
	}
	s, err := c.space(a.SpaceGUID, operate, "App")
	if err != nil {
		return nil, nil, unlessForbidden(err, gone)
	}
	has, err := c.has(s.GUID, sharedInstances(), i.GUID, i.SpaceGUID)
	if err != nil || !has {
		return nil, nil, orElse(err, unprocessable("The service instance and the app are in different spaces"))
	}
	return a, s, nil
}

func goodKeyBinding(b *cf.ServiceBinding, i *cf.ServiceInstance) error {
	if b.Name == "" {
		return unprocessable("Name can't be blank for bindings of type key")
	}
	if i.Type == provided {
		return unprocessable("Service credential bindings of type 'key' are not supported for user-provided service instances.")
	}
	return nil
}

// bind writes a binding, which lives in space s, and returns what the broker has to do for it: nothing
// if users provide the service.
func (c *call) bind(b *cf.ServiceBinding, i *cf.ServiceInstance, s *cf.Space, a *cf.App, parameters *map[string]any) (*cf.ServiceWork, error) {
	if i.Last.State != "succeeded" && i.Last.Type == "create" {
		return nil, unprocessable("Service instance not found or not ready: its creation has not succeeded.")
	}
	if err := idle(i); err != nil {
		return nil, err
	}
	now := c.now().UTC()
	b.Last = cf.LastOperation{Type: "create", State: "succeeded", Description: "create succeeded", CreatedAt: now, UpdatedAt: now}
	event := "audit.service_binding."
	if b.Type == keyBinding {
		event = "audit.service_key."
	}
	if i.Type == provided {
		if parameters != nil && len(*parameters) > 0 {
			return nil, unprocessable("Binding parameters are not supported for user-provided service instances")
		}
		c.drained()
		return nil, c.insertBinding(b, s, a, event+"create")
	}
	e, err := c.entry(i.PlanGUID)
	if err != nil {
		return nil, err
	}
	if !or(e.plan.Bindable, e.offering.Bindable) {
		return nil, unprocessable("Service plan does not allow bindings.")
	}
	b.Last.State, b.Last.Description = "in progress", ""
	if err := c.insertBinding(b, s, a, event+"start_create"); err != nil {
		return nil, err
	}
	w := e.work(cf.Bind, i, c.now())
	w.TargetGUID, w.BindingID = b.GUID, b.GUID
	owner, err := cf.Get[cf.Space](c.tx, i.SpaceGUID) // brokers know the instance there
	if err != nil {
		return nil, err
	}
	where, err := c.contextOf(i, owner)
	if err != nil {
		return nil, err
	}
	resource := obj{"space_guid": s.GUID}
	w.Request = obj{"context": where, "bind_resource": resource}
	if a != nil {
		resource["app_guid"], w.Request["app_guid"] = a.GUID, a.GUID
	}
	if parameters != nil {
		w.Request["parameters"] = *parameters
	}
	return &w, nil
}

func (c *call) insertBinding(b *cf.ServiceBinding, s *cf.Space, a *cf.App, event string) error {
	if b.Name != "" {
		if err := c.freeName(b); err != nil {
			return err
		}
	}
	if err := c.tx.Insert(b); err != nil {
		return taken(err, "The app is already bound to the service instance")
	}
	if b.Type == keyBinding {
		if err := c.within(s, keying); err != nil {
			return err
		}
	}
	if a != nil {
		return c.record(event, bindingTarget(b), s, obj{"request": obj{"relationships": obj{"app": toOne(a.GUID), "service_instance": toOne(b.InstanceGUID)}}})
	}
	return c.record(event, bindingTarget(b), s, nil)
}

func bindingTarget(b *cf.ServiceBinding) cf.Actor {
	return cf.Actor{GUID: b.GUID, Type: "service_binding", Name: b.Name}
}

func (c *call) freeName(b *cf.ServiceBinding) error {
	where, what := cf.Is("service_instance_guid", b.InstanceGUID), "Key binding names must be unique. The service instance already has a key binding with name '%s'."
	if b.Type == appBinding {
		where, what = cf.Is("app_guid", b.AppGUID), "App binding names must be unique. The app already has a binding with name '%s'."
		bound, err := cf.First[cf.ServiceBinding](c.tx, where, cf.Is("service_instance_guid", b.InstanceGUID))
		if err != nil || bound != nil {
			return err // inserting it says so
		}
	}
	other, err := cf.First[cf.ServiceBinding](c.tx, where, cf.Is("type", b.Type), cf.Is("name", b.Name))
	if err == nil && other != nil {
		err = unprocessable("The binding name is invalid. "+what, b.Name)
	}
	return err
}

func (c *call) deleteBinding() (any, error) {
	b, err := find[cf.ServiceBinding](c, "Service credential binding", look)
	if err != nil {
		return nil, err
	}
	what := develop
	if b.Type == appBinding {
		what = operate
	}
	s, err := c.space(b.SpaceGUID, what, "Service credential binding")
	if err != nil {
		return nil, err
	}
	i, err := cf.Get[cf.ServiceInstance](c.tx, b.InstanceGUID)
	if err != nil {
		return nil, err
	}
	c.drained()
	if i.Type == provided {
		if err := c.tx.Delete(b); err != nil {
			return nil, err
		}
		return nil, c.record("audit.service_binding.delete", bindingTarget(b), s, nil)
	}
	if b.Last.State == "in progress" && b.Last.Type == "delete" {
		return nil, unprocessable("The delete request was rejected due to an operation being in progress for the service binding.")
	}
	if err := idle(i); err != nil {
		return nil, err
	}
	return c.unbind(b, i, s)
}

// dropWork forgets what a broker was still to be asked for a binding or an
// instance, which is about to be deleted.
func (c *call) dropWork(target string) error {
	pending, err := cf.List[cf.ServiceWork](c.tx, cf.Query{Where: []cf.Cond{cf.Is("target_guid", target)}})
	if err != nil {
		return err
	}
	for _, w := range pending {
		if err := c.tx.Delete(w); err != nil {
			return err
		}
		if err := c.giveUp(w.JobGUID); err != nil {
			return err
		}
	}
	return nil
}

// giveUp ends a job whose work will not be done, so that nobody waits for it.
func (c *call) giveUp(job string) error {
	j, err := cf.First[cf.Job](c.tx, cf.Is("guid", job))
	if err != nil || j == nil || j.State == "COMPLETE" || j.State == "FAILED" {
		return err
	}
	j.State = "FAILED"
	j.Errors = append(j.Errors, cf.JobError{Code: 10009, Title: "CF-UnableToPerform", Detail: "The operation was given up, because what it was about is being deleted."})
	return c.tx.Save(j)
}

func (c *call) unbind(b *cf.ServiceBinding, i *cf.ServiceInstance, s *cf.Space) (any, error) {
	if err := c.dropWork(b.GUID); err != nil {
		return nil, err
	}
	e, err := c.entry(i.PlanGUID)
	if err != nil {
		return nil, err
	}
	now := c.now().UTC()
	b.Last = cf.LastOperation{Type: "delete", State: "in progress", CreatedAt: now, UpdatedAt: now}
	if err := c.tx.Save(b); err != nil {
		return nil, err
	}
	if err := c.record("audit.service_binding.start_delete", bindingTarget(b), s, nil); err != nil {
		return nil, err
	}
	w := e.unbinding(b, i, now)
	return c.workJob(&w, "service_bindings.delete")
}

// bindingDetails are for developers; who looked is noted.
func (c *call) bindingDetails(b *cf.ServiceBinding) (obj, error) {
	s, err := c.space(b.SpaceGUID, secrets, "Service credential binding")
	if err != nil {
		return nil, err
	}
	i, err := cf.Get[cf.ServiceInstance](c.tx, b.InstanceGUID)
	if err != nil {
		return nil, err
	}
	if b.Last.Type == "create" && b.Last.State != "succeeded" {
		return nil, notFound("Creation of service binding in progress: service binding")
	}
	credentials, drain := b.Credentials, b.SyslogDrainURL
	if i.Type == provided {
		credentials, drain = i.Credentials, i.SyslogDrainURL
	}
	if credentials == nil {
		credentials = map[string]any{}
	}
	out := obj{"credentials": credentials, "volume_mounts": []obj{}}
	if drain != "" {
		out["syslog_drain_url"] = drain
	}
	return out, c.record("audit.service_binding.show", bindingTarget(b), s, nil)
}

func (c *call) bindingParameters(b *cf.ServiceBinding) (obj, error) {
	unsupported := &refusal{400, 120004, "CF-ServiceFetchBindingParametersNotSupported", "This service does not support fetching service binding parameters."}
	if _, err := c.space(b.SpaceGUID, secrets, "Service credential binding"); err != nil {
		if s, missing := cf.Get[cf.Space](c.tx, b.SpaceGUID); missing != nil || !c.may(s, operate) {
			return nil, err
		}
	}
	i, err := cf.Get[cf.ServiceInstance](c.tx, b.InstanceGUID)
	if err != nil {
		return nil, err
	}
	if i.Type == provided {
		return nil, unsupported
	}
	e, err := c.entry(i.PlanGUID)
	if err != nil {
		return nil, err
	}
	if !e.offering.BindingsRetrievable {
		return nil, unsupported
	}
	c.askParameters(e, i.GUID, b.GUID)
	return nil, nil
}
