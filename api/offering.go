package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/dewpaas/dew/cf"
)

var offeringList = listing[*cf.ServiceOffering]{
	filters: filters{"names": by("name"), "broker_catalog_ids": by("catalog_id"), "service_broker_guids": by("broker_guid"), "service_broker_names": offeringsOfBrokers,
		"available": available, "space_guids": offeringsIn(plansInSpaces), "organization_guids": offeringsIn(plansInOrgs)},
	order: []string{"name"}, visible: visibleOfferings, show: showOffering, fields: offeringFields,
}

var planList = listing[*cf.ServicePlan]{
	filters: filters{"names": by("name"), "broker_catalog_ids": by("catalog_id"), "service_offering_guids": by("offering_guid"),
		"service_offering_names": plansOf(func(values []string) cf.Cond { return cf.Is("name", values...) }),
		"service_broker_guids":   plansOf(func(values []string) cf.Cond { return cf.Is("broker_guid", values...) }),
		"service_broker_names": func(c *call, q *cf.Query, values []string) error {
			brokers, err := c.brokersNamed(values)
			if err != nil {
				return err
			}
			return plansOf(func([]string) cf.Cond { return cf.Is("broker_guid", brokers...) })(c, q, nil)
		},
		"service_instance_guids": func(c *call, q *cf.Query, values []string) error {
			list, err := cf.List[cf.ServiceInstance](c.tx, cf.Query{Where: []cf.Cond{cf.Is("guid", values...)}})
			plans := []string{}
			for _, i := range list {
				plans = append(plans, i.PlanGUID)
			}
			q.Where = append(q.Where, cf.Is("guid", plans...))
			return err
		},
		"available": available, "space_guids": plansInSpaces, "organization_guids": plansInOrgs},
	order: []string{"name"}, visible: visiblePlans, show: showPlan, fields: planFields,
	includes: map[string]func(*call, []*cf.ServicePlan, obj) error{
		"service_offering": func(c *call, page []*cf.ServicePlan, included obj) error {
			return includeIn(c, included, "service_offerings", each(page, func(p *cf.ServicePlan) string { return p.OfferingGUID }), showOffering)
		},
		"space.organization": includePlanSpaces,
	},
}

func available(_ *call, q *cf.Query, values []string) error {
	if len(values) != 1 || values[0] != "true" && values[0] != "false" {
		return badQuery("available must be true or false")
	}
	gone := int64(0)
	if values[0] == "false" {
		gone = 1
	}
	q.Where = append(q.Where, cf.Is("gone", gone))
	return nil
}

func (c *call) brokersNamed(names []string) ([]string, error) {
	return guidsOf[cf.ServiceBroker](c, cf.Query{Where: []cf.Cond{cf.Is("name", names...)}})
}

func offeringsOfBrokers(c *call, q *cf.Query, names []string) error {
	guids, err := c.brokersNamed(names)
	q.Where = append(q.Where, cf.Is("broker_guid", guids...))
	return err
}

// plansOf filters plans by their offerings.
func plansOf(cond func(values []string) cf.Cond) filter {
	return func(c *call, q *cf.Query, values []string) error {
		guids, err := guidsOf[cf.ServiceOffering](c, cf.Query{Where: []cf.Cond{cond(values)}})
		q.Where = append(q.Where, cf.Is("offering_guid", guids...))
		return err
	}
}

// offeringsIn filters offerings as their plans are filtered.
func offeringsIn(plans filter) filter {
	return func(c *call, q *cf.Query, values []string) error {
		var of cf.Query
		if err := plans(c, &of, values); err != nil {
			return err
		}
		list, err := cf.List[cf.ServicePlan](c.tx, of)
		guids := []string{}
		for _, p := range list {
			guids = append(guids, p.OfferingGUID)
		}
		q.Where = append(q.Where, cf.Is("guid", guids...))
		return err
	}
}

// usable are the plans that these spaces of these organizations may have.
func (c *call) usable(orgs, spaces []string) ([]cf.Cond, error) {
	shown, err := cf.List[cf.PlanVisibility](c.tx, cf.Query{Where: []cf.Cond{cf.Is("organization_guid", orgs...)}})
	if err != nil {
		return nil, err
	}
	plans := []string{}
	for _, v := range shown {
		plans = append(plans, v.PlanGUID)
	}
	brokers, err := guidsOf[cf.ServiceBroker](c, cf.Query{Where: []cf.Cond{cf.Is("space_guid", spaces...)}})
	if err != nil {
		return nil, err
	}
	offerings, err := guidsOf[cf.ServiceOffering](c, cf.Query{Where: []cf.Cond{cf.Is("broker_guid", brokers...)}})
	return []cf.Cond{cf.Is("visibility_type", cf.PublicPlan), cf.Is("guid", plans...), cf.Is("offering_guid", offerings...)}, err
}

