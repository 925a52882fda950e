package api

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dewpaas/dew/cf"
)

// The types of service instances.
const (
	provided = "user-provided"
	managed  = "managed"
)

// maxPolling is how long a broker may work on something, unless its plan says
// less.
const maxPolling = 7 * 24 * time.Hour

var instanceList = listing[*cf.ServiceInstance]{
	filters: filters{"names": by("name"), "space_guids": inSpacesOrShared(sharedInstances()), "organization_guids": inOrgsOrShared, "type": byType(managed, provided),
		"service_plan_guids": by("plan_guid"), "service_plan_names": func(c *call, q *cf.Query, names []string) error {
			guids, err := guidsOf[cf.ServicePlan](c, cf.Query{Where: []cf.Cond{cf.Is("name", names...)}})
			q.Where = append(q.Where, cf.Is("plan_guid", guids...))
			return err
		}},
	order: []string{"name"}, visible: visibleInstances, show: showInstance,
	fields: map[string]fieldBlock[*cf.ServiceInstance]{
		"space":                         {"spaces", instanceSpaces},
		"space.organization":            {"organizations", instanceOrgs},
		"service_plan":                  {"service_plans", instancePlans},
		"service_plan.service_offering": {"service_offerings", instanceOfferings},
		"service_plan.service_offering.service_broker": {"service_brokers", instanceBrokers},
	},
}

func byType(known ...string) filter {
	return func(_ *call, q *cf.Query, values []string) error {
		if len(values) != 1 || !slices.Contains(known, values[0]) {
			return badQuery("Type must be one of '%s'", strings.Join(known, "', '"))
		}
		q.Where = append(q.Where, cf.Is("type", values[0]))
		return nil
	}
}

func spaceOfInstance(i *cf.ServiceInstance) string { return i.SpaceGUID }

func instanceSpaces(c *call, page []*cf.ServiceInstance, included obj) error {
	return includeIn(c, included, "spaces", each(page, spaceOfInstance), showSpace)
}

func instanceOrgs(c *call, page []*cf.ServiceInstance, included obj) error {
	guids := each(page, spaceOfInstance)
	list, err := cf.List[cf.Space](c.tx, cf.Query{Where: []cf.Cond{cf.Is("guid", guids...)}})
	if err != nil {
		return err
	}
	return includeOrgs(c, list, included)
}

func planGUIDs(page []*cf.ServiceInstance) []string {
	guids := []string{}
	for _, i := range page {
		if i.PlanGUID != "" {
			guids = append(guids, i.PlanGUID)
		}
	}
	return guids
}

func instancePlans(c *call, page []*cf.ServiceInstance, included obj) error {
	return includeIn(c, included, "service_plans", planGUIDs(page), showPlan)
}

func (c *call) offeringsOfPlans(plans []string) ([]*cf.ServiceOffering, error) {
	list, err := cf.List[cf.ServicePlan](c.tx, cf.Query{Where: []cf.Cond{cf.Is("guid", plans...)}})
	if err != nil {
		return nil, err
	}
	guids := []string{}
	for _, p := range list {
		guids = append(guids, p.OfferingGUID)
	}
	return cf.List[cf.ServiceOffering](c.tx, cf.Query{Where: []cf.Cond{cf.Is("guid", guids...)}})
}

func instanceOfferings(c *call, page []*cf.ServiceInstance, included obj) error {
	list, err := c.offeringsOfPlans(planGUIDs(page))
	if err != nil {
		return err
	}
	guids := []string{}
	for _, o := range list {
		guids = append(guids, o.GUID)
	}
	return includeIn(c, included, "service_offerings", guids, showOffering)
}

func brokersOf(c *call, offerings []*cf.ServiceOffering, included obj) error {
	guids := []string{}
	for _, o := range offerings {
		guids = append(guids, o.BrokerGUID)
	}
	// Of brokers everybody may know the name.
	return includeIn(c, included, "service_brokers", guids, func(_ *call, b *cf.ServiceBroker) (obj, error) {
		return obj{"guid": b.GUID, "name": b.Name}, nil
	})
}

