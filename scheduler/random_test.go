package scheduler

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

var seeds = flag.Uint64("seeds", 100, "seeds of TestRandomFoundations")

// TestRandomFoundations runs foundations whose cells, users and messages do
// what a seed says. After every Step the rules hold; when the trouble ends,
// everything that is wanted runs.
func TestRandomFoundations(t *testing.T) {
	for seed := range *seeds {
		w := newWorld(t, seed)
		for range 300 {
			w.trouble()
			w.check()
		}
		w.calm()
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, tail(w.trace.String()))
		}
	}
}

// tail keeps the end of a trace.
func tail(trace string) string { return trace[max(0, len(trace)-8000):] }

func TestSameSeedSameTrace(t *testing.T) {
	run := func() string {
		w := newWorld(t, 7)
		for range 300 {
			w.trouble()
		}
		return w.trace.String()
	}
	if a, b := run(), run(); a != b || a == "" {
		t.Error("two runs of one seed differ")
	}
}

// world is a foundation with a ledger that only knows what actions said.
type world struct {
	t      *testing.T
	r      *rand.Rand
	s      *State
	now    time.Time
	trace  strings.Builder
	quiet  bool // the trouble is over
	silent map[string]bool
	guests map[string]*Instance // by GUID: what cells really run
	said   map[string]Status    // what they last said, for a scheduler that starts anew
	ledger map[string]Instance
	bad    map[string]bool // processes that always crash
	serial int
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 1)), s: New(seedOf(seed)), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), silent: map[string]bool{},
		guests: map[string]*Instance{}, said: map[string]Status{}, ledger: map[string]Instance{}, bad: map[string]bool{}}
	for _, c := range []Cell{{ID: "a", Zone: "z1"}, {ID: "b", Zone: "z1"}, {ID: "c", Zone: "z2"}} {
		c.MemoryMB, c.DiskMB = 2000, 20000
		w.step(Heard{c})
	}
	return w
}

func seedOf(n uint64) (b [32]byte) {
	binary.BigEndian.PutUint64(b[:], n)
	return b
}

func (w *world) step(events ...Event) {
	for _, e := range events {
		if _, heard := e.(Heard); !heard || len(events) == 1 {
			fmt.Fprintf(&w.trace, "%s %T%+v\n", w.now.Format(time.TimeOnly), e, e)
		}
	}
	for _, a := range w.s.Step(w.now, events...) {
		if _, wake := a.(Wake); !wake {
			fmt.Fprintf(&w.trace, "    %s\n", a)
		}
		switch a := a.(type) {
		case Put:
			w.ledger[a.Instance.GUID] = a.Instance
		case Drop:
			delete(w.ledger, a.Instance.GUID)
		case Finished:
			w.finish(a)
		}
	}
}

// finish does what the ledger does at the end of a deployment.
func (w *world) finish(f Finished) {
	d := f.Deployment
	var events []Event
	for _, p := range keys(w.s.LRPs) {
		l := *w.s.LRPs[p]
		switch {
		case l.App != d.App:
		case (p == d.New) == (f.Reason == "DEPLOYED"):
			l.Interim = false
			events = append(events, Desire{l})
		default:
			events = append(events, Undesire{p})
		}
	}
	w.step(events...)
}

func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

// trouble is one thing that happens.
func (w *world) trouble() {
	w.pass(time.Duration(w.r.IntN(5000)) * time.Millisecond)
	switch w.r.IntN(14) {
	case 0:
		w.silent[w.cell()] = true
	case 1:
		delete(w.silent, w.cell())
	case 2:
		c := *w.s.Cells[w.cell()]
		c.Leaving = w.r.IntN(2) == 0
		w.step(Heard{c})
	case 3:
		w.want()
	case 4:
		w.deploy()
	case 5:
		w.task()
	case 6:
		w.crash()
	case 7:
		w.reload()
	case 8:
		if l := w.lrp(); l != nil {
			w.step(Restart{l.Process, w.r.IntN(max(1, l.Instances))})
		}
	default:
		w.cellsWork(w.r.IntN(4))
	}
	w.beats()
}

