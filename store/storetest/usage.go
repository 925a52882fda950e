package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/dewpaas/dew/cf"
)

// tenantOf is an organization with a space and an app in it, for tests of what
// they use.
func tenantOf(t *testing.T, s cf.Store) (*cf.Organization, *cf.Space, *cf.App) {
	org := &cf.Organization{Name: "o"}
	insert(t, s, org)
	space := &cf.Space{Name: "s", OrgGUID: org.GUID}
	insert(t, s, space)
	app := &cf.App{Name: "a", SpaceGUID: space.GUID, State: cf.Stopped}
	insert(t, s, app)
	return org, space, app
}

// metered lists the usage events of apps since the last call, as short texts:
// state, instances x memory, each with what was before.
type metered struct {
	s    cf.Store
	seen int
}

func (m *metered) since(t *testing.T) []string {
	t.Helper()
	texts := []string{}
	view(t, m.s, func(tx cf.Tx) error {
		list, err := cf.List[cf.AppUsage](tx, cf.Query{Order: []cf.Order{{Key: "created_at"}}})
		for i, u := range list {
			if i > 0 && !list[i-1].CreatedAt.Before(u.CreatedAt) {
				t.Errorf("event %d is at %v, event %d before it at %v", i, u.CreatedAt, i-1, list[i-1].CreatedAt)
			}
			if u.App.Name == nil || *u.App.Name != "a" || *u.Space.Name != "s" || u.OrgGUID == "" {
				t.Errorf("event %d does not say where: %+v", i, u)
			}
		}
		for _, u := range list[m.seen:] {
			texts = append(texts, fmt.Sprintf("%s<%s %dx%d<%sx%s %s", u.State.Current, or(u.State.Previous), u.Instances.Current, u.MemoryMB.Current,
				or(u.Instances.Previous), or(u.MemoryMB.Previous), u.ProcessType))
		}
		m.seen = len(list)
		return err
	})
	return texts
}

func or[T any](p *T) string {
	if p == nil {
		return "none"
	}
	return fmt.Sprint(*p)
}

func (m *metered) want(t *testing.T, say string, want ...string) {
	t.Helper()
	if got := m.since(t); !slices.Equal(got, want) {
		t.Errorf("%s: recorded %q, want %q", say, got, want)
	}
}

func processUsage(t *testing.T, s cf.Store) {
	_, space, app := tenantOf(t, s)
	m := &metered{s: s}
	web := &cf.Process{AppGUID: app.GUID, SpaceGUID: space.GUID, Type: "web", Instances: 1, MemoryMB: 64}
	insert(t, s, web)
	save := func(f func()) {
		t.Helper()
		update(t, s, func(tx cf.Tx) error { f(); return errors.Join(tx.Save(app), tx.Save(web)) })
	}
	save(func() { web.Instances = 2 })
	m.want(t, "a stopped app")
	save(func() { app.State, app.DropletGUID = cf.Started, "d" })
	m.want(t, "a start", "STARTED<STOPPED 2x64<2x64 web")
	save(func() { web.Version = "next" })
	m.want(t, "a restart")
	save(func() { web.Instances, web.MemoryMB = 3, 128 })
	m.want(t, "more", "STARTED<STARTED 3x128<2x64 web")
	second := &cf.Process{AppGUID: app.GUID, SpaceGUID: space.GUID, Type: "web", Instances: 1, MemoryMB: 128, DeploymentGUID: "d"}
	insert(t, s, second)
	m.want(t, "a deployment", "STARTED<none 1x128<nonexnone web")
	update(t, s, func(tx cf.Tx) error { return tx.Delete(&cf.Process{Meta: cf.Meta{GUID: second.GUID}}) })
	m.want(t, "its end", "STOPPED<STARTED 1x128<1x128 web")
	save(func() { app.State = cf.Stopped })
	m.want(t, "a stop", "STOPPED<STARTED 3x128<3x128 web")
	update(t, s, func(tx cf.Tx) error { return tx.Delete(app) })
	m.want(t, "the end of a stopped app")
	err := s.Update(context.Background(), func(tx cf.Tx) error { return tx.Delete(app) })
	wantKind(t, err, cf.NotFound)
}

