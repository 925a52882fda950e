package api

import (
	"github.com/dewpaas/dew/cf"
)

const instanceName = "Service instance"

func (s *Server) instanceShareRoutes(t table) {
	const path = "/v3/service_instances/{guid}/relationships/shared_spaces"
	t.get(path, withInstance(look, (*call).showInstanceShares), "fields[space]", "fields[space.organization]")
	t.post(path, 200, withInstance(develop, (*call).shareInstance))
	t.delete(path+"/{space}", 204, withInstance(develop, (*call).unshareInstance))
	t.get(path+"/usage_summary", withInstance(look, (*call).usageOfShares))
}

// instance is the one of the path, and the space that owns it.
func (c *call) instance(what right) (*cf.ServiceInstance, *cf.Space, error) {
	i, err := cf.Get[cf.ServiceInstance](c.tx, c.param("guid"))
	if err != nil {
		return nil, nil, hide(err, instanceName)
	}
	s, err := c.ownerOf(sharedInstances(), i.GUID, i.SpaceGUID, instanceName, what)
	return i, s, err
}

func withInstance(what right, f func(*call, *cf.ServiceInstance, *cf.Space) (obj, error)) endpoint {
	return func(c *call) (any, error) {
		i, s, err := c.instance(what)
		if err != nil {
			return nil, err
		}
		return f(c, i, s)
	}
}

// visibleInstances are those of the caller's spaces, and those shared with them.
func visibleInstances(c *call, q *cf.Query) error {
	if c.auditor() {
		return nil
	}
	spaces, err := c.seenSpaces()
	if err != nil {
		return err
	}
	return inSpacesOrShared(sharedInstances())(c, q, spaces)
}

func inOrgsOrShared(c *call, q *cf.Query, orgs []string) error {
	spaces, err := guidsOf[cf.Space](c, cf.Query{Where: []cf.Cond{cf.Is("organization_guid", orgs...)}})
	if err != nil {
		return err
	}
	return inSpacesOrShared(sharedInstances())(c, q, spaces)
}

// sharedSpaces shows of spaces what fields ask for.
var sharedSpaces = listing[*cf.Space]{fields: map[string]fieldBlock[*cf.Space]{
	"space": {"spaces", func(c *call, page []*cf.Space, included obj) error {
		return includeIn(c, included, "spaces", guidsIn(page), showSpace)
	}},
	"space.organization": {"organizations", includeOrgs},
}}

func (c *call) showInstanceShares(i *cf.ServiceInstance, s *cf.Space) (obj, error) {
	spaces, err := c.sharedInSight(sharedInstances(), i.GUID, s)
	if err != nil {
		return nil, err
	}
	out := toMany(guidsIn(spaces))
	out["links"] = obj{"self": c.link("service_instances", i.GUID, "relationships", "shared_spaces")}
	return out, sharedSpaces.include(c, spaces, out)
}

// usageOfShares counts the apps that are bound in each space.
func (c *call) usageOfShares(i *cf.ServiceInstance, s *cf.Space) (obj, error) {
	spaces, err := c.sharedInSight(sharedInstances(), i.GUID, s)
	if err != nil {
		return nil, err
	}
	summary := []obj{}
	for _, s := range spaces {
		n, err := c.tx.Count(new(cf.ServiceBinding), cf.Query{Where: []cf.Cond{cf.Is("service_instance_guid", i.GUID), cf.Is("space_guid", s.GUID), cf.Is("type", appBinding)}})
		if err != nil {
			return nil, err
		}
		summary = append(summary, obj{"space": obj{"guid": s.GUID}, "bound_app_count": n})
	}
	shares := []string{"service_instances", i.GUID, "relationships", "shared_spaces"}
	return obj{"usage_summary": summary, "links": obj{"self": c.link(append(shares, "usage_summary")...), "shared_spaces": c.link(shares...),
		"service_instance": c.link("service_instances", i.GUID)}}, nil
}

func (c *call) shareInstance(i *cf.ServiceInstance, s *cf.Space) (obj, error) {
	if err := c.permitted("service_instance_sharing"); err != nil {
		return nil, err
	}
	var b many
	if err := c.read(&b); err != nil {
		return nil, err
	}
	spaces, err := c.targets(sharedInstances(), i.Name, b)
	if err != nil {
		return nil, err
	}
	e, err := c.toShare(i)
	if err != nil {
		return nil, err
	}
	for _, to := range spaces {
		if err := c.fitsInto(i, e, to); err != nil {
			return nil, err
		}
		if err := c.addShare(sharedInstances(), i.GUID, to.GUID); err != nil {
			return nil, err
		}
	}
	if err := c.record("audit.service_instance.share", instanceTarget(i), s, obj{"target_space_guids": guidsIn(spaces)}); err != nil {
		return nil, err
	}
	return c.showInstanceShares(i, s)
}