func instanceBrokers(c *call, page []*cf.ServiceInstance, included obj) error {
	list, err := c.offeringsOfPlans(planGUIDs(page))
	if err != nil {
		return err
	}
	return brokersOf(c, list, included)
}

var offeringFields = map[string]fieldBlock[*cf.ServiceOffering]{"service_broker": {"service_brokers", func(c *call, page []*cf.ServiceOffering, included obj) error {
	return brokersOf(c, page, included)
}}}

var planFields = map[string]fieldBlock[*cf.ServicePlan]{"service_offering.service_broker": {"service_brokers", func(c *call, page []*cf.ServicePlan, included obj) error {
	guids := []string{}
	for _, p := range page {
		guids = append(guids, p.GUID)
	}
	list, err := c.offeringsOfPlans(guids)
	if err != nil {
		return err
	}
	return brokersOf(c, list, included)
}}}

func showLast(l cf.LastOperation) obj {
	return obj{"type": l.Type, "state": l.State, "description": l.Description, "created_at": stamp(l.CreatedAt), "updated_at": stamp(l.UpdatedAt)}
}

func showInstance(c *call, i *cf.ServiceInstance) (obj, error) {
	tags := i.Tags
	if tags == nil {
		tags = []string{}
	}
	relations := obj{"space": toOne(i.SpaceGUID)}
	fields := obj{"name": i.Name, "type": i.Type, "tags": tags, "last_operation": showLast(i.Last), "relationships": relations,
		"links": obj{"space": c.link("spaces", i.SpaceGUID), "service_credential_bindings": obj{"href": c.url + "/v3/service_credential_bindings?service_instance_guids=" + i.GUID}}}
	if i.Type == provided {
		fields["syslog_drain_url"], fields["route_service_url"] = nullable(i.SyslogDrainURL), nullable(i.RouteServiceURL)
		return c.described(&i.Meta, "service_instances", fields), nil
	}
	relations["service_plan"] = toOne(i.PlanGUID)
	links := fields["links"].(obj)
	links["service_plan"], links["parameters"] = c.link("service_plans", i.PlanGUID), c.link("service_instances", i.GUID, "parameters")
	links["shared_spaces"] = c.link("service_instances", i.GUID, "relationships", "shared_spaces")
	maintenance := i.Maintenance
	if maintenance == nil {
		maintenance = map[string]any{}
	}
	p, err := cf.Get[cf.ServicePlan](c.tx, i.PlanGUID)
	if err != nil {
		return nil, err
	}
	fields["dashboard_url"], fields["maintenance_info"] = nullable(i.DashboardURL), maintenance
	fields["upgrade_available"] = p.Maintenance["version"] != i.Maintenance["version"]
	return c.described(&i.Meta, "service_instances", fields), nil
}

func (s *Server) instanceRoutes(t table) {
	list(t, "/v3/service_instances", instanceList)
	t.post("/v3/service_instances", 201, (*call).createInstance)
	t.get("/v3/service_instances/{guid}", func(c *call) (any, error) { return seen(c, instanceList, instanceName) }, "fields[space]", "fields[space.organization]", "fields[service_plan]", "fields[service_plan.service_offering]", "fields[service_plan.service_offering.service_broker]")
	t.patch("/v3/service_instances/{guid}", withInstance(develop, (*call).updateInstance))
	t.delete("/v3/service_instances/{guid}", 204, (*call).deleteInstance, "purge")
	t.getAndNote("/v3/service_instances/{guid}/credentials", withInstance(look, (*call).instanceCredentials))
	t.get("/v3/service_instances/{guid}/parameters", withInstance(look, (*call).instanceParameters))
	t.get("/v3/service_instances/{guid}/permissions", func(c *call) (any, error) {
		i, err := cf.Get[cf.ServiceInstance](c.tx, c.param("guid"))
		if err != nil {
			return nil, hide(err, instanceName)
		}
		s, err := cf.Get[cf.Space](c.tx, i.SpaceGUID)
		if err != nil {
			return nil, err
		}
		shared, err := c.sharedInSight(sharedInstances(), i.GUID, s)
		return obj{"read": c.may(s, look) || len(shared) > 0, "manage": c.may(s, develop)}, err
	})
	s.instanceShareRoutes(t)
}

