package api

import (
	"net/url"

	"github.com/dewpaas/dew/api/broker"
	"github.com/dewpaas/dew/cf"
)

var brokerList = listing[*cf.ServiceBroker]{
	filters: filters{"names": by("name"), "space_guids": by("space_guid")}, order: []string{"name"}, visible: visibleBrokers, show: showBroker,
}

// visibleBrokers: global ones are the admins' business; those of a space are
// seen by its developers and supporters.
func visibleBrokers(c *call, q *cf.Query) error {
	if !c.auditor() {
		q.Where = append(q.Where, cf.Is("space_guid", c.spacesWith(cf.SpaceDeveloper, cf.SpaceSupporter)...))
	}
	return nil
}

// spacesWith are the spaces where the caller has one of the roles.
func (c *call) spacesWith(roles ...string) []string {
	list := []string{}
	for guid, has := range c.spaces {
		for _, r := range roles {
			if has[r] {
				list = append(list, guid)
				break
			}
		}
	}
	return list
}

func showBroker(c *call, b *cf.ServiceBroker) (obj, error) {
	relations := obj{}
	if b.SpaceGUID != "" {
		relations["space"] = toOne(b.SpaceGUID)
	}
	return c.described(&b.Meta, "service_brokers", obj{"name": b.Name, "url": b.URL, "relationships": relations,
		"links": obj{"service_offerings": obj{"href": c.url + "/v3/service_offerings?service_broker_guids=" + b.GUID}}}), nil
}

func (s *Server) brokerRoutes(t table) {
	list(t, "/v3/service_brokers", brokerList)
	t.post("/v3/service_brokers", 202, (*call).createBroker)
	t.get("/v3/service_brokers/{guid}", func(c *call) (any, error) {
		b, err := c.brokerOf(false)
		if err != nil {
			return nil, err
		}
		return showBroker(c, b)
	})
	t.patch("/v3/service_brokers/{guid}", (*call).updateBroker)
	t.delete("/v3/service_brokers/{guid}", 202, (*call).deleteBroker)
}

func (c *call) brokerOf(change bool) (*cf.ServiceBroker, error) {
	b, err := sought(c, brokerList, "Service broker")
	if err != nil {
		return nil, err
	}
	if change && !c.admin() {
		if b.SpaceGUID == "" {
			return nil, forbidden()
		}
		_, err = c.space(b.SpaceGUID, develop, "Service broker")
	}
	return b, err
}

type brokerBody struct {
	Name           *string `json:"name"`
	URL            *string `json:"url"`
	Authentication *struct {
		Type        string `json:"type"`
		Credentials struct {
			Username string `json:"username"`
			Password string `json:"password"`
		} `json:"credentials"`
	} `json:"authentication"`
	Relationships struct {
		Space one `json:"space"`
	} `json:"relationships"`
	Metadata metadata `json:"metadata"`
}

// apply changes the broker, and tells whether its catalog must be read again.
func (b brokerBody) apply(to *cf.ServiceBroker) (reread bool, err error) {
	if b.Name != nil {
		to.Name = *b.Name
	}
	if b.URL != nil {
		to.URL, reread = *b.URL, true
	}
	if b.Authentication != nil {
		if b.Authentication.Type != "basic" {
			return false, unprocessable("Authentication type must be one of [\"basic\"]")
		}
		to.Username, to.Password, reread = b.Authentication.Credentials.Username, b.Authentication.Credentials.Password, true
	}
	if err := goodName(to.Name); err != nil {
		return false, err
	}
	u, err := url.Parse(to.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return false, unprocessable("Url must be a valid url")
	case u.User != nil:
		return false, unprocessable("Url must not contain authentication")
	case to.Username == "" || to.Password == "":
		return false, unprocessable("Authentication credentials username and password must be given")
	}
	return reread, b.Metadata.apply(&to.Meta)
}

func (c *call) createBroker() (any, error) {
	var b brokerBody
	if err := c.read(&b); err != nil {
		return nil, err
	}
	to := &cf.ServiceBroker{SpaceGUID: b.Relationships.Space.guid()}
	if to.SpaceGUID == "" {
		if err := c.only(); err != nil {
			return nil, err
		}
	} else if _, err := c.spaceFrom(b.Relationships.Space, develop); err != nil {
		return nil, err
	} else if err := c.enabled("space_scoped_private_broker_creation"); err != nil {
		return nil, err
	}
	if _, err := b.apply(to); err != nil {
		return nil, err
	}
	if err := c.tx.Insert(to); err != nil {
		return nil, taken(err, "Name must be unique")
	}
	if err := c.recordBroker("audit.service_broker.create", to); err != nil {
		return nil, err
	}
	return c.fetchCatalog(to, "service_broker.catalog.synchronize", broker.Fresh)
}