// toShare is the catalog entry of an instance that can be shared: brokers say which
// services can.
func (c *call) toShare(i *cf.ServiceInstance) (catalogEntry, error) {
	if i.Type == provided {
		return catalogEntry{}, unprocessable("User-provided services cannot be shared.")
	}
	e, err := c.entry(i.PlanGUID)
	if err == nil {
		err = canBeShared(i, e)
	}
	return e, err
}

func canBeShared(i *cf.ServiceInstance, e catalogEntry) error {
	switch {
	case !isShareable(e.offering):
		return unprocessable("The %s service does not support service instance sharing.", e.offering.Name)
	case e.plan.Gone:
		return unprocessable("The service instance could not be shared as the %s plan is inactive.", e.plan.Name)
	case i.Last.Type == "create" && i.Last.State == "failed":
		return &refusal{404, 60004, "CF-ServiceInstanceNotFound", "The service instance could not be found: " + i.Name}
	case i.Last.Type == "create" && i.Last.State != "succeeded":
		return unprocessable("Service instance is currently being created. It can be shared after its creation succeeded.")
	case i.Last.Type == "delete" && i.Last.State == "in progress":
		return unprocessable("The service instance is getting deleted.")
	}
	return nil
}

func isShareable(o *cf.ServiceOffering) bool {
	on, _ := o.Extra["shareable"].(bool)
	return on
}

// fitsInto checks that a space could have made the instance itself, and has none
// of that name.
func (c *call) fitsInto(i *cf.ServiceInstance, e catalogEntry, to *cf.Space) error {
	if to.GUID == i.SpaceGUID {
		return unprocessable("Unable to share service instance '%s' with space '%s'. Service instances cannot be shared into the space where they were created.", i.Name, to.GUID)
	}
	visible, err := c.offered(e, to)
	if err != nil {
		return err
	}
	if !visible {
		o, err := cf.Get[cf.Organization](c.tx, to.OrgGUID)
		if err != nil {
			return err
		}
		return unprocessable("Access to service %s and plan %s is not enabled in %s/%s.", e.offering.Name, e.plan.Name, o.Name, to.Name)
	}
	other, err := c.instanceNamed(to.GUID, i.Name)
	switch {
	case err != nil || other == nil:
		return err
	case other.SpaceGUID == to.GUID:
		return unprocessable("A service instance called %s already exists in %s.", i.Name, to.Name)
	}
	return unprocessable("A service instance called %s has already been shared with %s.", i.Name, to.Name)
}

// offered tells whether a space may use a plan, whoever asks.
func (c *call) offered(e catalogEntry, s *cf.Space) (bool, error) {
	q := cf.Query{Where: []cf.Cond{cf.Is("guid", e.plan.GUID)}}
	if err := plansInSpaces(c, &q, []string{s.GUID}); err != nil {
		return false, err
	}
	n, err := c.tx.Count(e.plan, q)
	return n > 0, err
}

// instanceNamed finds what a space has under a name, its own or shared, or nil.
func (c *call) instanceNamed(space, name string) (*cf.ServiceInstance, error) {
	q := cf.Query{Where: []cf.Cond{cf.Is("name", name)}, Limit: 1}
	if err := inSpacesOrShared(sharedInstances())(c, &q, []string{space}); err != nil {
		return nil, err
	}
	list, err := cf.List[cf.ServiceInstance](c.tx, q)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

// unshareInstance takes the instance away from a space, and with it the bindings
// there. Only the owners can. Brokers are told by their worker.
func (c *call) unshareInstance(i *cf.ServiceInstance, s *cf.Space) (obj, error) {
	space := c.param("space")
	share, err := c.shareOf(sharedInstances(), i.GUID, space)
	if err != nil || share == nil {
		return nil, orElse(err, unprocessable("Unable to unshare service instance from space %s. Ensure the space exists and the service instance has been shared to this space.", space))
	}
	if err := idle(i); err != nil {
		return nil, err
	}
	bindings, err := c.unbindAll(cf.Query{Where: []cf.Cond{cf.Is("service_instance_guid", i.GUID), cf.Is("space_guid", space)}})
	if err != nil {
		return nil, err
	}
	for _, b := range bindings {
		if err := c.tx.Delete(b); err != nil {
			return nil, err
		}
		if err := c.recordIn(space, "audit.service_binding.delete", bindingTarget(b), obj{"request": obj{"reason": "the service instance was unshared"}}); err != nil {
			return nil, err
		}
	}
	if err := c.tx.Delete(share); err != nil {
		return nil, err
	}
	return nil, c.record("audit.service_instance.unshare", instanceTarget(i), s, obj{"target_space_guid": space})
}