type instanceBody struct {
	Type            string             `json:"type"`
	Name            *string            `json:"name"`
	Tags            *[]string          `json:"tags"`
	Credentials     *map[string]any    `json:"credentials"`
	SyslogDrainURL  *string            `json:"syslog_drain_url"`
	RouteServiceURL *string            `json:"route_service_url"`
	Parameters      *map[string]any    `json:"parameters"`
	Maintenance     *map[string]string `json:"maintenance_info"`
	Metadata        metadata           `json:"metadata"`
	Relationships   struct {
		Space one `json:"space"`
		Plan  one `json:"service_plan"`
	} `json:"relationships"`
}

const maxTags = 2048 // bytes, together

// apply sets what users may set of both types.
func (b instanceBody) apply(i *cf.ServiceInstance) error {
	if b.Name != nil {
		i.Name = *b.Name
	}
	if err := goodName(i.Name); err != nil {
		return err
	}
	if b.Tags != nil {
		i.Tags = *b.Tags
	}
	if len(strings.Join(i.Tags, "")) > maxTags {
		return unprocessable("Tags combined length must be %d characters or less", maxTags)
	}
	return b.Metadata.apply(&i.Meta)
}

// applyProvided sets what only a user-provided instance has. Credentials are
// replaced, not merged.
func (b instanceBody) applyProvided(i *cf.ServiceInstance) error {
	if b.Credentials != nil {
		i.Credentials = *b.Credentials
	}
	if b.Parameters != nil || b.Relationships.Plan.Data != nil {
		return unprocessable("Parameters and service plans are of managed service instances only")
	}
	for from, into := range map[*string]*string{b.SyslogDrainURL: &i.SyslogDrainURL, b.RouteServiceURL: &i.RouteServiceURL} {
		if from == nil {
			continue
		}
		if _, err := url.Parse(*from); err != nil {
			return unprocessable("Syslog drain url and route service url must be valid URLs")
		}
		*into = *from
	}
	if i.RouteServiceURL != "" {
		return unprocessable("Route services are not supported: leave out route_service_url.")
	}
	return nil
}

func (c *call) createInstance() (any, error) {
	var b instanceBody
	if err := c.read(&b); err != nil {
		return nil, err
	}
	s, err := c.spaceFrom(b.Relationships.Space, develop)
	if err != nil {
		return nil, err
	}
	if err := c.enabled("service_instance_creation"); err != nil {
		return nil, err
	}
	i := &cf.ServiceInstance{SpaceGUID: s.GUID, Type: b.Type}
	if err := b.apply(i); err != nil {
		return nil, err
	}
	now := c.now().UTC()
	i.Last = cf.LastOperation{Type: "create", State: "succeeded", Description: "Operation succeeded", CreatedAt: now, UpdatedAt: now}
	switch b.Type {
	case provided:
		if err := b.applyProvided(i); err != nil {
			return nil, err
		}
		if err := c.insertInstance(i, s, "audit.user_provided_service_instance.create"); err != nil {
			return nil, err
		}
		return showInstance(c, i)
	case managed:
		return c.provision(i, s, b)
	}
	return nil, unprocessable("Type must be one of 'managed', 'user-provided'")
}

func instanceTarget(i *cf.ServiceInstance) cf.Actor {
	return cf.Actor{GUID: i.GUID, Type: "service_instance", Name: i.Name}
}

func (c *call) insertInstance(i *cf.ServiceInstance, s *cf.Space, event string) error {
	if err := c.freeInstanceName(i, i.Name); err != nil {
		return err
	}
	if err := c.tx.Insert(i); err != nil {
		return taken(err, "The service instance name is taken: %s.", i.Name)
	}
	if err := c.within(s, servicing); err != nil {
		return err
	}
	return c.record(event, instanceTarget(i), s, nil)
}