func plansInOrgs(c *call, q *cf.Query, orgs []string) error {
	any, err := c.usable(orgs, nil)
	q.AnyOf = append(q.AnyOf, any)
	return err
}

func plansInSpaces(c *call, q *cf.Query, spaces []string) error {
	list, err := cf.List[cf.Space](c.tx, cf.Query{Where: []cf.Cond{cf.Is("guid", spaces...)}})
	if err != nil {
		return err
	}
	orgs := []string{}
	for _, s := range list {
		orgs = append(orgs, s.OrgGUID)
	}
	any, err := c.usable(orgs, spaces)
	q.AnyOf = append(q.AnyOf, any)
	return err
}

// browses tells whether a request looks at the marketplace, which those may who
// have not logged in.
func browses(r *http.Request) bool {
	path := strings.TrimSuffix(r.URL.Path, "/")
	for _, list := range []string{"/v3/service_offerings", "/v3/service_plans"} {
		rest, ok := strings.CutPrefix(path, list)
		if ok && r.Method == http.MethodGet && strings.Count(rest, "/") == min(1, len(rest)) {
			return true
		}
	}
	return false
}

// visiblePlans: who has not logged in sees the public ones, unless an admin has
// hidden the marketplace.
func visiblePlans(c *call, q *cf.Query) error {
	if c.auditor() {
		return nil
	}
	if c.anonymous {
		if hidden, err := c.flag("hide_marketplace_from_unauthenticated_users"); err != nil || hidden {
			return orElse(err, notAuthenticated())
		}
	}
	spaces, err := c.seenSpaces()
	if err != nil {
		return err
	}
	any, err := c.usable(keysOf(c.orgs), spaces)
	q.AnyOf = append(q.AnyOf, any)
	return err
}

func visibleOfferings(c *call, q *cf.Query) error {
	if c.auditor() {
		return nil
	}
	var of cf.Query
	if err := visiblePlans(c, &of); err != nil {
		return err
	}
	list, err := cf.List[cf.ServicePlan](c.tx, of)
	guids := []string{}
	for _, p := range list {
		guids = append(guids, p.OfferingGUID)
	}
	q.Where = append(q.Where, cf.Is("guid", guids...))
	return err
}

func showOffering(c *call, o *cf.ServiceOffering) (obj, error) {
	tags, requires, extra := o.Tags, o.Requires, o.Extra
	if tags == nil {
		tags = []string{}
	}
	if requires == nil {
		requires = []string{}
	}
	if extra == nil {
		extra = map[string]any{}
	}
	about, _ := extra["documentationUrl"].(string)
	return c.described(&o.Meta, "service_offerings", obj{"name": o.Name, "description": o.Description, "available": !o.Gone, "tags": tags, "requires": requires,
		"shareable": isShareable(o), "documentation_url": nullable(about), "relationships": obj{"service_broker": toOne(o.BrokerGUID)},
		"broker_catalog": obj{"id": o.CatalogID, "metadata": extra, "features": obj{"plan_updateable": o.PlanUpdatable, "bindable": o.Bindable,
			"instances_retrievable": o.InstancesRetrievable, "bindings_retrievable": o.BindingsRetrievable, "allow_context_updates": o.ContextUpdates}},
		"links": obj{"service_broker": c.link("service_brokers", o.BrokerGUID), "service_plans": obj{"href": c.url + "/v3/service_plans?service_offering_guids=" + o.GUID}}}), nil
}

func showPlan(c *call, p *cf.ServicePlan) (obj, error) {
	o, err := cf.Get[cf.ServiceOffering](c.tx, p.OfferingGUID)
	if err != nil {
		return nil, err
	}
	b, err := cf.Get[cf.ServiceBroker](c.tx, o.BrokerGUID)
	if err != nil {
		return nil, err
	}
	relations := obj{"service_offering": toOne(p.OfferingGUID)}
	if b.SpaceGUID != "" {
		relations["space"] = toOne(b.SpaceGUID)
	}
	extra, schemas, maintenance := p.Extra, p.Schemas, p.Maintenance
	for _, m := range []*map[string]any{&extra, &maintenance} {
		if *m == nil {
			*m = map[string]any{}
		}
	}
	costs, _ := extra["costs"].([]any)
	return c.described(&p.Meta, "service_plans", obj{"name": p.Name, "description": p.Description, "available": !p.Gone, "free": p.Free, "visibility_type": p.VisibilityType,
		"costs": shownCosts(costs), "maintenance_info": maintenance, "schemas": shownSchemas(schemas), "relationships": relations,
		"broker_catalog": obj{"id": p.CatalogID, "metadata": extra, "maximum_polling_duration": number(p.MaxPolling),
			"features": obj{"bindable": or(p.Bindable, o.Bindable), "plan_updateable": or(p.PlanUpdatable, o.PlanUpdatable)}},
		"links": obj{"service_offering": c.link("service_offerings", p.OfferingGUID), "visibility": c.link("service_plans", p.GUID, "visibility")}}), nil
}

