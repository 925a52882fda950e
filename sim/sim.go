package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/scheduler/leader"
	"github.com/dewpaas/dew/store"
	"github.com/dewpaas/dew/store/sqlite"
)

// Foundation is a ledger with who works on it.
type Foundation struct {
	Store   cf.Store // tells leaders and cells of changes
	Runtime *leader.Runtime
	Leaders []*Leader
	Cells   map[string]*Cell
	Lines   Lines

	space string
	close func() error
	all   sync.WaitGroup
}

// Leader is one that can be stopped without warning.
type Leader struct {
	*leader.Leader
	Stop  context.CancelFunc
	Kill  func() // it writes nothing more
	Clock *Clock // its machine's
}

// Clock is the wall clock of one machine: time as it passes for all, and how far the
// machine is off.
type Clock struct{ off atomic.Int64 }

// Set puts it so far off.
func (c *Clock) Set(off time.Duration) { c.off.Store(int64(off)) }

// Now is what the machine believes. Nothing can be measured with it.
func (c *Clock) Now() time.Time { return time.Now().Round(0).Add(time.Duration(c.off.Load())) }

// Open makes a foundation in an empty folder, without leaders and cells.
func Open(ctx context.Context, folder string) (*Foundation, error) {
	db, err := sqlite.Open(ctx, folder+"/ledger.db")
	if err != nil {
		return nil, err
	}
	f := &Foundation{Cells: map[string]*Cell{}, close: db.Close}
	f.Store = store.Watch(db, f.hint)
	f.Runtime = &leader.Runtime{Store: f.Store, Sync: f.sync}
	err = f.Store.Update(ctx, func(tx cf.Tx) error {
		o := &cf.Organization{Name: "org"}
		if err := tx.Insert(o); err != nil {
			return err
		}
		s := &cf.Space{Name: "space", OrgGUID: o.GUID}
		f.space = s.GUID
		if err := tx.Insert(s); err != nil {
			return err
		}
		f.space = s.GUID
		return nil
	})
	return f, errors.Join(err)
}

// hint wakes those whom a change concerns, as a bus would.
func (f *Foundation) hint(changes store.Changes) {
	if changes["placements"] != nil {
		for _, c := range f.Cells {
			c.poke()
		}
	}
	for _, noun := range leader.Concerns() {
		if changes[noun] != nil {
			for _, l := range f.Leaders {
				l.Wake()
			}
			return
		}
	}
}

func (f *Foundation) sync(ctx context.Context) error {
	if len(f.Leaders) == 0 {
		return nil
	}
	return f.Leaders[0].Sync(ctx)
}

// AddLeader starts a leader.
func (f *Foundation) AddLeader(ctx context.Context, name string, log *slog.Logger) *Leader {
	ctx, stop := context.WithCancel(ctx)
	s := &severable{Store: f.Store}
	clock := new(Clock)
	l := &Leader{leader.New(leader.Config{Store: s, Holder: name, API: "http://api.test", Logs: &f.Lines, Log: log, Wall: clock.Now}), stop, func() { s.cut.Store(true); stop() }, clock}
	f.Leaders = append(f.Leaders, l)
	f.all.Go(func() { l.Run(ctx) })
	return l
}

// severable is a ledger for somebody who may be cut off from it.
type severable struct {
	cf.Store
	cut atomic.Bool
}

// Update implements cf.Store.
func (s *severable) Update(ctx context.Context, do func(cf.Tx) error) error {
	if s.cut.Load() {
		return &cf.Error{Op: "update", Kind: cf.Unavailable}
	}
	return s.Store.Update(ctx, do)
}

// AddCell starts a cell.
func (f *Foundation) AddCell(ctx context.Context, id, zone string, memoryMB int) *Cell {
	ctx, stop := context.WithCancel(ctx)
	c := &Cell{f: f, id: id, zone: zone, memoryMB: memoryMB, wake: make(chan struct{}, 1), guests: map[string]bool{}, Stop: stop, Rule: func(*cf.Placement) Fate { return Serves }}
	f.Cells[id] = c
	f.all.Go(func() { c.run(ctx) })
	return c
}

