package api

import (
	"github.com/dewpaas/dew/cf"
)

func (s *Server) routeShareRoutes(t table) {
	const path = "/v3/routes/{guid}/relationships/shared_spaces"
	t.get(path, withRoute(look, (*call).showRouteShares))
	t.post(path, 200, withRoute(operate, (*call).shareRoute))
	t.delete(path+"/{space}", 204, withRoute(operate, (*call).unshareRoute))
	t.patch("/v3/routes/{guid}/relationships/space", withRoute(develop, (*call).moveRoute))
}

// visibleRoutes are those of the spaces that the caller sees or audits, and those
// shared with them.
func visibleRoutes(c *call, q *cf.Query) error {
	if c.auditor() {
		return nil
	}
	spaces, err := c.auditedSpaces()
	if err != nil {
		return err
	}
	return inSpacesOrShared(sharedRoutes())(c, q, spaces)
}

func (c *call) showRouteShares(r *cf.Route) (obj, error) {
	owner, err := cf.Get[cf.Space](c.tx, r.SpaceGUID)
	if err != nil {
		return nil, err
	}
	spaces, err := c.sharedInSight(sharedRoutes(), r.GUID, owner)
	if err != nil {
		return nil, err
	}
	out := toMany(guidsIn(spaces))
	out["links"] = obj{"self": c.link("routes", r.GUID, "relationships", "shared_spaces")}
	return out, nil
}

// address is what people type for a route.
func (c *call) address(r *cf.Route) (string, error) {
	d, err := cf.Get[cf.Domain](c.tx, r.DomainGUID)
	if err != nil {
		return "", err
	}
	return r.Address(d), nil
}

func (c *call) shareRoute(r *cf.Route) (obj, error) {
	if err := c.permitted("route_sharing"); err != nil {
		return nil, err
	}
	var b many
	if err := c.read(&b); err != nil {
		return nil, err
	}
	url, err := c.address(r)
	if err != nil {
		return nil, err
	}
	spaces, err := c.targets(sharedRoutes(), url, b)
	if err != nil {
		return nil, err
	}
	for _, to := range spaces {
		if to.GUID == r.SpaceGUID {
			return nil, unprocessable("Unable to share route '%s' with space '%s'. Routes cannot be shared into the space where they were created.", url, to.GUID)
		}
		if err := c.addShare(sharedRoutes(), r.GUID, to.GUID); err != nil {
			return nil, err
		}
	}
	if err := c.recordRoute("share", r, obj{"target_space_guids": guidsIn(spaces)}); err != nil {
		return nil, err
	}
	return c.showRouteShares(r)
}

func (c *call) recordRoute(verb string, r *cf.Route, data obj) error {
	return c.recordIn(r.SpaceGUID, "audit.route."+verb, routeTarget(r), data)
}

// otherSpace is the space that a route shall go to or away from, if the caller
// has the right there. what says what was to be done, for when he has not.
func (c *call) otherSpace(guid, what string) (*cf.Space, error) {
	s, err := cf.First[cf.Space](c.tx, cf.Is("guid", guid))
	switch {
	case err != nil:
		return nil, err
	case s == nil || !c.may(s, look):
		return nil, unprocessable("%s Ensure the space exists and that you have access to it.", what)
	case !c.may(s, operate):
		return nil, unprocessable("%s You don't have write permission for the target space.", what)
	}
	return s, unlessRefused(c.notSuspended(s.OrgGUID), unprocessable("%s The target organization or space is suspended.", what))
}

// unshareRoute takes a route away from a space, and what it leads to there: who
// may no longer use an address shall not go on answering for it.
func (c *call) unshareRoute(r *cf.Route) (obj, error) {
	if err := c.permitted("route_sharing"); err != nil {
		return nil, err
	}
	url, err := c.address(r)
	if err != nil {
		return nil, err
	}
	guid := c.param("space")
	what := "Unable to unshare route '" + url + "' from space '" + guid + "'."
	s, err := c.otherSpace(guid, what)
	if err != nil {
		return nil, err
	}
	if s.GUID == r.SpaceGUID {
		return nil, unprocessable("%s Routes cannot be removed from the space that owns them.", what)
	}
	share, err := c.shareOf(sharedRoutes(), r.GUID, s.GUID)
	if err != nil || share == nil {
		return nil, err // as it shall be
	}
	if err := c.unmapIn(r, s); err != nil {
		return nil, err
	}
	if err := c.tx.Delete(share); err != nil {
		return nil, err
	}
	return nil, c.recordRoute("unshare", r, obj{"target_space_guid": s.GUID})
}

// unmapIn takes the destinations of a route away that are apps of a space.
func (c *call) unmapIn(r *cf.Route, s *cf.Space) error {
	apps, err := guidsOf[cf.App](c, cf.Query{Where: []cf.Cond{cf.Is("space_guid", s.GUID)}})
	if err != nil {
		return err
	}
	return c.dropDestinations(cf.Is("route_guid", r.GUID), cf.Is("app_guid", apps...))
}

// moveRoute gives a route to another space. The one that had it goes on using it,
// as one that it is shared with.
func (c *call) moveRoute(r *cf.Route) (obj, error) {
	if err := c.permitted("route_sharing"); err != nil {
		return nil, err
	}
	var b one
	if err := c.read(&b); err != nil {
		return nil, err
	}
	url, err := c.address(r)
	if err != nil {
		return nil, err
	}
	what := "Unable to transfer owner of route '" + url + "' to space '" + b.guid() + "'."
	to, err := c.otherSpace(b.guid(), what)
	if err != nil {
		return nil, err
	}
	if _, err := c.domainFor(r.DomainGUID, to); err != nil {
		return nil, unlessRefused(err, unprocessable("%s Target space does not have access to route's domain", what))
	}
	if to.GUID != r.SpaceGUID {
		err = c.giveRoute(r, to)
	}
	return obj{"status": "ok"}, err
}

func (c *call) giveRoute(r *cf.Route, to *cf.Space) error {
	if share, err := c.shareOf(sharedRoutes(), r.GUID, to.GUID); err != nil {
		return err
	} else if share != nil {
		if err := c.tx.Delete(share); err != nil {
			return err
		}
	}
	if err := c.recordRoute("transfer-owner", r, obj{"target_space_guid": to.GUID}); err != nil {
		return err
	}
	from := r.SpaceGUID
	r.SpaceGUID = to.GUID
	if err := c.tx.Save(r); err != nil {
		return err
	}
	if err := c.addShare(sharedRoutes(), r.GUID, from); err != nil {
		return err
	}
	return c.within(to, routing)
}
