package leader

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/scheduler"
)

// Config is what a Leader needs.
type Config struct {
	Store    cf.Store
	Holder   string // name of this process among all that may lead; never two at a time
	API      string // URL of the API, for the environment of what is started anew
	Logs     cf.Logs
	Log      *slog.Logger
	Patience time.Duration // how long a lease that does not move is respected; 15 s
	Poll     time.Duration // between rounds that nobody asked for; 5 s
	// Wall is the clock that people set: times that the ledger keeps are read off it,
	// and nothing is measured with it. nil is time.Now.
	Wall func() time.Time
}

// Concerns are the nouns whose changes a Leader should be woken for.
func Concerns() []cf.Noun {
	return []cf.Noun{"apps", "processes", "deployments", "tasks", "cells", "reports", "restarts"}
}

// Leader schedules while it holds the lease.
type Leader struct {
	cfg  Config
	asks chan chan struct{} // who waits for a round
	wake chan struct{}
	sick bool // the last round failed; Run's own
}

// New makes a leader.
func New(cfg Config) *Leader {
	if cfg.Patience == 0 {
		cfg.Patience = 15 * time.Second
	}
	if cfg.Poll == 0 {
		cfg.Poll = 5 * time.Second
	}
	if cfg.Wall == nil {
		cfg.Wall = time.Now
	}
	return &Leader{cfg: cfg, asks: make(chan chan struct{}), wake: make(chan struct{}, 1)}
}

// Wake asks for a round. It never blocks.
func (l *Leader) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Sync returns when a round that saw all that is in the ledger now is done, or,
// with ctx's error, when there was none in time: nobody leads here.
func (l *Leader) Sync(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case l.asks <- done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run schedules whenever the lease is ours, until ctx ends.
func (l *Leader) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		token, err := l.acquire(ctx)
		if err != nil {
			return nil // ctx has ended
		}
		err = l.lead(ctx, token)
		switch {
		case ctx.Err() != nil:
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.cfg.Patience/5)
			defer cancel()
			if err := l.resign(last, token); err != nil {
				l.cfg.Log.Warn("scheduler: the lease was not given back, others wait for its end", "err", err)
			}
			return nil
		case errors.Is(err, errDeposed):
			l.cfg.Log.Warn("scheduler: " + err.Error())
		default:
			l.complain("a round failed, the state is read again", err)
			select {
			case <-ctx.Done():
			case <-time.After(l.cfg.Patience / 50):
			}
		}
	}
	return nil
}

// complain logs a failure, once until something succeeds.
func (l *Leader) complain(what string, err error) {
	if !l.sick {
		l.cfg.Log.Error("scheduler: "+what, "err", err)
	}
	l.sick = true
}

// lead works under a token until something fails.
func (l *Leader) lead(ctx context.Context, token int64) error {
	t := &term{l: l, token: token, wall: l.cfg.Wall(), begun: time.Now()}
	if err := t.load(ctx); err != nil {
		return err
	}
	var waiting []chan struct{} // for the next round
	for {
		waiting = append(waiting, l.asking()...)
		next, err := t.round(ctx)
		for _, ask := range waiting {
			close(ask)
		}
		waiting = nil
		if err != nil {
			return err
		}
		if l.sick {
			l.sick = false
			l.cfg.Log.Info("scheduler: works again")
		}
		pause := time.NewTimer(min(next, l.cfg.Poll))
		select {
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		case ask := <-l.asks:
			waiting = append(waiting, ask)
		case <-l.wake:
		case <-pause.C:
		}
		pause.Stop()
	}
}

// asking are those who wait for a round already.
func (l *Leader) asking() (list []chan struct{}) {
	for {
		select {
		case ask := <-l.asks:
			list = append(list, ask)
		default:
			return list
		}
	}
}

// term is the time under one token. It owns the state.
type term struct {
	l     *Leader
	token int64
	wall  time.Time // when the term began, as the ledger keeps times
	begun time.Time // the same by the monotonic clock
	state *scheduler.State
	beats map[string]int64 // of the cells, as last seen
	wrote time.Time        // when the lease was last renewed

	apps      cf.Memo[cf.App, *cf.App]
	processes cf.Memo[cf.Process, *cf.Process]
	reports   cf.Memo[cf.Report, *cf.Report]

	turned []turn // readiness that changed in this round
}

// turn is an instance that became ready, or ceased to be.
type turn struct {
	instance, process string
	index             int
	ready             bool
}

// now moves on with the monotonic clock: whoever sets the wall clock while a
// term lasts moves no deadline.
func (t *term) now() time.Time { return t.wall.Round(0).UTC().Add(time.Since(t.begun)) }

// newState has a seed of its own, so that no GUID comes twice.
func newState() *scheduler.State {
	var seed [32]byte
	rand.Read(seed[:]) // never fails since Go 1.24
	return scheduler.New(seed)
}

// round reads, steps and writes. It returns how long nothing can happen by time
// alone.
func (t *term) round(ctx context.Context) (time.Duration, error) {
	events, done, err := t.read(ctx)
	if err != nil {
		return 0, err
	}
	actions := t.state.Step(t.now(), events...)
	next := t.l.cfg.Poll
	if n := len(actions); n > 0 {
		if w, ok := actions[n-1].(scheduler.Wake); ok {
			next, actions = max(w.At.Sub(t.now()), 0), actions[:n-1]
		}
	}
	if len(actions) == 0 && len(done) == 0 && len(t.turned) == 0 && time.Since(t.wrote) < t.l.cfg.Patience/3 {
		return next, nil
	}
	return next, t.write(ctx, actions, done)
}