func onceUsage(t *testing.T, s cf.Store) {
	_, space, app := tenantOf(t, s)
	m := &metered{s: s}
	tasks := 0
	task := func(state string) *cf.Task {
		tasks++
		k := &cf.Task{AppGUID: app.GUID, SpaceGUID: space.GUID, Name: "k", Sequence: tasks, State: state, MemoryMB: 32}
		insert(t, s, k)
		return k
	}
	to := func(k *cf.Task, state string) {
		t.Helper()
		update(t, s, func(tx cf.Tx) error { k.State = state; return tx.Save(k) })
	}
	k := task(cf.TaskPending)
	m.want(t, "a task that waits")
	to(k, cf.TaskRunning)
	m.want(t, "a task that runs", "TASK_STARTED<PENDING 1x32<1x32 ")
	to(k, cf.TaskCanceling)
	m.want(t, "a task that shall end")
	to(k, cf.TaskFailed)
	m.want(t, "a task that ended", "TASK_STOPPED<CANCELING 1x32<1x32 ")
	to(k, cf.TaskFailed)
	m.want(t, "the same again")
	to(task(cf.TaskPending), cf.TaskFailed)
	m.want(t, "a task that never ran")
	to(task(cf.TaskPending), cf.TaskSucceeded)
	m.want(t, "a task that nobody saw run", "TASK_STARTED<PENDING 1x32<1x32 ", "TASK_STOPPED<PENDING 1x32<1x32 ")

	build := &cf.Build{AppGUID: app.GUID, SpaceGUID: space.GUID, PackageGUID: "p", State: "STAGING", MemoryMB: 512}
	insert(t, s, build)
	m.want(t, "a build", "STAGING_STARTED<STAGING 1x512<1x512 ")
	update(t, s, func(tx cf.Tx) error { build.State, build.DropletGUID = "STAGED", "d"; return tx.Save(build) })
	m.want(t, "its end", "STAGING_STOPPED<STAGING 1x512<1x512 ", "BUILDPACK_SET<STAGED 1x512<1x512 ")
	update(t, s, func(tx cf.Tx) error { return tx.Save(build) })
	m.want(t, "no change")
	failed := &cf.Build{AppGUID: app.GUID, SpaceGUID: space.GUID, PackageGUID: "p", State: "STAGING", MemoryMB: 512}
	insert(t, s, failed)
	update(t, s, func(tx cf.Tx) error { failed.State = "FAILED"; return tx.Save(failed) })
	m.want(t, "a build that failed", "STAGING_STARTED<STAGING 1x512<1x512 ", "STAGING_STOPPED<STAGING 1x512<1x512 ")
}

// goneUsage: what the database deletes with an organization, a space or an app
// is recorded too.
func goneUsage(t *testing.T, s cf.Store) {
	for _, what := range []string{"organization", "space", "app"} {
		org, space, app := tenantOf(t, s)
		web := &cf.Process{AppGUID: app.GUID, SpaceGUID: space.GUID, Type: "web", Instances: 2, MemoryMB: 64}
		task := &cf.Task{AppGUID: app.GUID, SpaceGUID: space.GUID, Name: "k", State: cf.TaskRunning, MemoryMB: 32}
		build := &cf.Build{AppGUID: app.GUID, SpaceGUID: space.GUID, PackageGUID: "p", State: "STAGING", MemoryMB: 512}
		provided := &cf.ServiceInstance{Name: "i", SpaceGUID: space.GUID, Type: "user-provided"}
		insert(t, s, web, task, build, provided)
		update(t, s, func(tx cf.Tx) error { app.State = cf.Started; return tx.Save(app) })
		m := &metered{s: s}
		m.since(t)
		update(t, s, func(tx cf.Tx) error {
			return tx.Delete(map[string]cf.Record{"organization": org, "space": space, "app": app}[what])
		})
		m.want(t, "the end of the "+what, "STOPPED<STARTED 2x64<2x64 web", "TASK_STOPPED<RUNNING 1x32<1x32 ", "STAGING_STOPPED<STAGING 1x512<1x512 ")
		if what != "organization" {
			update(t, s, func(tx cf.Tx) error { return tx.Delete(org) })
		}
	}
	view(t, s, func(tx cf.Tx) error {
		list, err := cf.List[cf.ServiceUsage](tx, cf.Query{Order: []cf.Order{{Key: "created_at"}}})
		var states []string
		for _, u := range list {
			states = append(states, u.State)
		}
		if want := []string{"CREATED", "DELETED", "CREATED", "DELETED", "CREATED", "DELETED"}; !slices.Equal(states, want) {
			t.Errorf("service instances: %v, want %v", states, want)
		}
		return err
	})
}