// Close waits for leaders and cells, whose context must have ended.
func (f *Foundation) Close() error {
	f.all.Wait()
	return f.close()
}

// Lines keeps what was logged.
type Lines struct {
	mu  sync.Mutex // guards all
	all []cf.LogLine
}

// Log implements cf.Logs.
func (l *Lines) Log(line cf.LogLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
}

// All is what was logged so far.
func (l *Lines) All() []cf.LogLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// Fate is what becomes of an instance on a pretend cell.
type Fate int

// The fates.
const (
	Serves  Fate = iota // starts, runs, is ready, ends when it is asked to
	Crashes             // ends with status 1 as soon as it runs
	Unready             // runs, but is never ready
	Hangs               // never gets past starting
	Exits               // ends with status 0: a task
)

// Cell pretends to run instances.
type Cell struct {
	Stop  context.CancelFunc // ends it without warning; its guests are gone
	Clock Clock              // its machine's

	f        *Foundation
	id, zone string
	memoryMB int
	wake     chan struct{}

	mu     sync.Mutex // guards what follows
	Rule   func(*cf.Placement) Fate
	deaf   bool
	guests map[string]bool
}

// SetRule changes what becomes of instances.
func (c *Cell) SetRule(rule func(*cf.Placement) Fate) {
	c.mu.Lock()
	c.Rule = rule
	c.mu.Unlock()
	c.poke()
}

// Deafen cuts the cell off from the ledger, or connects it again. Guests stay.
func (c *Cell) Deafen(deaf bool) {
	c.mu.Lock()
	c.deaf = deaf
	c.mu.Unlock()
	c.poke()
}

// Guests are the instances that the cell runs.
func (c *Cell) Guests() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.guests))
}

func (c *Cell) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *Cell) run(ctx context.Context) {
	beat := time.NewTicker(5 * time.Second)
	defer beat.Stop()
	alive := true
	for {
		c.mu.Lock()
		deaf := c.deaf
		c.mu.Unlock()
		if !deaf {
			c.converge(ctx, alive)
		}
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			alive = true
		case <-c.wake:
			alive = false
		}
	}
}

// converge does one step for each placement.
func (c *Cell) converge(ctx context.Context, alive bool) {
	c.f.Store.Update(ctx, func(tx cf.Tx) error {
		if alive {
			if err := c.register(tx); err != nil {
				return err
			}
		}
		list, err := cf.List[cf.Placement](tx, cf.Query{Where: []cf.Cond{cf.Is("cell_id", c.id)}, Order: []cf.Order{{Key: "created_at"}}})
		if err != nil {
			return err
		}
		wanted := map[string]bool{}
		for _, p := range list {
			wanted[p.GUID] = true
			if err := c.advance(tx, p); err != nil {
				return err
			}
		}
		return c.clear(tx, wanted)
	})
}

func (c *Cell) register(tx cf.Tx) error {
	row, err := cf.First[cf.Cell](tx, cf.Is("guid", c.id))
	if err != nil {
		return err
	}
	if row == nil {
		return tx.Insert(&cf.Cell{Meta: cf.Meta{GUID: c.id}, Zone: c.zone, MemoryMB: c.memoryMB, DiskMB: 1 << 20, Beat: 1})
	}
	row.Beat++
	return tx.Save(row)
}