func or(own *bool, otherwise bool) bool {
	if own != nil {
		return *own
	}
	return otherwise
}

// shownCosts turns the costs of a catalog's metadata (an amount per currency and
// a unit) into those of the API.
func shownCosts(list []any) []obj {
	out := []obj{}
	for _, one := range list {
		cost, _ := one.(map[string]any)
		amounts, _ := cost["amount"].(map[string]any)
		unit, _ := cost["unit"].(string)
		for currency, amount := range amounts {
			if n, ok := amount.(float64); ok {
				out = append(out, obj{"currency": strings.ToUpper(currency), "amount": n, "unit": unit})
			}
		}
	}
	slices.SortFunc(out, func(a, b obj) int { return strings.Compare(a["currency"].(string), b["currency"].(string)) })
	return out
}

// shownSchemas has every branch that clients read, empty where the catalog has
// none.
func shownSchemas(given map[string]any) obj {
	dig := func(path ...string) any {
		var v any = given
		for _, name := range path {
			m, _ := v.(map[string]any)
			v = m[name]
		}
		if v == nil {
			return obj{}
		}
		return v
	}
	return obj{
		"service_instance": obj{"create": obj{"parameters": dig("service_instance", "create", "parameters")}, "update": obj{"parameters": dig("service_instance", "update", "parameters")}},
		"service_binding":  obj{"create": obj{"parameters": dig("service_binding", "create", "parameters")}},
	}
}

func includePlanSpaces(c *call, page []*cf.ServicePlan, included obj) error {
	spaces := []string{}
	for _, p := range page {
		o, err := cf.Get[cf.ServiceOffering](c.tx, p.OfferingGUID)
		if err != nil {
			return err
		}
		b, err := cf.Get[cf.ServiceBroker](c.tx, o.BrokerGUID)
		if err != nil {
			return err
		}
		if b.SpaceGUID != "" {
			spaces = append(spaces, b.SpaceGUID)
		}
	}
	if err := includeIn(c, included, "spaces", spaces, showSpace); err != nil {
		return err
	}
	list, err := cf.List[cf.Space](c.tx, cf.Query{Where: []cf.Cond{cf.Is("guid", spaces...)}})
	if err != nil {
		return err
	}
	return includeOrgs(c, list, included)
}

func (s *Server) offeringRoutes(t table) {
	list(t, "/v3/service_offerings", offeringList)
	t.get("/v3/service_offerings/{guid}", func(c *call) (any, error) { return seen(c, offeringList, "Service offering") }, "fields[service_broker]")
	t.patch("/v3/service_offerings/{guid}", func(c *call) (any, error) {
		o, err := cf.Get[cf.ServiceOffering](c.tx, c.param("guid"))
		if err != nil {
			return nil, hide(err, "Service offering")
		}
		if err := c.ownOffering(o, "Service offering"); err != nil {
			return nil, err
		}
		return relabel(showOffering)(c, o)
	})
	t.delete("/v3/service_offerings/{guid}", 204, (*call).purgeOffering, "purge")
	list(t, "/v3/service_plans", planList)
	t.get("/v3/service_plans/{guid}", func(c *call) (any, error) { return seen(c, planList, "Service plan") }, "include", "fields[service_offering.service_broker]")
	t.patch("/v3/service_plans/{guid}", func(c *call) (any, error) {
		p, err := c.ownPlan()
		if err != nil {
			return nil, err
		}
		return relabel(showPlan)(c, p)
	})
	t.delete("/v3/service_plans/{guid}", 204, (*call).deletePlan)
	t.get("/v3/service_plans/{guid}/visibility", (*call).getVisibility)
	t.patch("/v3/service_plans/{guid}/visibility", func(c *call) (any, error) { return c.setVisibility(true) })
	t.post("/v3/service_plans/{guid}/visibility", 200, func(c *call) (any, error) { return c.setVisibility(false) })
	t.delete("/v3/service_plans/{guid}/visibility/{org}", 204, (*call).hideFromOrg)
}