// freeInstanceName checks that the space of i has no other instance of that name,
// shared ones included. Two that are made at once are told apart by the ledger.
func (c *call) freeInstanceName(i *cf.ServiceInstance, name string) error {
	other, err := c.instanceNamed(i.SpaceGUID, name)
	if err == nil && other != nil && other.GUID != i.GUID {
		err = unprocessable("The service instance name is taken: %s.", name)
	}
	return err
}

// catalogEntry is a plan with what it belongs to.
type catalogEntry struct {
	plan     *cf.ServicePlan
	offering *cf.ServiceOffering
	broker   *cf.ServiceBroker
}

func (c *call) entry(plan string) (e catalogEntry, err error) {
	if e.plan, err = cf.Get[cf.ServicePlan](c.tx, plan); err != nil {
		return e, err
	}
	if e.offering, err = cf.Get[cf.ServiceOffering](c.tx, e.plan.OfferingGUID); err != nil {
		return e, err
	}
	e.broker, err = cf.Get[cf.ServiceBroker](c.tx, e.offering.BrokerGUID)
	return e, err
}

// planFor is a plan that the space may use.
func (c *call) planFor(guid string, s *cf.Space) (e catalogEntry, err error) {
	gone := unprocessable("Invalid service plan. Ensure that the service plan exists, is available, and you have access to it.")
	q := cf.Query{Where: []cf.Cond{cf.Is("guid", guid), cf.Is("gone", int64(0))}, Limit: 1}
	if !c.admin() {
		if err := plansInSpaces(c, &q, []string{s.GUID}); err != nil {
			return e, err
		}
	}
	list, err := cf.List[cf.ServicePlan](c.tx, q)
	if err != nil || len(list) == 0 {
		return e, orElse(err, gone)
	}
	if e, err = c.entry(list[0].GUID); err != nil {
		return e, err
	}
	if e.broker.SpaceGUID != "" && e.broker.SpaceGUID != s.GUID {
		return e, gone
	}
	return e, c.paid(e.plan, s)
}

// paid holds plans that cost against the quotas.
func (c *call) paid(p *cf.ServicePlan, s *cf.Space) error {
	if p.Free {
		return nil
	}
	o, err := cf.Get[cf.Organization](c.tx, s.OrgGUID)
	if err != nil {
		return err
	}
	for kind, guid := range map[string]string{"organization": o.QuotaGUID, "space": s.QuotaGUID} {
		if guid == "" {
			continue
		}
		q, err := cf.Get[cf.Quota](c.tx, guid)
		if err != nil {
			return err
		}
		if !q.Limits.PaidServices {
			return unprocessable("The service instance cannot be created because paid service plans are not allowed for your %s.", kind)
		}
	}
	return nil
}

// work is what a broker has to be told of an instance.
func (e catalogEntry) work(verb string, i *cf.ServiceInstance, now time.Time) cf.ServiceWork {
	w := cf.ServiceWork{Verb: verb, BrokerGUID: e.broker.GUID, Broker: *e.broker, TargetGUID: i.GUID, ServiceID: e.offering.CatalogID, PlanID: e.plan.CatalogID, InstanceID: i.GUID}
	w.Deadline = now.UTC().Add(maxPolling)
	if e.plan.MaxPolling > 0 {
		w.Deadline = now.UTC().Add(min(maxPolling, time.Duration(e.plan.MaxPolling)*time.Second))
	}
	return w
}

// unbinding is what a broker has to be told of a binding that ends.
func (e catalogEntry) unbinding(b *cf.ServiceBinding, i *cf.ServiceInstance, now time.Time) cf.ServiceWork {
	w := e.work(cf.Unbind, i, now)
	w.TargetGUID, w.BindingID = b.GUID, b.GUID
	return w
}

// contextOf is where the instance is, as brokers are told.
func (c *call) contextOf(i *cf.ServiceInstance, s *cf.Space) (obj, error) {
	o, err := cf.Get[cf.Organization](c.tx, s.OrgGUID)
	if err != nil {
		return nil, err
	}
	return obj{"platform": "cloudfoundry", "organization_guid": o.GUID, "organization_name": o.Name, "organization_annotations": filled(o.Annotations),
		"space_guid": s.GUID, "space_name": s.Name, "space_annotations": filled(s.Annotations), "instance_name": i.Name, "instance_annotations": filled(i.Annotations)}, nil
}