// advance moves one instance on by one state.
func (c *Cell) advance(tx cf.Tx, p *cf.Placement) error {
	r, err := cf.First[cf.Report](tx, cf.Is("guid", p.GUID))
	if err != nil {
		return err
	}
	c.mu.Lock()
	fate := c.Rule(p)
	running := c.guests[p.GUID]
	c.mu.Unlock()
	n := cf.Report{CellID: c.id, AppGUID: p.AppGUID, Since: c.Clock.Now().UTC(), Address: "10.255.0.1"}
	switch {
	case r != nil && r.State == cf.InstanceEnded:
		return nil
	case p.Stopping:
		n.State = cf.InstanceEnded
	case r == nil:
		n.State = cf.InstanceStarting
	case !running:
		n.State, n.Status, n.Details = cf.InstanceEnded, 255, "lost"
	case fate == Crashes:
		n.State, n.Status, n.Details = cf.InstanceEnded, 1, "APP/PROC/WEB: Exited with status 1"
	case fate == Exits && r.State == cf.InstanceRunning:
		n.State = cf.InstanceEnded
	case fate == Hangs:
		return nil
	default:
		n.State, n.Routable = cf.InstanceRunning, fate != Unready
	}
	if r != nil && r.State == n.State && r.Routable == n.Routable {
		return nil
	}
	c.poke() // there is another state to go to
	c.mu.Lock()
	if c.guests[p.GUID] = true; n.State == cf.InstanceEnded {
		delete(c.guests, p.GUID)
	}
	c.mu.Unlock()
	if r == nil {
		n.GUID = p.GUID
		return tx.Insert(&n)
	}
	n.Meta = r.Meta
	return tx.Save(&n)
}

// clear ends guests without a placement and takes their reports away.
func (c *Cell) clear(tx cf.Tx, wanted map[string]bool) error {
	for _, guid := range c.Guests() {
		if !wanted[guid] {
			c.mu.Lock()
			delete(c.guests, guid)
			c.mu.Unlock()
		}
	}
	reports, err := cf.List[cf.Report](tx, cf.Query{Where: []cf.Cond{cf.Is("cell_id", c.id)}})
	for _, r := range reports {
		if !wanted[r.GUID] {
			if err := tx.Delete(r); err != nil {
				return err
			}
		}
	}
	return err
}

// App makes a started app with a web process.
func (f *Foundation) App(ctx context.Context, name string, instances int) (*cf.App, *cf.Process, error) {
	a := &cf.App{Name: name, SpaceGUID: f.space, State: cf.Started, Lifecycle: "buildpack", Stack: "s"}
	var p *cf.Process
	err := f.Store.Update(ctx, func(tx cf.Tx) error {
		if err := tx.Insert(a); err != nil {
			return err
		}
		d := &cf.Droplet{AppGUID: a.GUID, SpaceGUID: f.space, State: "STAGED", Checksum: "d", ProcessTypes: map[string]string{"web": "./app", "worker": "./app work"}}
		if err := tx.Insert(d); err != nil {
			return err
		}
		a.DropletGUID = d.GUID
		p = f.Process(a, "web", instances)
		return errors.Join(tx.Save(a), tx.Insert(p))
	})
	return a, p, err
}

// Process is one that was started.
func (f *Foundation) Process(a *cf.App, kind string, instances int) *cf.Process {
	return &cf.Process{AppGUID: a.GUID, SpaceGUID: f.space, Type: kind, Instances: instances, MemoryMB: 100, DiskMB: 100, Version: cf.NewGUID(),
		Launch: &cf.Launch{DropletGUID: a.DropletGUID, Command: "./app", MemoryMB: 100, DiskMB: 100}}
}

// Change loads a record, changes it and saves it.
func Change[T any, P interface {
	*T
	cf.Record
}](ctx context.Context, f *Foundation, guid string, change func(P)) error {
	return f.Store.Update(ctx, func(tx cf.Tx) error {
		r, err := cf.Get[T, P](tx, guid)
		if err != nil {
			return err
		}
		change(r)
		return tx.Save(r)
	})
}

// Load reads a record, or fails as NotFound.
func Load[T any, P interface {
	*T
	cf.Record
}](ctx context.Context, f *Foundation, guid string) (r P, err error) {
	err = f.Store.View(ctx, func(tx cf.Tx) (err error) {
		r, err = cf.Get[T, P](tx, guid)
		return err
	})
	return r, err
}

// States are the states of a process's instances, by index, in words.
func (f *Foundation) States(ctx context.Context, process string) (string, error) {
	list, err := f.Runtime.Instances(ctx, process)
	text := ""
	for i, l := range list {
		if i > 0 {
			text += " "
		}
		text += fmt.Sprintf("%d:%s", l.Index, l.State)
		if l.State == cf.InstanceRunning && !l.Routable {
			text += "?"
		}
	}
	return text, err
}