func (c *call) recordBroker(event string, b *cf.ServiceBroker) error {
	target := cf.Actor{GUID: b.GUID, Type: "service_broker", Name: b.Name}
	if b.SpaceGUID == "" {
		return c.record(event, target, nil, nil)
	}
	return c.recordIn(b.SpaceGUID, event, target, nil)
}

// fetchCatalog leaves reading the catalog to the worker.
func (c *call) fetchCatalog(b *cf.ServiceBroker, operation, what string) (any, error) {
	j, err := c.begin(operation)
	if err != nil {
		return nil, err
	}
	return nil, c.assignWork(&cf.ServiceWork{Verb: cf.FetchCatalog, BrokerGUID: b.GUID, Broker: *b, TargetGUID: b.GUID, JobGUID: j.GUID, Then: obj{what: true}})
}

// begin answers with a job that goes on.
func (c *call) begin(operation string) (*cf.Job, error) {
	j := &cf.Job{Operation: operation, State: "PROCESSING", Owner: c.id.GUID}
	if err := c.tx.Insert(j); err != nil {
		return nil, err
	}
	c.location = c.url + "/v3/jobs/" + j.GUID
	return j, nil
}

// assignWork gives the worker something to do, once it is on disk.
func (c *call) assignWork(w *cf.ServiceWork) error {
	w.Due = c.now().UTC()
	if w.Deadline.IsZero() {
		w.Deadline = w.Due.Add(maxPolling)
	}
	if !c.id.Client {
		w.User = c.id.GUID
	}
	c.then(func() error { c.brokers.Kick(); return nil })
	return c.tx.Insert(w)
}

// cleanUp leaves it to the worker to take away at the broker what goes here.
func (c *call) cleanUp(w cf.ServiceWork) error {
	c.then(func() error { c.brokers.Kick(); return nil })
	return c.tx.Insert(broker.Orphan(w, c.now().UTC()))
}

func (c *call) updateBroker() (any, error) {
	to, err := c.brokerOf(true)
	if err != nil {
		return nil, err
	}
	var b brokerBody
	if err := c.read(&b); err != nil {
		return nil, err
	}
	reread, err := b.apply(to)
	if err != nil {
		return nil, err
	}
	if err := c.recordBroker("audit.service_broker.update", to); err != nil {
		return nil, err
	}
	if !reread && b.Name == nil {
		if err := c.tx.Save(to); err != nil {
			return nil, err
		}
		return showBroker(c, to)
	}
	if other, err := cf.First[cf.ServiceBroker](c.tx, cf.Is("name", to.Name)); err != nil || other != nil && other.GUID != to.GUID {
		return nil, orElse(err, unprocessable("Name must be unique"))
	}
	// What the broker becomes is kept once it has shown a catalog.
	c.status = 202
	return c.fetchCatalog(to, "service_broker.update", broker.Update)
}

func (c *call) deleteBroker() (any, error) {
	b, err := c.brokerOf(true)
	if err != nil {
		return nil, err
	}
	offerings, err := guidsOf[cf.ServiceOffering](c, cf.Query{Where: []cf.Cond{cf.Is("broker_guid", b.GUID)}})
	if err != nil {
		return nil, err
	}
	plans, err := guidsOf[cf.ServicePlan](c, cf.Query{Where: []cf.Cond{cf.Is("offering_guid", offerings...)}})
	if err != nil {
		return nil, err
	}
	n, err := c.tx.Count(new(cf.ServiceInstance), cf.Query{Where: []cf.Cond{cf.Is("plan_guid", plans...)}})
	if err != nil || n > 0 {
		return nil, orElse(err, &refusal{422, 270010, "CF-ServiceBrokerNotRemovable", "Can not remove brokers that have associated service instances: " + b.Name})
	}
	if err := c.tx.Delete(b); err != nil {
		return nil, err
	}
	if err := c.recordBroker("audit.service_broker.delete", b); err != nil {
		return nil, err
	}
	return c.done("service_broker.delete")
}
