package api

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dewpaas/dew/cf"
)

// usages are the states of usage events at path, in order.
func (f *foundation) usages(token, path string) []string {
	f.t.Helper()
	states := []string{}
	for _, u := range f.do(200, token, "GET", path, "")["resources"].([]any) {
		state := at(u, "state")
		if s, ok := state.(string); ok {
			states = append(states, s)
			continue
		}
		what := at(u, "process.type")
		if what == nil {
			what = at(u, "task.name")
		}
		states = append(states, fmt.Sprint(at(state, "current"), " ", what, " ", at(u, "instance_count.current"), "x", at(u, "memory_in_mb_per_instance.current")))
	}
	return states
}

func (f *foundation) wantUsages(token, path string, want ...string) {
	f.t.Helper()
	if got := f.usages(token, path); !slices.Equal(got, want) {
		f.t.Errorf("%s: %q\nwant %q", path, got, want)
	}
}

// TestAppUsage: what a push, a scale, a task and the end of an app cost can be
// read, from where one has read already, by those who see everything.
func TestAppUsage(t *testing.T) {
	f := newRunning(t)
	admin := f.login("admin", "pw")
	token, org, space, app := f.tenant(admin, "ann")
	const events = "/v3/app_usage_events"
	f.pushed(token, app)
	f.wantUsages(admin, events, "STAGING_STARTED <nil> 1x1024", "STAGING_STOPPED <nil> 1x1024", "BUILDPACK_SET <nil> 1x1024", "STARTED web 1x1024", "STARTED worker 0x1024")
	list := f.do(200, admin, "GET", events+"?per_page=2&order_by=-created_at", "")
	f.want(list, "pagination.total_pages", 3.0)
	last := at(list, "resources.0.guid").(string)
	web := at(list, "resources.1")
	f.want(web, "app.name", "app")
	f.want(web, "space.guid", space)
	f.want(web, "organization.guid", org)
	f.want(web, "state.previous", "STOPPED")
	f.want(web, "buildpack.name", "go_buildpack")
	f.want(web, "task.guid", nil)
	f.want(web, "process.guid", guid(f.do(200, token, "GET", "/v3/apps/"+app+"/processes/web", "")))

	f.do(202, token, "POST", "/v3/apps/"+app+"/processes/web/actions/scale", `{"instances":3,"memory_in_mb":64}`)
	f.do(200, token, "POST", "/v3/apps/"+app+"/actions/restart", "")
	f.cells.auto = true
	f.do(202, token, "POST", "/v3/apps/"+app+"/tasks", `{"command":"x","name":"t"}`)
	f.do(202, token, "DELETE", "/v3/apps/"+app, "")
	f.wantUsages(admin, events+"?after_guid="+last, "STARTED web 3x64", "TASK_STARTED t 1x1024", "TASK_STOPPED t 1x1024", "STOPPED web 3x64", "STOPPED worker 0x1024")
	scaled := f.do(200, admin, "GET", events+"?per_page=1&after_guid="+last, "")
	f.want(scaled, "resources.0.instance_count.previous", 1.0)
	f.want(scaled, "resources.0.memory_in_mb_per_instance.previous", 1024.0)
	f.want(f.do(200, admin, "GET", events+"?guids="+last, ""), "pagination.total_results", 1.0)
	f.want(f.do(200, admin, "GET", events+"?created_ats[lt]=2000-01-01T00:00:00Z", ""), "pagination.total_results", 0.0)
	f.want(f.do(422, admin, "GET", events+"?after_guid=none", ""), "errors.0.detail", "After guid filter must be a valid app usage event guid.")
	f.want(f.do(422, admin, "GET", events+"?after_guid=a,b", ""), "errors.0.detail", "After guid filter accepts only one guid")
	f.do(400, admin, "GET", events+"?states=STARTED", "")

	f.want(f.do(200, admin, "GET", events+"/"+last, ""), "guid", last)
	f.want(f.do(404, admin, "GET", events+"/none", ""), "errors.0.detail", "App usage event not found")
	f.do(404, token, "GET", events+"/"+last, "")
	f.wantUsages(token, events)
	f.wantUsages(token, events+"?after_guid=none")
	f.do(403, token, "POST", events+"/actions/destructively_purge_all_and_reseed", "")
}