func (c *call) provision(i *cf.ServiceInstance, s *cf.Space, b instanceBody) (any, error) {
	if b.Credentials != nil || b.SyslogDrainURL != nil || b.RouteServiceURL != nil {
		return nil, unprocessable("Credentials and URLs are of user-provided service instances only")
	}
	e, err := c.planFor(b.Relationships.Plan.guid(), s)
	if err != nil {
		return nil, err
	}
	i.PlanGUID, i.Maintenance = e.plan.GUID, e.plan.Maintenance
	i.Last.State, i.Last.Description = "initial", ""
	if err := c.insertInstance(i, s, "audit.service_instance.start_create"); err != nil {
		return nil, err
	}
	where, err := c.contextOf(i, s)
	if err != nil {
		return nil, err
	}
	w := e.work(cf.Provision, i, c.now())
	w.Request = obj{"context": where, "organization_guid": s.OrgGUID, "space_guid": s.GUID}
	if b.Parameters != nil {
		w.Request["parameters"] = *b.Parameters
	}
	if len(e.plan.Maintenance) > 0 {
		w.Request["maintenance_info"] = e.plan.Maintenance
	}
	return c.workJob(&w, "service_instance.create")
}

// workJob answers with the job of a work.
func (c *call) workJob(w *cf.ServiceWork, operation string) (any, error) {
	j, err := c.begin(operation)
	if err != nil {
		return nil, err
	}
	w.JobGUID = j.GUID
	c.status = 202
	return nil, c.assignWork(w)
}

// idle refuses to do two things to an instance at once.
func idle(i *cf.ServiceInstance) error {
	if i.Last.State == "in progress" || i.Last.State == "initial" {
		return &refusal{409, 60016, "CF-AsyncServiceInstanceOperationInProgress", "An operation for service instance " + i.Name + " is in progress."}
	}
	return nil
}

func (c *call) updateInstance(i *cf.ServiceInstance, s *cf.Space) (obj, error) {
	var b instanceBody
	if err := c.read(&b); err != nil {
		return nil, err
	}
	if b.Name != nil && *b.Name != i.Name {
		if err := c.renamable(i, *b.Name); err != nil {
			return nil, err
		}
	}
	if b.Type != "" && b.Type != i.Type {
		return nil, unprocessable("Type cannot be changed")
	}
	if i.Type == managed {
		if err := idle(i); err != nil {
			return nil, err
		}
		if b.Parameters != nil || b.Maintenance != nil || b.Relationships.Plan.Data != nil {
			return nil, c.updateManaged(i, s, b)
		}
	}
	if err := b.apply(i); err != nil {
		return nil, err
	}
	event := "audit.service_instance.update"
	if i.Type == provided {
		event = "audit.user_provided_service_instance.update"
		if err := b.applyProvided(i); err != nil {
			return nil, err
		}
		i.Last.Type, i.Last.State, i.Last.UpdatedAt = "update", "succeeded", c.now().UTC()
		c.drained()
	}
	if err := c.tx.Save(i); err != nil {
		return nil, taken(err, "The service instance name is taken: %s.", i.Name)
	}
	if err := c.record(event, instanceTarget(i), s, nil); err != nil {
		return nil, err
	}
	return showInstance(c, i)
}

// renamable: those who use a shared instance know it by its name.
func (c *call) renamable(i *cf.ServiceInstance, name string) error {
	shared, err := c.isShared(sharedInstances(), i.GUID)
	if err != nil {
		return err
	}
	if shared {
		return &refusal{422, 390003, "CF-SharedServiceInstanceCannotBeRenamed", "Service instances that have been shared cannot be renamed"}
	}
	return c.freeInstanceName(i, name)
}

