package broker

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/dewpaas/dew/api/egress"
	"github.com/dewpaas/dew/cf"
)

// Worker does the work that brokers have. It is safe for concurrent use.
type Worker struct {
	store    cf.Store
	log      *slog.Logger
	now      func() time.Time
	put      cf.LeaseWatch // how long what is put off for too long has been so; Run's own
	kick     chan struct{}
	trusted  *http.Client // for brokers that admins registered
	guarded  *http.Client // for those of one space
	finished func()       // told after each step; tests wait with it
}

const (
	atOnce    = 8
	lookEvery = 30 * time.Second
	claimFor  = requestTimeout + 30*time.Second
	firstPoll = 100 * time.Millisecond
	longest   = 30 * time.Second
	// longestPause is the longest that a work waits for its next try: a broker that
	// asks for more is asked after that all the same.
	longestPause = time.Hour
	pollFor      = 7 * 24 * time.Hour // unless the plan says less
	cleanUpFor   = 3 * 24 * time.Hour
)

// New makes a worker. Run must be called for anything to happen.
func New(store cf.Store, g egress.Guard, log *slog.Logger) *Worker {
	plain := g
	plain.Allow = append(plain.Allow, everywhere()...)
	return &Worker{store: store, log: log, now: time.Now, kick: make(chan struct{}, 1), trusted: plain.Client(requestTimeout), guarded: g.Client(requestTimeout), finished: func() {}}
}

// Kick says that there is new work.
func (w *Worker) Kick() {
	select {
	case w.kick <- struct{}{}:
	default: // it is said already
	}
}