func TestServiceUsage(t *testing.T) {
	f, b, admin := newServices(t)
	ann, _, space, _ := f.tenant(admin, "ann")
	const events = "/v3/service_usage_events"
	ups := guid(f.do(201, ann, "POST", "/v3/service_instances", `{"type":"user-provided","name":"ups","relationships":{`+to("space", space)+`}}`))
	f.finish(b, ann, f.do(202, ann, "POST", "/v3/service_instances", instanceOf("db", space, f.plan(ann, "small"))), "COMPLETE")
	db := "/v3/service_instances/" + b.Instances()[0]
	f.do(200, ann, "PATCH", db, `{"tags":["t"]}`)
	f.finish(b, ann, f.do(202, ann, "PATCH", db, `{"relationships":{`+to("service_plan", f.plan(ann, "slow"))+`}}`), "COMPLETE")
	f.do(200, ann, "PATCH", "/v3/service_instances/"+ups, `{"name":"other"}`)
	f.finish(b, ann, f.do(202, ann, "DELETE", db, ""), "COMPLETE")
	f.wantUsages(admin, events, "CREATED", "CREATED", "UPDATED", "UPDATED", "DELETED")
	f.wantUsages(admin, events+"?service_instance_types=user_provided_service_instance", "CREATED", "UPDATED")
	list := f.do(200, admin, "GET", events+"?service_instance_types=managed_service_instance&order_by=-created_at", "")
	f.want(list, "resources.0.state", "DELETED")
	f.want(list, "resources.0.service_plan.name", "slow")
	f.want(list, "resources.2.service_plan.name", "small")
	f.want(list, "resources.0.service_offering.name", "postgres")
	f.want(list, "resources.0.service_broker.name", "b")
	f.want(list, "resources.0.service_instance.name", "db")
	offering := at(list, "resources.0.service_offering.guid").(string)
	f.wantUsages(admin, events+"?service_offering_guids="+offering+"&after_guid="+at(list, "resources.2.guid").(string), "UPDATED", "DELETED")
	f.want(f.do(422, admin, "GET", events+"?after_guid=none", ""), "errors.0.detail", "After guid filter must be a valid service usage event guid.")
	f.want(f.do(404, ann, "GET", events+"/"+at(list, "resources.0.guid").(string), ""), "errors.0.detail", "Service usage event not found")
	f.wantUsages(ann, events)

	f.do(403, ann, "POST", events+"/actions/destructively_purge_all_and_reseed", "")
	f.do(200, admin, "POST", events+"/actions/destructively_purge_all_and_reseed", "")
	f.want(f.do(200, admin, "GET", events, ""), "resources.0.guid", ups)
	f.wantUsages(admin, events, "CREATED")
}

// TestReseed: afterwards there is one event of each started process, under the
// guid of the process, and who asked is known.
func TestReseed(t *testing.T) {
	f := newRunning(t)
	admin := f.login("admin", "pw")
	token, _, space, app := f.tenant(admin, "ann")
	f.do(201, token, "POST", "/v3/apps", `{"name":"stopped","relationships":{`+to("space", space)+`}}`)
	f.pushed(token, app)
	for range 2 {
		f.do(200, admin, "POST", "/v3/app_usage_events/actions/destructively_purge_all_and_reseed", "")
		f.wantUsages(admin, "/v3/app_usage_events", "STARTED web 1x1024", "STARTED worker 0x1024")
	}
	event := f.do(200, admin, "GET", "/v3/app_usage_events", "")
	f.want(event, "resources.0.guid", guid(f.do(200, token, "GET", "/v3/apps/"+app+"/processes/web", "")))
	f.want(event, "resources.0.state.previous", "STARTED")
	f.want(f.do(200, admin, "GET", "/v3/audit_events?types=audit.app_usage_events.purge_and_reseed", ""), "pagination.total_results", 2.0)
}

// TestOldUsageIsSwept: events older than the operator wants go, in batches, but
// for the newest one, after which a reader goes on.
func TestOldUsageIsSwept(t *testing.T) {
	f := foundationWith(t, func(c *Config) { c.Usage = time.Hour })
	f.settle()
	admin := f.login("admin", "pw")
	old := time.Now().Add(-2 * time.Hour)
	fill := func(n int) (last string) {
		t.Helper()
		err := f.store.Update(context.Background(), func(tx cf.Tx) error {
			for i := range n {
				u := &cf.AppUsage{Meta: cf.Meta{CreatedAt: old.Add(time.Duration(i) * time.Second)}}
				if err := tx.Insert(u); err != nil {
					return err
				}
				last = u.GUID
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return last
	}
	long := time.Now().Add(-2 * cf.ClockSettles)
	f.api.clock.Settled(long, long)
	last := fill(2*sweepAtOnce + 10)
	total := func(want float64) {
		t.Helper()
		if err := f.api.sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
		f.want(f.do(200, admin, "GET", "/v3/app_usage_events", ""), "pagination.total_results", want)
	}
	total(1)
	f.want(f.do(200, admin, "GET", "/v3/app_usage_events", ""), "resources.0.guid", last)
	f.wantUsages(admin, "/v3/app_usage_events?after_guid="+last)
	old = time.Now()
	fill(3)
	total(3)
}