func (w *world) cell() string { return string(rune('a' + w.r.IntN(3))) }

func (w *world) beats() {
	var events []Event
	for _, id := range keys(w.s.Cells) {
		if !w.silent[id] {
			events = append(events, Heard{*w.s.Cells[id]})
		}
	}
	w.step(events...)
}

func (w *world) lrp() *LRP {
	list := keys(w.s.LRPs)
	if len(list) == 0 {
		return nil
	}
	return w.s.LRPs[list[w.r.IntN(len(list))]]
}

// want makes or changes an app that no deployment is changing.
func (w *world) want() {
	app := fmt.Sprint("app", w.r.IntN(4))
	if w.deploying(app) != nil {
		return
	}
	for _, p := range keys(w.s.LRPs) {
		if l := *w.s.LRPs[p]; l.App == app {
			switch w.r.IntN(5) {
			case 0:
				l.Version = fmt.Sprint("v", w.r.IntN(100))
			case 1:
				l.Stopped = !l.Stopped
			case 2:
				w.step(Undesire{p})
				return
			default:
				l.Instances = w.r.IntN(5)
			}
			w.step(Desire{l})
			return
		}
	}
	w.serial++
	p := fmt.Sprint(app, "-", w.serial)
	w.bad[p] = w.r.IntN(6) == 0
	w.step(Desire{LRP{Process: p, App: app, Type: web, Version: "v", Instances: 1 + w.r.IntN(4), MemoryMB: 50 + w.r.IntN(150), DiskMB: 100}})
}

func (w *world) deploying(app string) *Deployment {
	for _, guid := range keys(w.s.Deployments) {
		if d := w.s.Deployments[guid]; d.App == app {
			return d
		}
	}
	return nil
}

// deploy begins a deployment, or lets one go on, go back or be overtaken.
func (w *world) deploy() {
	l := w.lrp()
	if l == nil || l.Stopped {
		return
	}
	original := l.Instances
	if d := w.deploying(l.App); d != nil {
		next := *d
		switch w.r.IntN(4) {
		case 0:
			next.Canceling = true
		case 1:
			if d.Canceling {
				return
			}
			original = d.Original
			w.step(Undeploy{d.GUID})
			w.begin(l, original)
			return
		default:
			next.next()
		}
		w.step(Deploy{next})
		return
	}
	w.begin(l, original)
}

func (w *world) begin(l *LRP, original int) {
	w.serial++
	p := fmt.Sprint(l.App, "-", w.serial)
	w.bad[p] = w.r.IntN(4) == 0
	d := Deployment{GUID: fmt.Sprint("d", w.serial), App: l.App, New: p, Strategy: []string{"rolling", "canary", "recreate"}[w.r.IntN(3)],
		Target: original, Original: original, MaxInFlight: 1 + w.r.IntN(3),
		Canary: 1, Keep: original, Step: 1, Pausing: true}
	w.step(Desire{LRP{Process: p, App: l.App, Type: web, Version: "v", Interim: true, MemoryMB: l.MemoryMB, DiskMB: 100}}, Deploy{d})
}

// next is what the API makes of "continue".
func (d *Deployment) next() {
	if d.Step == 1 && d.Target > 3 {
		d.Step, d.Canary, d.Keep = 2, d.Target/2, d.Target-d.Target/2+1
	} else {
		d.Pausing = false
	}
}

func (w *world) task() {
	if list := keys(w.s.Tasks); len(list) > 0 && w.r.IntN(3) == 0 {
		task := *w.s.Tasks[list[0]]
		task.Canceling = true
		w.step(Run{task})
		return
	}
	w.serial++
	w.step(Run{Task{GUID: fmt.Sprint("t", w.serial), App: "app", MemoryMB: 50 + w.r.IntN(3000), DiskMB: 10}})
}

