package api

import (
	"strings"

	"github.com/dewpaas/dew/cf"
)

// shareable is what a space may let others use: the key of its shares, and what
// it is called when that fails.
type shareable struct {
	key   string
	what  string
	write string // who may share it with a space
}

func sharedInstances() shareable {
	return shareable{"service_instance_guid", "service instance", "Write permission is required in order to share a service instance with a space."}
}

func sharedRoutes() shareable {
	return shareable{"route_guid", "route", "Write permission is required in order to share a route with a space and the containing organization must not be suspended."}
}

// of makes the share of one thing with a space.
func (k shareable) of(guid, space string) *cf.Share {
	if k.key == "route_guid" {
		return &cf.Share{RouteGUID: guid, SpaceGUID: space}
	}
	return &cf.Share{InstanceGUID: guid, SpaceGUID: space}
}

// sharedInto are the guids of what is shared with the spaces.
func (c *call) sharedInto(k shareable, spaces []string) ([]string, error) {
	list, err := cf.List[cf.Share](c.tx, cf.Query{Where: []cf.Cond{cf.Is("space_guid", spaces...)}})
	guids := []string{}
	for _, s := range list {
		if guid, ok := s.Keys()[k.key].(string); ok {
			guids = append(guids, guid)
		}
	}
	return guids, err
}

// sharedWith are the spaces that one thing is shared with, in order.
func (c *call) sharedWith(k shareable, guid string) ([]*cf.Space, error) {
	list, err := cf.List[cf.Share](c.tx, cf.Query{Where: []cf.Cond{cf.Is(k.key, guid)}, Order: []cf.Order{{Key: "created_at"}}})
	if err != nil {
		return nil, err
	}
	var spaces []*cf.Space
	for _, share := range list {
		s, err := cf.Get[cf.Space](c.tx, share.SpaceGUID)
		if err != nil {
			return nil, err
		}
		spaces = append(spaces, s)
	}
	return spaces, nil
}

// sharedInSight are those that the caller may know of: all if he sees the space
// that owns the thing, else those that he sees.
func (c *call) sharedInSight(k shareable, guid string, owner *cf.Space) ([]*cf.Space, error) {
	spaces, err := c.sharedWith(k, guid)
	if err != nil || c.may(owner, look) {
		return spaces, err
	}
	var seen []*cf.Space
	for _, s := range spaces {
		if c.may(s, look) {
			seen = append(seen, s)
		}
	}
	return seen, nil
}

// ownerOf is the space that owns a thing, for a purpose. Who only has it from
// another space may look at it; who has it from nowhere is told that it is absent.
func (c *call) ownerOf(k shareable, guid, space, name string, what right) (*cf.Space, error) {
	s, err := cf.Get[cf.Space](c.tx, space)
	if err != nil {
		return nil, hide(err, name)
	}
	if c.may(s, look) {
		return s, c.allow(s, what)
	}
	seen, err := c.sharedInSight(k, guid, s)
	switch {
	case err != nil || len(seen) == 0:
		return nil, hide(err, name)
	case what != look:
		return nil, forbidden()
	}
	return s, nil
}

// inSpacesOrShared filters what lives in spaces, or is shared with them.
func inSpacesOrShared(k shareable) filter {
	return func(c *call, q *cf.Query, spaces []string) error {
		guids, err := c.sharedInto(k, spaces)
		q.AnyOf = append(q.AnyOf, []cf.Cond{cf.Is("space_guid", spaces...), cf.Is("guid", guids...)})
		return err
	}
}

// targets are the spaces that something shall be shared with. Those that the
// caller may not see are named like those that there are not.
func (c *call) targets(k shareable, name string, to many) ([]*cf.Space, error) {
	if len(to.Data) == 0 {
		return nil, unprocessable("Data can't be blank")
	}
	var spaces []*cf.Space
	var unseen, fixed []string
	for _, d := range to.Data {
		s, err := cf.First[cf.Space](c.tx, cf.Is("guid", d.GUID))
		if err != nil {
			return nil, err
		}
		if s == nil || !c.may(s, look) {
			unseen = append(unseen, d.GUID)
			continue
		}
		err = c.allow(s, develop)
		switch {
		case refused(err):
			fixed = append(fixed, d.GUID)
		case err != nil:
			return nil, err
		}
		spaces = append(spaces, s)
	}
	var problems []string
	say := func(guids []string, why string) {
		if guids != nil {
			problems = append(problems, "Unable to share "+k.what+" "+name+" with spaces ['"+strings.Join(guids, "', '")+"']. "+why)
		}
	}
	say(unseen, "Ensure the spaces exist and that you have access to them.")
	say(fixed, k.write)
	if problems != nil {
		return nil, unprocessable("%s", strings.Join(problems, "\n"))
	}
	return spaces, nil
}

// addShare shares one thing with one space. Sharing twice is no error.
func (c *call) addShare(k shareable, guid, space string) error {
	old, err := c.shareOf(k, guid, space)
	if err != nil || old != nil {
		return err
	}
	return c.tx.Insert(k.of(guid, space))
}

func (c *call) shareOf(k shareable, guid, space string) (*cf.Share, error) {
	return cf.First[cf.Share](c.tx, cf.Is(k.key, guid), cf.Is("space_guid", space))
}

// has tells whether a space may use one thing: as its owner, or as one that it is
// shared with.
func (c *call) has(space string, k shareable, guid, owner string) (bool, error) {
	if space == owner {
		return true, nil
	}
	share, err := c.shareOf(k, guid, space)
	return share != nil, err
}

// isShared tells whether other spaces use one thing.
func (c *call) isShared(k shareable, guid string) (bool, error) {
	n, err := c.tx.Count(new(cf.Share), cf.Query{Where: []cf.Cond{cf.Is(k.key, guid)}})
	return n > 0, err
}

func guidsIn[P cf.Record](list []P) []string {
	return each(list, func(r P) string { return r.Base().GUID })
}