// seen shows one record by the rules by which they are listed.
func seen[T any, P interface {
	*T
	cf.Record
}](c *call, l listing[P], name string) (any, error) {
	r, err := sought[T](c, l, name)
	if err != nil {
		return nil, err
	}
	out, err := l.show(c, r)
	if err != nil {
		return nil, err
	}
	return out, l.include(c, []P{r}, out)
}

// sought is the record of the path's guid, if the caller sees it in its list.
func sought[T any, P interface {
	*T
	cf.Record
}](c *call, l listing[P], name string) (P, error) {
	q := cf.Query{Where: []cf.Cond{cf.Is("guid", c.param("guid"))}, Limit: 1}
	if l.visible != nil {
		if err := l.visible(c, &q); err != nil {
			return nil, err
		}
	}
	page, err := cf.List[T, P](c.tx, q)
	if err != nil || len(page) == 0 {
		return nil, hide(err, name)
	}
	return page[0], nil
}

// ownOffering lets admins, and developers of the space whose broker it is,
// change an offering. Others who see it may not, and who does not is not told.
func (c *call) ownOffering(o *cf.ServiceOffering, name string) error {
	b, err := cf.Get[cf.ServiceBroker](c.tx, o.BrokerGUID)
	if err != nil || c.admin() {
		return err
	}
	if b.SpaceGUID != "" {
		_, err := c.space(b.SpaceGUID, develop, name)
		return err
	}
	q := cf.Query{Where: []cf.Cond{cf.Is("guid", o.GUID)}}
	if err := visibleOfferings(c, &q); err != nil {
		return err
	}
	n, err := c.tx.Count(o, q)
	if err != nil || n == 0 {
		return hide(err, name)
	}
	return forbidden()
}

func (c *call) ownPlan() (*cf.ServicePlan, error) {
	p, err := cf.Get[cf.ServicePlan](c.tx, c.param("guid"))
	if err != nil {
		return nil, hide(err, "Service plan")
	}
	o, err := cf.Get[cf.ServiceOffering](c.tx, p.OfferingGUID)
	if err != nil {
		return nil, err
	}
	return p, c.ownOffering(o, "Service plan")
}

func (c *call) deletePlan() (any, error) {
	p, err := c.ownPlan()
	if err != nil {
		return nil, err
	}
	if err := c.tx.Delete(p); err != nil {
		if cf.KindOf(err) == cf.Conflict {
			err = inUse("service_instances", "service_plan")
		}
		return nil, err
	}
	return nil, c.note(p, "delete")
}

func inUse(what, of string) error {
	return &refusal{422, 10006, "CF-AssociationNotEmpty", "Please delete the " + what + " associations for your " + of + "s."}
}

// purgeOffering forgets an offering. With purge its instances and bindings are
// forgotten too, and its broker is told nothing.
func (c *call) purgeOffering() (any, error) {
	o, err := cf.Get[cf.ServiceOffering](c.tx, c.param("guid"))
	if err != nil {
		return nil, hide(err, "Service offering")
	}
	if err := c.ownOffering(o, "Service offering"); err != nil {
		return nil, err
	}
	plans, err := guidsOf[cf.ServicePlan](c, cf.Query{Where: []cf.Cond{cf.Is("offering_guid", o.GUID)}})
	if err != nil {
		return nil, err
	}
	instances, err := cf.List[cf.ServiceInstance](c.tx, cf.Query{Where: []cf.Cond{cf.Is("plan_guid", plans...)}})
	if err != nil {
		return nil, err
	}
	if len(instances) > 0 && c.r.URL.Query().Get("purge") != "true" {
		return nil, inUse("service_plans", "service_offering")
	}
	for _, i := range instances {
		if err := c.tx.Delete(i); err != nil {
			return nil, err
		}
	}
	if err := c.tx.Delete(o); err != nil {
		return nil, err
	}
	return nil, c.record("audit.service.delete", cf.Actor{GUID: o.GUID, Type: "service_offering", Name: o.Name}, nil, nil)
}

func (c *call) getVisibility() (any, error) {
	p, err := sought(c, planList, "Service plan")
	if err != nil {
		return nil, err
	}
	return c.showVisibility(p)
}