// Run does work until ctx ends and everything that was begun is over.
func (w *Worker) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, atOnce)
	for ctx.Err() == nil {
		due, next := w.due(ctx)
		for _, work := range due {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			wg.Go(func() {
				defer func() { <-slots; w.Kick() }()
				w.step(ctx, work)
			})
		}
		if len(due) > 0 {
			continue // claimed: what is due next is found by the next look
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-w.kick:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// due claims the work that is due, and tells how long until more is. It writes
// only when there is some.
func (w *Worker) due(ctx context.Context) (due []*cf.ServiceWork, next time.Duration) {
	look := func(tx cf.Tx) (err error) {
		due, next, err = w.look(tx, w.now())
		return err
	}
	err := w.store.View(ctx, look)
	if err == nil && len(due) > 0 {
		err = w.store.Update(ctx, func(tx cf.Tx) error {
			if err := look(tx); err != nil {
				return err
			}
			for _, work := range due {
				work.Due = w.now().Add(claimFor)
				if err := tx.Save(work); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		if ctx.Err() == nil {
			w.log.Error("work of service brokers cannot be read", "err", err)
		}
		return nil, lookEvery
	}
	return due, next
}

func (w *Worker) look(tx cf.Tx, now time.Time) (due []*cf.ServiceWork, next time.Duration, err error) {
	if due, err = w.lost(tx, now, time.Now()); err != nil {
		return nil, 0, err
	}
	list, err := cf.List[cf.ServiceWork](tx, cf.Query{Order: []cf.Order{{Key: "due"}}, Limit: atOnce})
	for _, work := range list {
		if wait := work.Due.Sub(now); wait > 0 {
			return due, min(lookEvery, wait), err
		}
		due = append(due, work)
	}
	return due, lookEvery, err
}

// lost is work that is put off for longer than any is: the clock was set back since,
// or it is of an API whose clock is ahead and which may be at it. What moves is left
// to that one.
func (w *Worker) lost(tx cf.Tx, now, steady time.Time) (list []*cf.ServiceWork, err error) {
	far, err := cf.List[cf.ServiceWork](tx, cf.Query{Where: []cf.Cond{{Key: "due", Op: cf.Greater, Values: []any{now.Add(2 * longestPause).UnixMicro()}}}})
	there := map[string]bool{}
	for _, work := range far {
		there[work.GUID] = true
		asLease := &cf.Lease{Meta: cf.Meta{GUID: work.GUID}, Beat: work.Due.UnixMicro()}
		if w.put.Idle(asLease, steady) >= claimFor && len(list) < atOnce {
			list = append(list, work)
		}
	}
	w.put.Keep(func(guid string) bool { return there[guid] })
	return list, err
}

// step does what can be done of one work now.
func (w *Worker) step(ctx context.Context, work *cf.ServiceWork) {
	defer w.finished()
	c, err := w.client(ctx, work)
	if err == nil {
		err = w.advance(ctx, c, work)
	}
	if ctx.Err() == nil && err != nil && cf.KindOf(err) != cf.NotFound {
		w.log.Error("the outcome of a broker's work cannot be written", "work", work.GUID, "verb", work.Verb, "err", err)
	}
}

func (w *Worker) client(ctx context.Context, work *cf.ServiceWork) (*client, error) {
	b := work.Broker
	err := w.store.View(ctx, func(tx cf.Tx) error {
		now, err := cf.First[cf.ServiceBroker](tx, cf.Is("guid", work.BrokerGUID))
		if now != nil && !told(work, Update) {
			b = *now
		}
		return err
	})
	return w.to(&b), err
}

func (w *Worker) to(b *cf.ServiceBroker) *client {
	c := &client{b.URL, b.Username, b.Password, w.trusted}
	if b.SpaceGUID != "" {
		c.http = w.guarded
	}
	return c
}

func (w *Worker) advance(ctx context.Context, c *client, work *cf.ServiceWork) error {
	if work.Verb == cf.FetchCatalog {
		return w.takeCatalog(ctx, c, work)
	}
	at := places{work.ServiceID, work.PlanID, work.InstanceID, work.BindingID}
	var a answer
	var err error
	if work.Asked {
		return w.poll(ctx, c, at, work)
	}
	switch work.Verb {
	case cf.Provision, cf.Bind:
		a, err = c.put(ctx, http.MethodPut, at, work.Request, work.User)
	case cf.UpdateOne:
		a, err = c.put(ctx, http.MethodPatch, at, work.Request, work.User)
	default:
		a, err = c.remove(ctx, at, work.User)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil // the platform stops: the work is due again after its claim
	case err != nil:
		return w.failed(ctx, work, err)
	case a.Async:
		return w.waits(ctx, work, a)
	}
	return w.done(ctx, work, a)
}

// poll asks how far the broker is. Answers that make no sense are asked again:
// only the broker's own word, or the deadline, ends it.
func (w *Worker) poll(ctx context.Context, c *client, at places, work *cf.ServiceWork) error {
	a, err := c.progress(ctx, at, work.Operation)
	var said *Error
	gone := errors.As(err, &said) && said.Status == http.StatusGone
	switch {
	case err != nil && ctx.Err() != nil:
		return nil
	case gone && (work.Verb == cf.Deprovision || work.Verb == cf.Unbind):
		return w.done(ctx, work, answer{})
	case err == nil && a.State == "succeeded":
		if work.Verb == cf.Bind {
			return w.collect(ctx, c, at, work)
		}
		return w.done(ctx, work, answer{})
	case err == nil && a.State == "failed":
		about := a.Description
		if about == "" {
			about = "the broker gave no reason"
		}
		// A failed operation may have left something behind.
		return w.failed(ctx, work, &Error{Status: http.StatusOK, About: "Service broker error: " + clip(about), Uncertain: work.Verb == cf.Bind})
	case late(work):
		return w.failed(ctx, work, &Error{About: "The service broker did not finish in time", Uncertain: true})
	}
	return w.waits(ctx, work, a)
}

// collect reads the credentials of a binding that was made while we waited.
func (w *Worker) collect(ctx context.Context, c *client, at places, work *cf.ServiceWork) error {
	a, err := c.get(ctx, at)
	if err != nil {
		return w.failed(ctx, work, &Error{About: "The binding was made but cannot be read: " + err.Error(), Uncertain: true})
	}
	return w.done(ctx, work, a)
}

// Parameters asks the broker for those of an instance, or of a binding.
func (w *Worker) Parameters(ctx context.Context, b *cf.ServiceBroker, serviceID, planID, instance, binding string) (map[string]any, error) {
	a, err := w.to(b).get(ctx, places{serviceID, planID, instance, binding})
	if a.Parameters == nil {
		a.Parameters = map[string]any{}
	}
	return a.Parameters, err
}