// updateManaged asks the broker; what it agrees to is then taken over.
func (c *call) updateManaged(i *cf.ServiceInstance, s *cf.Space, b instanceBody) error {
	old, err := c.entry(i.PlanGUID)
	if err != nil {
		return err
	}
	e := old
	if guid := b.Relationships.Plan.guid(); guid != "" && guid != i.PlanGUID {
		if e, err = c.planFor(guid, s); err != nil {
			return err
		}
		if e.offering.GUID != old.offering.GUID || !or(old.plan.PlanUpdatable, old.offering.PlanUpdatable) {
			return unprocessable("The service does not support changing plans.")
		}
	}
	changed := *i
	if err := b.apply(&changed); err != nil {
		return err
	}
	where, err := c.contextOf(&changed, s)
	if err != nil {
		return err
	}
	w := e.work(cf.UpdateOne, i, c.now())
	w.Request = obj{"context": where, "previous_values": obj{"plan_id": old.plan.CatalogID, "service_id": old.offering.CatalogID, "organization_id": s.OrgGUID, "space_id": s.GUID}}
	if b.Parameters != nil {
		w.Request["parameters"] = *b.Parameters
	}
	w.Then = obj{"name": changed.Name, "tags": changed.Tags, "plan_guid": e.plan.GUID}
	if b.Maintenance != nil || e.plan.GUID != i.PlanGUID {
		w.Then["maintenance_info"] = e.plan.Maintenance
		w.Request["maintenance_info"] = e.plan.Maintenance
	}
	now := c.now().UTC()
	i.Last = cf.LastOperation{Type: "update", State: "in progress", CreatedAt: now, UpdatedAt: now}
	if err := c.tx.Save(i); err != nil {
		return err
	}
	if err := c.record("audit.service_instance.start_update", instanceTarget(i), s, nil); err != nil {
		return err
	}
	_, err = c.workJob(&w, "service_instance.update")
	return err
}

func (c *call) deleteInstance() (any, error) {
	i, s, err := c.instance(develop)
	if err != nil {
		return nil, err
	}
	if c.r.URL.Query().Get("purge") == "true" {
		return nil, c.purgeInstance(i, s)
	}
	if shared, err := c.isShared(sharedInstances(), i.GUID); err != nil || shared {
		return nil, orElse(err, &refusal{422, 390002, "CF-ServiceInstanceDeletionSharesExists", "Service instances must be unshared before they can be deleted. Unsharing " + i.Name +
			" will automatically delete any bindings that have been made to applications in other spaces."})
	}
	n, err := c.tx.Count(new(cf.ServiceBinding), cf.Query{Where: []cf.Cond{cf.Is("service_instance_guid", i.GUID)}})
	if err != nil {
		return nil, err
	}
	if n > 0 {
		return nil, inUse("service_bindings, service_keys, and routes", "service_instance")
	}
	if i.Type == provided {
		if err := c.tx.Delete(i); err != nil {
			return nil, err
		}
		return nil, c.record("audit.user_provided_service_instance.delete", instanceTarget(i), s, nil)
	}
	return c.deprovision(i, s)
}

// purgeInstance forgets an instance without telling its broker.
func (c *call) purgeInstance(i *cf.ServiceInstance, s *cf.Space) error {
	if i.Type == managed && !c.admin() {
		e, err := c.entry(i.PlanGUID)
		if err != nil {
			return err
		}
		if e.broker.SpaceGUID == "" {
			return forbidden()
		}
	}
	if err := c.tx.Delete(i); err != nil {
		return err
	}
	c.drained()
	return c.record("audit.service_instance.purge", instanceTarget(i), s, nil)
}

func (c *call) deprovision(i *cf.ServiceInstance, s *cf.Space) (any, error) {
	// A creation that hangs may be given up; other operations are waited for.
	if i.Last.Type != "create" {
		if err := idle(i); err != nil {
			return nil, err
		}
	}
	if err := c.dropWork(i.GUID); err != nil {
		return nil, err
	}
	e, err := c.entry(i.PlanGUID)
	if err != nil {
		return nil, err
	}
	now := c.now().UTC()
	i.Last = cf.LastOperation{Type: "delete", State: "in progress", CreatedAt: now, UpdatedAt: now}
	if err := c.tx.Save(i); err != nil {
		return nil, err
	}
	if err := c.record("audit.service_instance.start_delete", instanceTarget(i), s, nil); err != nil {
		return nil, err
	}
	w := e.work(cf.Deprovision, i, now)
	return c.workJob(&w, "service_instance.delete")
}