func (c *call) showVisibility(p *cf.ServicePlan) (any, error) {
	out := obj{"type": p.VisibilityType}
	switch p.VisibilityType {
	case cf.OrgPlan:
		shown, err := cf.List[cf.PlanVisibility](c.tx, cf.Query{Where: []cf.Cond{cf.Is("plan_guid", p.GUID)}, Order: []cf.Order{{Key: "created_at"}}})
		if err != nil {
			return nil, err
		}
		orgs := []obj{}
		for _, v := range shown {
			o, err := cf.Get[cf.Organization](c.tx, v.OrgGUID)
			if err != nil {
				return nil, err
			}
			if c.seesOrg(o.GUID) {
				orgs = append(orgs, obj{"guid": o.GUID, "name": o.Name})
			}
		}
		out["organizations"] = orgs
	case cf.SpacePlan:
		o, err := cf.Get[cf.ServiceOffering](c.tx, p.OfferingGUID)
		if err != nil {
			return nil, err
		}
		b, err := cf.Get[cf.ServiceBroker](c.tx, o.BrokerGUID)
		if err != nil {
			return nil, err
		}
		s, err := cf.Get[cf.Space](c.tx, b.SpaceGUID)
		if err != nil {
			return nil, err
		}
		out["space"] = obj{"guid": s.GUID, "name": s.Name}
	}
	return out, nil
}

// setVisibility adds organizations, or with replace makes these the only ones.
func (c *call) setVisibility(replace bool) (any, error) {
	p, err := sought(c, planList, "Service plan")
	if err == nil {
		err = c.only()
	}
	if err != nil {
		return nil, err
	}
	var b struct {
		Type string `json:"type"`
		Orgs []struct {
			GUID string `json:"guid"`
		} `json:"organizations"`
	}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	switch {
	case p.VisibilityType == cf.SpacePlan:
		return nil, unprocessable("cannot update plans with visibility type 'space'")
	case b.Type != cf.PublicPlan && b.Type != cf.AdminPlan && b.Type != cf.OrgPlan:
		return nil, unprocessable("Type must be one of 'public', 'admin', 'organization'")
	case b.Type == cf.OrgPlan && len(b.Orgs) == 0, b.Type != cf.OrgPlan && len(b.Orgs) > 0:
		return nil, unprocessable("Organizations must be given for type 'organization', and only then")
	}
	if replace || b.Type != cf.OrgPlan || p.VisibilityType != cf.OrgPlan {
		if err := c.hidePlan(p); err != nil {
			return nil, err
		}
	}
	p.VisibilityType = b.Type
	if err := c.tx.Save(p); err != nil {
		return nil, err
	}
	for _, o := range b.Orgs {
		if err := c.showPlanTo(p, o.GUID); err != nil {
			return nil, err
		}
	}
	if err := c.record("audit.service_plan_visibility.update", cf.Actor{GUID: p.GUID, Type: "service_plan", Name: p.Name}, nil, obj{"request": b}); err != nil {
		return nil, err
	}
	return c.showVisibility(p)
}

func (c *call) hidePlan(p *cf.ServicePlan) error {
	old, err := cf.List[cf.PlanVisibility](c.tx, cf.Query{Where: []cf.Cond{cf.Is("plan_guid", p.GUID)}})
	for _, v := range old {
		if err := c.tx.Delete(v); err != nil {
			return err
		}
	}
	return err
}

func (c *call) showPlanTo(p *cf.ServicePlan, org string) error {
	o, err := cf.First[cf.Organization](c.tx, cf.Is("guid", org))
	if err != nil || o == nil {
		return orElse(err, unprocessable("Could not find Organizations with guids: %s", org))
	}
	old, err := cf.First[cf.PlanVisibility](c.tx, cf.Is("plan_guid", p.GUID), cf.Is("organization_guid", o.GUID))
	if err != nil || old != nil {
		return err
	}
	return c.tx.Insert(&cf.PlanVisibility{PlanGUID: p.GUID, OrgGUID: o.GUID})
}

func (c *call) hideFromOrg() (any, error) {
	p, err := sought(c, planList, "Service plan")
	if err == nil {
		err = c.only()
	}
	if err != nil {
		return nil, err
	}
	if p.VisibilityType != cf.OrgPlan {
		return nil, unprocessable("cannot remove organizations from plans that are not of visibility type 'organization'")
	}
	v, err := cf.First[cf.PlanVisibility](c.tx, cf.Is("plan_guid", p.GUID), cf.Is("organization_guid", c.param("org")))
	if err != nil || v == nil {
		return nil, orElse(err, notFound("Organization"))
	}
	if err := c.tx.Delete(v); err != nil {
		return nil, err
	}
	return nil, c.record("audit.service_plan_visibility.delete", cf.Actor{GUID: p.GUID, Type: "service_plan", Name: p.Name}, nil, obj{"organization_guid": v.OrgGUID})
}
