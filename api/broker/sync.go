package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/dewpaas/dew/cf"
)

// merge sets the fields of an instance that an update wanted, by their JSON
// names.
func merge(i *cf.ServiceInstance, then map[string]any) error {
	if len(then) == 0 {
		return nil
	}
	text, err := json.Marshal(then)
	if err != nil {
		return fmt.Errorf("encode an update: %w", err)
	}
	if err := json.Unmarshal(text, i); err != nil {
		return fmt.Errorf("take over an update: %w", err)
	}
	return nil
}

// What Then of a work that fetches a catalog may say: that the broker is new and
// goes again without a usable catalog, or that the broker becomes what the work
// says once it has one.
const (
	Fresh  = "fresh"
	Update = "update"
)

func told(work *cf.ServiceWork, what string) bool {
	on, _ := work.Then[what].(bool)
	return on
}

// takeCatalog fetches the catalog of a broker and makes the ledger like it.
func (w *Worker) takeCatalog(ctx context.Context, c *client, work *cf.ServiceWork) error {
	catalog, err := c.catalog(ctx)
	if err != nil && ctx.Err() != nil {
		return nil
	}
	var said *Error
	if err != nil && !errors.As(err, &said) {
		return err
	}
	return w.store.Update(ctx, func(tx cf.Tx) error {
		b, err := cf.First[cf.ServiceBroker](tx, cf.Is("guid", work.BrokerGUID))
		if err != nil {
			return err
		}
		switch {
		case b == nil:
		case said != nil && told(work, Fresh):
			err = tx.Delete(b)
		case said == nil:
			if told(work, Update) {
				b.Name, b.URL, b.Username, b.Password = work.Broker.Name, work.Broker.URL, work.Broker.Username, work.Broker.Password
				b.Labels, b.Annotations = work.Broker.Labels, work.Broker.Annotations
				if err := tx.Save(b); err != nil {
					return err
				}
			}
			err = Synchronize(tx, b, catalog)
		}
		if err != nil {
			return err
		}
		if err := tx.Delete(work); err != nil {
			return err
		}
		return settle(tx, work, said)
	})
}

// catalogInvalid is the word of an Error about a catalog as a whole.
const catalogInvalid = "CatalogInvalid"

// Synchronize makes the offerings and plans of a broker like its catalog. What
// is no longer in it goes, or is marked as gone while there are instances.
func Synchronize(tx cf.Tx, b *cf.ServiceBroker, c *Catalog) error {
	old, err := cf.List[cf.ServiceOffering](tx, cf.Query{Where: []cf.Cond{cf.Is("broker_guid", b.GUID)}})
	if err != nil {
		return err
	}
	known := map[string]*cf.ServiceOffering{}
	for _, o := range old {
		known[o.CatalogID] = o
	}
	for _, s := range c.Services {
		o := known[s.ID]
		delete(known, s.ID)
		if err := s.keep(tx, b, o); err != nil {
			return err
		}
	}
	for _, o := range known {
		if err := retireOffering(tx, o); err != nil {
			return err
		}
	}
	return nil
}

func save(tx cf.Tx, r cf.Record, isNew bool) error {
	if isNew {
		return tx.Insert(r)
	}
	return tx.Save(r)
}

func (s Service) keep(tx cf.Tx, b *cf.ServiceBroker, o *cf.ServiceOffering) error {
	isNew := o == nil
	if isNew {
		o = &cf.ServiceOffering{BrokerGUID: b.GUID, CatalogID: s.ID}
	}
	o.Name, o.Description, o.Tags, o.Requires, o.Bindable, o.PlanUpdatable = s.Name, s.Description, s.Tags, s.Requires, s.Bindable, s.PlanUpdatable
	o.InstancesRetrievable, o.BindingsRetrievable, o.ContextUpdates, o.Extra, o.Gone = s.InstancesRetrievable, s.BindingsRetrievable, s.ContextUpdates, s.Metadata, false
	if err := save(tx, o, isNew); err != nil {
		return err
	}
	old, err := cf.List[cf.ServicePlan](tx, cf.Query{Where: []cf.Cond{cf.Is("offering_guid", o.GUID)}})
	if err != nil {
		return err
	}
	known := map[string]*cf.ServicePlan{}
	for _, p := range old {
		known[p.CatalogID] = p
	}
	for _, p := range s.Plans {
		now := known[p.ID]
		delete(known, p.ID)
		if err := p.keep(tx, b, o, now); err != nil {
			return err
		}
	}
	for _, p := range known {
		if _, err := retirePlan(tx, p); err != nil {
			return err
		}
	}
	return nil
}

// keep makes new plans visible to nobody but admins, or to the broker's space.
func (p Plan) keep(tx cf.Tx, b *cf.ServiceBroker, o *cf.ServiceOffering, now *cf.ServicePlan) error {
	isNew := now == nil
	if isNew {
		now = &cf.ServicePlan{OfferingGUID: o.GUID, CatalogID: p.ID, VisibilityType: cf.AdminPlan}
		if b.SpaceGUID != "" {
			now.VisibilityType = cf.SpacePlan
		}
	}
	now.Name, now.Description, now.Free, now.Bindable, now.PlanUpdatable = p.Name, p.Description, p.Free == nil || *p.Free, p.Bindable, p.PlanUpdatable
	now.MaxPolling, now.Maintenance, now.Schemas, now.Extra, now.Gone = p.MaxPolling, p.Maintenance, p.Schemas, p.Metadata, false
	return save(tx, now, isNew)
}

func retireOffering(tx cf.Tx, o *cf.ServiceOffering) error {
	plans, err := cf.List[cf.ServicePlan](tx, cf.Query{Where: []cf.Cond{cf.Is("offering_guid", o.GUID)}})
	if err != nil {
		return err
	}
	left := false
	for _, p := range plans {
		kept, err := retirePlan(tx, p)
		if err != nil {
			return err
		}
		left = left || kept
	}
	if !left {
		return tx.Delete(o)
	}
	o.Gone = true
	return tx.Save(o)
}

func retirePlan(tx cf.Tx, p *cf.ServicePlan) (kept bool, err error) {
	n, err := tx.Count(new(cf.ServiceInstance), cf.Query{Where: []cf.Cond{cf.Is("plan_guid", p.GUID)}})
	if err != nil {
		return false, err
	}
	if n == 0 {
		return false, tx.Delete(p)
	}
	p.Gone = true
	return true, tx.Save(p)
}