// cellsWork lets the cells that hear converge some of their guests.
func (w *world) cellsWork(most int) {
	for _, guid := range keys(w.guests) { // what no record speaks for is ended
		if _, ok := w.ledger[guid]; !ok && !w.silent[w.guests[guid].Cell] {
			delete(w.guests, guid)
		}
	}
	list := keys(w.ledger)
	w.r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for _, guid := range list {
		i := w.ledger[guid]
		if i.Cell == "" || w.silent[i.Cell] || most == 0 {
			continue
		}
		most--
		w.advance(i)
	}
}

func (w *world) advance(i Instance) {
	guest := w.guests[i.GUID]
	switch {
	case i.Stopping:
		delete(w.guests, i.GUID)
		w.say(Status{GUID: i.GUID, Phase: Ended})
	case guest == nil && w.said[i.GUID].Phase == Ended:
		w.say(w.said[i.GUID])
	case guest == nil:
		w.guests[i.GUID] = &i
		w.say(Status{GUID: i.GUID, Phase: Starting})
	case w.bad[i.Process] || i.Task != "" && w.r.IntN(3) == 0:
		delete(w.guests, i.GUID)
		w.say(Status{GUID: i.GUID, Phase: Ended, Exit: Exit{1, "boom"}})
	default:
		w.say(Status{GUID: i.GUID, Phase: Running, Routable: w.quiet || w.r.IntN(10) > 0})
	}
}

// say tells the scheduler, or only the ledger: hints get lost.
func (w *world) say(st Status) {
	w.said[st.GUID] = st
	if w.quiet || w.r.IntN(10) > 0 {
		w.step(st)
	}
}

func (w *world) crash() {
	if list := keys(w.guests); len(list) > 0 {
		guid := list[w.r.IntN(len(list))]
		delete(w.guests, guid)
		w.said[guid] = Status{GUID: guid, Phase: Ended, Exit: Exit{2, "killed"}}
		if i := w.ledger[guid]; !w.silent[i.Cell] {
			w.step(w.said[guid])
		}
	}
}

// reload makes a new scheduler of what the ledger holds, as after a crash of
// the old one.
func (w *world) reload() {
	w.serial++
	n := New(seedOf(uint64(w.serial) << 20))
	n.Cells, n.LRPs, n.Deployments, n.Tasks = w.s.Cells, w.s.LRPs, w.s.Deployments, w.s.Tasks
	for guid, i := range w.ledger {
		known := w.s.Instances[guid]
		if known == nil {
			w.t.Errorf("the ledger has %s, the scheduler has not", i.name())
			continue
		}
		i.Phase, i.Routable, i.Since = known.Phase, known.Routable, known.Since
		if !reflect.DeepEqual(i, *known) {
			w.t.Errorf("the ledger has %+v, the scheduler %+v", i, *known)
		}
		n.Instances[guid] = &i
	}
	for guid, i := range w.s.Instances {
		if _, ok := w.ledger[guid]; !ok {
			w.t.Errorf("the scheduler has %s, the ledger has not", i.name())
		}
	}
	w.trace.WriteString("reload\n")
	w.s = n
}

// check looks whether the rules hold.
func (w *world) check() {
	used, firm := map[string]int{}, map[slot]int{}
	for _, i := range w.s.Instances {
		if i.Cell != "" {
			used[i.Cell] += i.MemoryMB
		}
		if i.Task == "" && !i.Stopping && w.s.firm(i) {
			firm[slot{i.Process, i.Index}]++
		}
	}
	for cell, mb := range used {
		if c := w.s.Cells[cell]; mb > c.MemoryMB {
			w.t.Errorf("cell %s: %d MB of %d are given away", cell, mb, c.MemoryMB)
		}
	}
	for _, l := range w.s.LRPs {
		for index := range l.wanted() {
			if n := firm[slot{l.Process, index}]; n != 1 {
				w.t.Errorf("%s/%d has %d instances that count", l.Process, index, n)
			}
			delete(firm, slot{l.Process, index})
		}
	}
	for k, n := range firm {
		w.t.Errorf("%d instances of %s/%d, which is not wanted", n, k.process, k.index)
	}
	for _, d := range w.s.Deployments {
		n := w.s.LRPs[d.New]
		if all := total(w.s.olds(d)) + n.Instances; !d.Canceling && d.Strategy == "rolling" && all > max(d.Target, d.Original)+2*d.MaxInFlight+1 {
			w.t.Errorf("deployment %s: %d instances of %d", d.GUID, all, d.Target)
		}
	}
}

