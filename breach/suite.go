package breach

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dewpaas/dew/breach/container"
	"github.com/dewpaas/dew/tender/process"
	"github.com/dewpaas/dew/tender/qemu"
)

// Suite is what attacks are made with.
type Suite struct {
	ctx        context.Context
	parent     string // of the folders of all runs
	dir        string // of all scenes
	program    string // path of the attacker
	room       *room
	process    *process.Tender
	qemu       *qemu.Tender // nil: not installed
	containers *container.Host
	scenes     atomic.Int64
}

// Result is what became of one attack behind one kind of tender.
type Result struct {
	Name    string `json:"name"`
	Tender  Kind   `json:"tender"`
	Stopped bool   `json:"stopped"`
	Proven  bool   `json:"succeeds_without_guard"`

	Class   Class  `json:"class"`
	Goal    string `json:"goal"`
	Guard   string `json:"guard"`
	How     string `json:"how"`                  // it ended behind the guard
	HowOff  string `json:"how_without_guard"`    // and without
	Error   string `json:"error,omitempty"`      // why it could not be judged
	Root    string `json:"container,omitempty"`  // the same attack in a container, as root
	User    string `json:"user,omitempty"`       // and as a user without rights: gained, stopped or ""
	Elapsed int64  `json:"elapsed_ms,omitempty"` // of all its runs
}

// Good tells whether the attack was stopped and is proven to be one.
func (r *Result) Good() bool { return r.Error == "" && r.Stopped && r.Proven }

// Open builds the attacker and prepares what attacks need. cache is a folder
// for what can be used again.
func Open(ctx context.Context, cache string) (_ *Suite, err error) {
	u := &Suite{ctx: ctx, parent: folders}
	defer func() {
		if err != nil {
			u.Close()
		}
	}()
	if u.process, err = process.New(); err != nil {
		return nil, err
	}
	if u.containers, err = container.New(); err != nil {
		return nil, err
	}
	if err = u.reap(); err != nil {
		return nil, err
	}
	if u.dir, err = os.MkdirTemp(u.parent, fmt.Sprintf("%s%d-", folderPrefix, os.Getpid())); err != nil {
		return nil, err
	}
	if err := os.Chmod(u.dir, 0o755); err != nil {
		return nil, err
	}
	if u.qemu, err = findQEMU(ctx, u.dir); err != nil {
		return nil, err
	}
	if u.room, err = newRoom(); err != nil {
		return nil, err
	}
	u.program, err = build(ctx, filepath.Join(cache, "dew", "goroot"), u.dir)
	return u, err
}

// findQEMU returns nil where QEMU is not installed.
func findQEMU(ctx context.Context, dir string) (*qemu.Tender, error) {
	jail := filepath.Join(dir, "jail")
	if err := os.Mkdir(jail, 0o755); err != nil {
		return nil, err
	}
	t, err := qemu.Find(ctx, jail)
	if errors.Is(err, qemu.ErrNotInstalled) {
		return nil, nil
	}
	return t, err
}

// Close removes everything.
func (u *Suite) Close() error {
	if u.room != nil {
		u.room.close()
	}
	return os.RemoveAll(u.dir)
}

// atOnce is how many attacks are made at the same time: they mostly wait.
const atOnce = 4

// Run makes every attack of the list behind every kind of tender, first
// behind its guard and then without, several at a time. It tells the results
// one by one, in the order of the list.
func (u *Suite) Run(ctx context.Context, attacks []Attack, tell func(Result)) error {
	turn := make(chan struct{}, atOnce)
	var results []chan Result
	var crowd sync.WaitGroup
	var later []func()
	for _, a := range attacks {
		for _, row := range a.Rows {
			if row.Tender == QEMU && u.qemu == nil {
				continue
			}
			result := make(chan Result, 1)
			results = append(results, result)
			do := func() { result <- u.judge(ctx, &a, &row) }
			if row.Alone {
				later = append(later, do)
				continue
			}
			crowd.Go(func() {
				turn <- struct{}{}
				defer func() { <-turn }()
				do()
			})
		}
	}
	go func() {
		crowd.Wait()
		for _, do := range later {
			do()
		}
	}()
	for _, r := range results {
		tell(<-r)
	}
	return ctx.Err()
}

// HasQEMU tells whether attacks can be made in QEMU here.
func (u *Suite) HasQEMU() bool { return u.qemu != nil }

// judge makes one attack in all its runs.
func (u *Suite) judge(ctx context.Context, a *Attack, row *Row) (r Result) {
	r = Result{Name: a.Name, Tender: row.Tender, Class: a.Class, Goal: a.Goal, Guard: row.Guard.Name}
	if err := ctx.Err(); err != nil {
		r.Error = err.Error()
		return r
	}
	begun := time.Now()
	defer func() { r.Elapsed = time.Since(begun).Milliseconds() }()
	on, err := u.again(ctx, row, func(Outcome) bool { return true }, func(*scene) {})
	if err == nil && !on.Tried {
		err = fmt.Errorf("no sign that the attack was made: %s", on.How)
	}
	if err != nil {
		r.Error = "behind the guard: " + err.Error()
		return r
	}
	r.Stopped, r.How = !on.Gained, on.How
	off, err := u.again(ctx, row, func(o Outcome) bool { return o.Gained }, func(s *scene) {
		s.off, s.patience = true, 15*time.Second
		row.Guard.off(s)
	})
	if err != nil {
		r.Error = "without the guard: " + err.Error()
		return r
	}
	r.Proven, r.HowOff = off.Gained, off.How
	u.compare(ctx, row, &r)
	return r
}

// compare makes the attack in the containers.
func (u *Suite) compare(ctx context.Context, row *Row, r *Result) {
	if row.Tender != Process || row.NoBaseline {
		return
	}
	for v, verdict := range map[container.Variant]*string{container.Root: &r.Root, container.User: &r.User} {
		o, err := u.run(ctx, row, func(s *scene) {
			s.stand = contained(v)
			s.baseline = s.stand
		})
		switch {
		case err != nil:
			r.Error = "in the container: " + err.Error()
		case o.Gained:
			*verdict = Gained
		case o.Tried:
			*verdict = Stopped
		default:
			r.Error = "in the container: no sign that the attack was made: " + o.How
		}
	}
}

// Verdicts of Result's containers.
const (
	Gained  = "gained"
	Stopped = "stopped"
)

// attempts of a run that a busy machine has spoilt.
const attempts = 3

// again makes one attack until it could be made and enough holds of how it went.
// What was gained behind a guard is never tried away: there, one run decides.
func (u *Suite) again(ctx context.Context, row *Row, enough func(Outcome) bool, change func(*scene)) (o Outcome, err error) {
	for range attempts {
		if o, err = u.run(ctx, row, change); err == nil && enough(o) || ctx.Err() != nil {
			break
		}
	}
	return o, err
}

// run makes one attack once.
func (u *Suite) run(ctx context.Context, row *Row, change func(*scene)) (Outcome, error) {
	s, err := u.newScene(row, guarded)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	change(s)
	return s.play(ctx)
}