func (c *call) instanceCredentials(i *cf.ServiceInstance, s *cf.Space) (obj, error) {
	if i.Type != provided {
		return nil, notFound(instanceName)
	}
	if !c.may(s, secrets) && !c.spaces[s.GUID][cf.SpaceManager] {
		return nil, forbidden()
	}
	if err := c.record("audit.user_provided_service_instance.show", instanceTarget(i), s, nil); err != nil {
		return nil, err
	}
	if i.Credentials == nil {
		return obj{}, nil
	}
	return i.Credentials, nil
}

// instanceParameters asks the broker, when the transaction is over. They may hold
// secrets of the space that made the instance.
func (c *call) instanceParameters(i *cf.ServiceInstance, s *cf.Space) (obj, error) {
	if !c.may(s, look) {
		return nil, forbidden()
	}
	unsupported := &refusal{400, 120004, "CF-ServiceFetchInstanceParametersNotSupported", "This service does not support fetching service instance parameters."}
	if i.Type == provided {
		return nil, unsupported
	}
	e, err := c.entry(i.PlanGUID)
	if err != nil {
		return nil, err
	}
	if !e.offering.InstancesRetrievable {
		return nil, unsupported
	}
	c.askParameters(e, i.GUID, "")
	return nil, nil
}

func (c *call) askParameters(e catalogEntry, instance, binding string) {
	c.then(func() error {
		parameters, err := c.brokers.Parameters(c.ctx, e.broker, e.offering.CatalogID, e.plan.CatalogID, instance, binding)
		if err != nil {
			return &refusal{502, 10001, "CF-ServiceBrokerRequestRejected", err.Error()}
		}
		c.late = parameters
		return nil
	})
}

// drained tells the log cache where lines go now, once it is on disk.
func (c *call) drained() { c.then(func() error { return c.refreshDrains(c.ctx) }) }

// release leaves to the brokers to take away what goes with a space or an app:
// bindings first, then instances, with the bindings that other spaces have.
func (c *call) release(where cf.Cond, instances bool) error {
	going := []*cf.ServiceInstance{}
	if instances {
		list, err := cf.List[cf.ServiceInstance](c.tx, cf.Query{Where: []cf.Cond{where, cf.Is("type", managed)}})
		if err != nil {
			return err
		}
		going = list
	}
	if _, err := c.unbindAll(cf.Query{AnyOf: [][]cf.Cond{{where, cf.Is("service_instance_guid", guidsIn(going)...)}}}); err != nil {
		return err
	}
	for _, i := range going {
		if err := c.dropWork(i.GUID); err != nil {
			return err
		}
		e, err := c.entry(i.PlanGUID)
		if err != nil {
			return err
		}
		if err := c.cleanUp(e.work(cf.Deprovision, i, c.now())); err != nil {
			return err
		}
	}
	return nil
}

// unbindAll leaves to the brokers to take away bindings whose records are about
// to go.
func (c *call) unbindAll(q cf.Query) ([]*cf.ServiceBinding, error) {
	bindings, err := cf.List[cf.ServiceBinding](c.tx, q)
	if err != nil {
		return nil, err
	}
	for _, b := range bindings {
		i, err := cf.Get[cf.ServiceInstance](c.tx, b.InstanceGUID)
		if err != nil {
			return nil, err
		}
		if i.Type == provided {
			continue
		}
		if err := c.dropWork(b.GUID); err != nil {
			return nil, err
		}
		e, err := c.entry(i.PlanGUID)
		if err != nil {
			return nil, err
		}
		if err := c.cleanUp(e.unbinding(b, i, c.now())); err != nil {
			return nil, err
		}
	}
	if len(bindings) > 0 {
		c.drained()
	}
	return bindings, nil
}