func serviceUsage(t *testing.T, s cf.Store) {
	_, space, _ := tenantOf(t, s)
	broker := &cf.ServiceBroker{Name: "b"}
	insert(t, s, broker)
	offering := &cf.ServiceOffering{BrokerGUID: broker.GUID, Name: "db", CatalogID: "c"}
	insert(t, s, offering)
	small, large := &cf.ServicePlan{OfferingGUID: offering.GUID, Name: "small", CatalogID: "1"}, &cf.ServicePlan{OfferingGUID: offering.GUID, Name: "large", CatalogID: "2"}
	insert(t, s, small, large)
	i := &cf.ServiceInstance{Name: "i", SpaceGUID: space.GUID, Type: "managed", PlanGUID: small.GUID}
	insert(t, s, i)
	for _, change := range []func(){func() { i.Tags = []string{"t"} }, func() { i.PlanGUID = large.GUID }, func() { i.Name = "j" }} {
		update(t, s, func(tx cf.Tx) error { change(); return tx.Save(i) })
	}
	update(t, s, func(tx cf.Tx) error { return tx.Delete(i) })
	view(t, s, func(tx cf.Tx) error {
		list, err := cf.List[cf.ServiceUsage](tx, cf.Query{Where: []cf.Cond{cf.Is("service_instance_type", cf.ManagedUsage), cf.Is("offering_guid", offering.GUID)}, Order: []cf.Order{{Key: "created_at"}}})
		var got []string
		for _, u := range list {
			got = append(got, u.State+" "+*u.Instance.Name+" "+*u.Plan.Name+" "+*u.Offering.Name+" "+*u.Broker.Name)
		}
		if want := []string{"CREATED i small db b", "UPDATED i large db b", "UPDATED j large db b", "DELETED j large db b"}; !slices.Equal(got, want) {
			t.Errorf("recorded %q, want %q", got, want)
		}
		return err
	})
}

// usageIsAtomic: a change that is undone leaves no event, and events of writers
// at the same time are all there, each at its own instant.
func usageIsAtomic(t *testing.T, s cf.Store) {
	_, space, app := tenantOf(t, s)
	update(t, s, func(tx cf.Tx) error { app.State = cf.Started; return tx.Save(app) })
	m := &metered{s: s}
	undone := errors.New("undone")
	err := s.Update(context.Background(), func(tx cf.Tx) error {
		p := &cf.Process{AppGUID: app.GUID, SpaceGUID: space.GUID, Type: "undone", Instances: 1}
		return errors.Join(tx.Insert(p), undone)
	})
	if !errors.Is(err, undone) {
		t.Errorf("got %v", err)
	}
	m.want(t, "what was undone")
	const writers = 4
	var wg sync.WaitGroup
	errs := make(chan error, writers)
	for i := range writers {
		wg.Go(func() {
			errs <- s.Update(context.Background(), func(tx cf.Tx) error {
				return tx.Insert(&cf.Process{AppGUID: app.GUID, SpaceGUID: space.GUID, Type: fmt.Sprint(i), Instances: 1})
			})
		})
	}
	wg.Wait()
	for range writers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := m.since(t); len(got) != writers {
		t.Errorf("%d writers left %q", writers, got)
	}
}