// calm ends the trouble: cells stay, nothing crashes, deployments go on.
func (w *world) calm() {
	w.quiet = true
	clear(w.bad)
	clear(w.silent)
	for _, id := range keys(w.s.Cells) {
		c := *w.s.Cells[id]
		c.Leaving, c.MemoryMB = false, 20000
		w.step(Heard{c})
	}
	for _, d := range w.s.Deployments {
		next := *d
		next.Pausing = false
		w.step(Deploy{next})
	}
	for round := 0; round < 400 && !w.settled(); round++ {
		w.pass(10 * time.Second)
		w.beats()
		w.cellsWork(1000)
		w.check()
	}
	for _, i := range w.s.sorted() {
		if i.Task == "" && (!i.up() || w.guests[i.GUID] == nil) {
			w.t.Errorf("%+v does not serve in the end", *i)
		}
	}
	for guid := range w.guests {
		if w.s.Instances[guid] == nil {
			w.t.Errorf("guest %s runs and nobody wants it", guid)
		}
	}
	if n := len(w.s.Deployments); n > 0 {
		w.t.Errorf("%d deployments do not end: %+v", n, w.s.Deployments)
	}
}

// settled tells whether nothing is left to happen.
func (w *world) settled() bool {
	for _, i := range w.s.Instances {
		if !i.up() || w.guests[i.GUID] == nil {
			return false
		}
	}
	return len(w.s.Deployments) == 0 && len(w.s.Tasks) == 0 && len(w.guests) == len(w.s.Instances)
}

// TestDeploymentsKeepServing: without trouble, a rolling or canary deployment
// never serves with fewer instances than before or after it, and never runs
// more than its surge allows.
func TestDeploymentsKeepServing(t *testing.T) {
	for seed := range uint64(200) {
		w := newWorld(t, seed)
		n, target, flight := 1+w.r.IntN(8), 1+w.r.IntN(8), 1+w.r.IntN(4)
		w.step(Desire{LRP{Process: "old", App: "app", Type: web, Instances: n, MemoryMB: 10}})
		w.cellsWork(100)
		w.quiet = true
		w.cellsWork(100)
		strategy := []string{"rolling", "canary"}[seed%2]
		d := Deployment{GUID: "d", App: "app", New: "new", Strategy: strategy, Target: target, Original: n, MaxInFlight: flight, Canary: 1, Keep: n, Step: 1, Pausing: true}
		w.step(Desire{LRP{Process: "new", App: "app", Type: web, Interim: true, MemoryMB: 10}}, Deploy{d})
		for round := 0; len(w.s.Deployments) > 0; round++ {
			if round > 1000 {
				t.Fatalf("seed %d: the deployment does not end:\n%s", seed, tail(w.trace.String()))
			}
			if w.s.Deployments["d"].Paused {
				d.next()
				w.step(Deploy{d})
			}
			w.pass(time.Second)
			w.beats()
			w.cellsWork(1 + w.r.IntN(5))
			up, all := 0, 0
			for _, i := range w.s.Instances {
				if i.up() {
					up++
				}
				if !i.Stopping {
					all++
				}
			}
			if up < min(n, target) || all > max(n, target)+flight {
				t.Fatalf("seed %d: %d instances serve of %d, with %d before and %d after, %d in flight:\n%s", seed, up, all, n, target, flight, tail(w.trace.String()))
			}
		}
	}
}
