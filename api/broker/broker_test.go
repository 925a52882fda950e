package broker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dewpaas/dew/api/broker/brokertest"
	"github.com/dewpaas/dew/api/egress"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/store/sqlite"
)

func guard() egress.Guard {
	return egress.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

// foundation is a ledger with one managed instance, and a worker.
type foundation struct {
	t        *testing.T
	store    cf.Store
	worker   *Worker
	broker   *brokertest.Broker
	record   *cf.ServiceBroker
	instance *cf.ServiceInstance
	job      *cf.Job
}

func newFoundation(t *testing.T) *foundation {
	db, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "l.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	f := &foundation{t: t, store: db, broker: brokertest.New(t)}
	f.worker = New(db, guard(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	f.record = &cf.ServiceBroker{Name: "b", URL: f.broker.URL, Username: brokertest.User, Password: brokertest.Password}
	catalog, err := ParseCatalog([]byte(brokertest.Catalog))
	if err != nil {
		t.Fatal(err)
	}
	f.update(func(tx cf.Tx) error {
		org := &cf.Organization{Name: "o"}
		if err := tx.Insert(org); err != nil {
			return err
		}
		space := &cf.Space{Name: "s", OrgGUID: org.GUID}
		if err := tx.Insert(space); err != nil {
			return err
		}
		if err := tx.Insert(f.record); err != nil {
			return err
		}
		if err := Synchronize(tx, f.record, catalog); err != nil {
			return err
		}
		plan, err := cf.One[cf.ServicePlan](tx, cf.Is("name", "small"))
		if err != nil {
			return err
		}
		f.instance = &cf.ServiceInstance{Name: "i", SpaceGUID: space.GUID, Type: "managed", PlanGUID: plan.GUID}
		if err := tx.Insert(f.instance); err != nil {
			return err
		}
		f.job = &cf.Job{State: "PROCESSING"}
		return tx.Insert(f.job)
	})
	return f
}

func (f *foundation) update(change func(cf.Tx) error) {
	f.t.Helper()
	if err := f.store.Update(context.Background(), change); err != nil {
		f.t.Fatal(err)
	}
}

func (f *foundation) work(plan string) *cf.ServiceWork {
	w := &cf.ServiceWork{Verb: cf.Provision, BrokerGUID: f.record.GUID, Broker: *f.record, TargetGUID: f.instance.GUID, JobGUID: f.job.GUID, ServiceID: "s1", PlanID: plan,
		InstanceID: f.instance.GUID, Due: time.Now(), Deadline: time.Now().Add(time.Hour), Request: map[string]any{"context": map[string]any{}}}
	f.update(func(tx cf.Tx) error { return tx.Insert(w) })
	return w
}

// run lets a worker run until there is no work.
func (f *foundation) run(w *Worker) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	f.broker.Wait("all work is done", func() bool { return f.count() == 0 })
	cancel()
	<-done
}

func (f *foundation) count() (n int) {
	f.update(func(tx cf.Tx) (err error) { n, err = tx.Count(new(cf.ServiceWork), cf.Query{}); return err })
	return n
}

func (f *foundation) state() (job *cf.Job, i *cf.ServiceInstance) {
	f.t.Helper()
	f.update(func(tx cf.Tx) (err error) {
		if job, err = cf.Get[cf.Job](tx, f.job.GUID); err != nil {
			return err
		}
		i, err = cf.Get[cf.ServiceInstance](tx, f.instance.GUID)
		return err
	})
	return job, i
}

func TestProvision(t *testing.T) {
	for _, plan := range []string{"p1", "p2"} { // at once, and while we wait
		f := newFoundation(t)
		f.work(plan)
		f.run(f.worker)
		job, i := f.state()
		if job.State != "COMPLETE" || i.Last.State != "succeeded" || i.Last.Type != "create" || len(f.broker.Instances()) != 1 {
			t.Errorf("plan %s: job %+v, instance %+v", plan, job, i.Last)
		}
	}
}

// TestRestart: another worker goes on with what the first was waiting for.
func TestRestart(t *testing.T) {
	f := newFoundation(t)
	f.work("p2")
	ctx, cancel := context.WithCancel(context.Background())
	f.worker.finished = cancel // stops after the request was sent
	f.worker.Run(ctx)
	if job, i := f.state(); job.State != "POLLING" || i.Last.State != "in progress" {
		t.Fatalf("after the first worker: job %s, instance %+v", job.State, i.Last)
	}
	second := New(f.store, guard(), f.worker.log)
	f.run(second)
	if job, _ := f.state(); job.State != "COMPLETE" {
		t.Errorf("after the second: %+v", job)
	}
}

// TestOrphans: what a broker may hold although it failed is taken away.
func TestOrphans(t *testing.T) {
	for _, c := range []struct {
		say     string
		answer  func(w http.ResponseWriter)
		orphans bool
		detail  string
	}{
		{"500", func(w http.ResponseWriter) { w.WriteHeader(500) }, true, "status code 500"},
		{"a created that cannot be read", func(w http.ResponseWriter) { w.WriteHeader(201); io.WriteString(w, "<html>") }, true, "not JSON"},
		{"volumes", func(w http.ResponseWriter) { w.WriteHeader(201); io.WriteString(w, `{"volume_mounts":[{}]}`) }, true, "volume mounts"},
		{"no answer", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, true, "could not be reached"},
		{"400", func(w http.ResponseWriter) { w.WriteHeader(400); io.WriteString(w, `{"description":"no room"}`) }, false, "Service broker error: no room"},
		{"409", func(w http.ResponseWriter) { w.WriteHeader(409) }, false, "status code 409"},
		{"async only", func(w http.ResponseWriter) { w.WriteHeader(422); io.WriteString(w, `{"error":"AsyncRequired"}`) }, false, "asynchronous"},
	} {
		f := newFoundation(t)
		f.work("p1")
		deleted := false
		f.broker.Answer(func(w http.ResponseWriter, r *http.Request) bool {
			deleted = deleted || r.Method == http.MethodDelete
			if r.Method != http.MethodPut {
				return false
			}
			c.answer(w)
			return true
		})
		f.run(f.worker)
		job, i := f.state()
		if job.State != "FAILED" || len(job.Errors) != 1 || !strings.Contains(job.Errors[0].Detail, c.detail) || i.Last.State != "failed" {
			t.Errorf("%s: job %+v, instance %+v", c.say, job, i.Last)
		}
		if deleted != c.orphans {
			t.Errorf("%s: cleaned up is %v, want %v", c.say, deleted, c.orphans)
		}
	}
}

func TestUnreachable(t *testing.T) {
	f := newFoundation(t)
	f.record.URL = "http://127.0.0.1:1"
	f.update(func(tx cf.Tx) error { return tx.Save(f.record) })
	f.work("p1")
	f.run(f.worker)
	if job, _ := f.state(); job.State != "FAILED" || job.Errors[0].Title != "CF-ServiceBrokerApiUnreachable" {
		t.Errorf("%+v", job)
	}
}

// TestDeadline: a broker that never finishes is given up, and cleaned up.
func TestDeadline(t *testing.T) {
	f := newFoundation(t)
	w := f.work("p2")
	w.Deadline = time.Now().Add(-time.Second)
	f.update(func(tx cf.Tx) error { return tx.Save(w) })
	f.broker.Answer(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "last_operation") {
			return false
		}
		io.WriteString(w, `{"state":"in progress"}`)
		return true
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f.worker.Run(ctx) }()
	f.broker.Wait("it is given up", func() bool { job, _ := f.state(); return job.State == "FAILED" })
	cancel()
	<-done
	if job, i := f.state(); !strings.Contains(job.Errors[0].Detail, "did not finish in time") || i.Last.State != "failed" {
		t.Errorf("%+v %+v", job, i.Last)
	}
}

// TestClockIsSet: a clock that jumps ahead gives no broker up, and one that jumps
// back leaves no work undone.
func TestClockIsSet(t *testing.T) {
	const years = 3 * 365 * 24 * time.Hour
	f := newFoundation(t)
	f.work("p2")
	f.worker.now = func() time.Time { return time.Now().Add(years) }
	f.run(f.worker)
	if job, i := f.state(); job.State != "COMPLETE" || i.Last.State != "succeeded" {
		t.Errorf("ahead: %+v %+v", job, i.Last)
	}

	f = newFoundation(t)
	work := f.work("p1")
	f.worker.now = func() time.Time { return time.Now().Add(-years) }
	now := time.Now()
	for _, step := range []struct {
		after time.Duration
		moved bool // by an API whose clock is right
		want  int
	}{{0, false, 0}, {claimFor - 1, false, 0}, {time.Second, true, 0}, {claimFor - 1, false, 0}, {1, false, 1}} {
		now = now.Add(step.after)
		f.update(func(tx cf.Tx) error {
			if step.moved {
				work.Due = work.Due.Add(claimFor)
				if err := tx.Save(work); err != nil {
					return err
				}
			}
			list, err := f.worker.lost(tx, f.worker.now(), now)
			if err == nil && len(list) != step.want {
				t.Errorf("%+v: %d works are taken over", step, len(list))
			}
			return err
		})
	}
}

func TestSpaceBrokersAreGuarded(t *testing.T) {
	f := newFoundation(t)
	w := New(f.store, egress.Guard{}, f.worker.log)
	f.record.SpaceGUID = f.instance.SpaceGUID
	f.update(func(tx cf.Tx) error { return tx.Save(f.record) })
	f.work("p1")
	f.run(w)
	if job, _ := f.state(); job.State != "FAILED" || !strings.Contains(job.Errors[0].Detail, "does not connect to this address") {
		t.Errorf("%+v", job)
	}
}

func TestSynchronizeRetires(t *testing.T) {
	f := newFoundation(t)
	less, err := ParseCatalog([]byte(`{"services":[{"id":"s3","name":"new","description":"d","bindable":true,"plans":[{"id":"p9","name":"n","description":"d"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	f.update(func(tx cf.Tx) error {
		if err := Synchronize(tx, f.record, less); err != nil {
			return err
		}
		plans, err := cf.List[cf.ServicePlan](tx, cf.Query{})
		for _, p := range plans {
			names[p.Name] = p.Gone
		}
		return err
	})
	if len(names) != 2 || !names["small"] || names["n"] {
		t.Errorf("plans that are gone: %v: only the one with an instance is kept", names)
	}
}

func TestParseCatalog(t *testing.T) {
	for text, want := range map[string]string{
		`[]`:              "not the JSON of a catalog",
		`{"services":[]}`: "must provide",
		`{"services":[{"id":"a","name":"n","description":"d","plans":[{"id":"a","name":"p","description":"d"}]}]}`:                             "Plan id must be unique",
		`{"services":[{"name":"n","description":"d","plans":[]}]}`:                                                                             "id must be a string",
		`{"services":[{"id":"a","name":"n","description":"d","requires":["volume_mount"],"plans":[{"id":"b","name":"p","description":"d"}]}]}`: "volumes are not supported",
		`{"services":[{"id":"a","name":"n","plans":[{"id":"b","name":"p","description":"d"},{"id":"c","name":"p","description":"d"}]}]}`:       "plan names must be unique",
	} {
		_, err := ParseCatalog([]byte(text))
		var said *Error
		if !errors.As(err, &said) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// FuzzParseCatalog: what passes has ids and names, each once.
func FuzzParseCatalog(f *testing.F) {
	f.Add([]byte(brokertest.Catalog))
	f.Add([]byte(`{"services":[{"id":"a","plans":[{}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseCatalog(text)
		if (c == nil) == (err == nil) {
			t.Fatalf("catalog %v and error %v", c, err)
		}
		if err != nil {
			return
		}
		ids := map[string]bool{}
		for _, s := range c.Services {
			for _, id := range append([]string{s.ID}, planIDs(s)...) {
				if id == "" || ids[id] {
					t.Fatalf("id %q is empty or there twice", id)
				}
				ids[id] = true
			}
		}
	})
}

func planIDs(s Service) (ids []string) {
	for _, p := range s.Plans {
		ids = append(ids, p.ID)
	}
	return ids
}
