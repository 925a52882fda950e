package cell

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/keeper"
	"github.com/dewpaas/dew/vnet"
)

// label is all that a cell must know again of a guest.
type label struct {
	Placement cf.Placement // without the environment
	Addr      netip.Addr
	MTU       int // of its vNIC; 0: vnet.DefaultMTU
	Started   time.Time
	Tender    string    // its kind
	Boot      []cf.Step // until the guest was started
	Droplet   int64     // its bytes; 0: they were not counted then
}

// card is the guest's vNIC.
func (l *label) card() vnet.VNIC {
	card := nic(l.Addr)
	card.MTU = cmp.Or(l.MTU, card.MTU)
	return card
}

// instance is one placement from its start to its end. Its life is one
// goroutine, which owns what has no other owner named.
type instance struct {
	c       *Cell
	label   label
	guest   *keeper.Guest // set before live reads it, by create or adopt
	adopted *cf.Report    // what was last said of it by an earlier cell
	out     *output
	console tender.Console
	steps   []cf.Step // of its boot, those that the cell itself sees
	readers sync.WaitGroup

	stop     chan struct{} // closed when it should end
	stopOnce sync.Once
	ended    chan struct{} // closed when its end is in the ledger

	mu      sync.Mutex // guards what follows
	pid     int        // 0: there is no guest
	addr    netip.Addr // of the guest, while there is one
	ready   bool       // it takes requests
	usage   cf.Usage
	cpu     time.Duration // at the time of the last sample
	at      time.Time     // of that sample
	counted int64         // memory in use when it was last asked what its files take
}

func newInstance(c *Cell, l label) *instance {
	p := &l.Placement
	i := &instance{c: c, label: l, stop: make(chan struct{}), ended: make(chan struct{})}
	rate := int64(-1)
	if p.Launch != nil {
		rate = p.Launch.LogRate
	}
	i.out = &output{logs: c.cfg.Logs, kept: &i.console, limited: &c.limited, rate: rate, clock: time.Now, line: cf.LogLine{AppGUID: p.AppGUID, Source: source(p), Instance: strconv.Itoa(p.Index)}}
	return i
}

// source is what the lines of an instance are said to come from.
func source(p *cf.Placement) string {
	if p.TaskGUID != "" {
		return "APP/TASK/" + p.Type
	}
	return "APP/PROC/" + strings.ToUpper(p.Type)
}

func (i *instance) requestStop() { i.stopOnce.Do(func() { close(i.stop) }) }

// runs tells whether it has a guest.
func (i *instance) runs() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.pid != 0
}

func (i *instance) over() bool {
	select {
	case <-i.ended:
		return true
	default:
		return false
	}
}

// letGo closes what was opened for a guest that lives on.
func (i *instance) letGo() {
	if i.guest == nil {
		return
	}
	i.guest.Stdout.Close()
	i.guest.Stderr.Close()
	i.readers.Wait()
	i.guest.Close()
}

// tell writes a line of the cell's own into the app's log.
func (i *instance) tell(isErr bool, format string, args ...any) {
	l := i.out.line
	l.Time, l.Source, l.Err, l.Text = time.Now(), "CELL", isErr, fmt.Appendf(nil, format, args...)
	i.c.cfg.Logs.Log(l)
}

// report says in the ledger how the instance is.
func (i *instance) report(r cf.Report) { i.last(r, nil, func() {}) }

// last does so for the last time, with what is to be kept of a crash, if it was
// one, then calls written.
func (i *instance) last(r cf.Report, crash *cf.Crash, written func()) {
	r.GUID, r.CellID, r.AppGUID = i.label.Placement.GUID, i.c.cfg.ID, i.label.Placement.AppGUID
	if r.Since.IsZero() {
		r.Since = time.Now().UTC()
	}
	if i.label.Addr.IsValid() {
		r.Address, r.Host = i.label.Addr.String(), i.c.cfg.Host
	}
	i.mu.Lock()
	changed := i.ready != r.Routable
	i.ready = r.Routable
	i.mu.Unlock()
	if changed {
		i.c.wiring.hint(false) // names lead to what is ready
	}
	i.c.reports.put(&r, crash, written)
}

// live is the life of an instance. When ctx ends first, the guest lives on.
func (i *instance) live(ctx context.Context) {
	if i.guest == nil {
		if err := i.create(ctx); err != nil {
			if ctx.Err() != nil {
				return // the next cell finds the placement and begins again
			}
			if errors.Is(err, errUnwanted) {
				i.finish(ending{text: "It was stopped before it was started."})
				return
			}
			i.tell(true, "Failed to create container: %v", err)
			i.finish(ending{status: 255, text: "failed to start: " + err.Error(), reason: cf.CrashNotStarted})
			return
		}
	}
	i.mu.Lock()
	i.pid, i.addr = i.guest.PID(), i.label.Addr
	i.mu.Unlock()
	i.readers.Go(func() { i.out.read(io.MultiReader(bytes.NewReader(i.guest.Backlog[0]), i.guest.Stdout), false) })
	i.readers.Go(func() { i.out.read(io.MultiReader(bytes.NewReader(i.guest.Backlog[1]), i.guest.Stderr), true) })
	exit, problem, ok := i.attend(ctx)
	if !ok {
		i.letGo()
		return
	}
	if err := i.c.network.Break(i.label.Addr); err != nil {
		i.c.cfg.Log.Warn("cell: connections to an instance that has ended stay open", "err", err)
	}
	i.readers.Wait() // its last words come before the word about its end
	i.guest.Stdout.Close()
	i.guest.Stderr.Close()
	end := i.describe(exit, problem)
	i.epilogue(end)
	i.finish(end)
}

// attend watches over a guest until it ends. problem is what it had to end for;
// ok is false when ctx ended first.
func (i *instance) attend(ctx context.Context) (exit tender.Exit, problem string, ok bool) {
	over := make(chan tender.Exit, 1)
	waiting, forget := context.WithCancel(ctx)
	defer forget()
	go func() {
		if e, err := i.guest.Wait(waiting); err == nil {
			over <- e
		}
	}()
	w := newWatch(i)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		news := i.guest.Link().Changed() // before hear: nothing is missed
		w.hear()
		var alarm <-chan time.Time
		if at, ever := w.due(); ever {
			timer.Reset(time.Until(at))
			alarm = timer.C
		}
		select {
		case <-ctx.Done():
			return tender.Exit{}, "", false
		case e := <-over:
			return e, "", true
		case <-i.stop:
			e, ok := i.end(ctx, over, true)
			return e, "", ok
		case <-news:
			if !w.healthy { // perhaps it listens, which is the moment to look
				w.nextHealth = time.Now()
			}
		case <-alarm:
			if problem := w.look(ctx); problem != "" && ctx.Err() == nil {
				i.tell(true, "%s", problem)
				e, ok := i.end(ctx, over, false)
				return e, problem, ok
			}
		}
	}
}

// end ends the guest: politely when it is stopped, at once when it is ill.
func (i *instance) end(ctx context.Context, over <-chan tender.Exit, politely bool) (tender.Exit, bool) {
	p := &i.label.Placement
	i.tell(false, "Cell %s stopping instance %s", i.c.cfg.ID, p.GUID)
	patience, cancel := context.WithTimeout(ctx, i.c.cfg.Grace)
	defer cancel()
	if politely {
		// Requests under way end before the program learns that it should:
		// one that ignores SIGTERM, or obeys at once, would cut them off.
		if err := i.c.cfg.Drain(patience, p.GUID); err != nil && ctx.Err() == nil {
			i.c.cfg.Log.Warn("cell: an instance ends with requests under way", "instance", p.GUID, "err", err)
		}
		cancel()
		patience, cancel = context.WithTimeout(ctx, i.c.cfg.Grace)
		defer cancel()
		if i.guest.Link().Signal(patience, syscall.SIGTERM) == nil {
			select {
			case e := <-over:
				return e, true
			case <-patience.Done():
			}
		}
	}
	if ctx.Err() != nil {
		return tender.Exit{}, false
	}
	if err := i.guest.Kill(); err != nil {
		i.c.cfg.Log.Error("cell: a guest cannot be killed", "instance", p.GUID, "err", err)
	}
	select {
	case e := <-over:
		return e, true
	case <-ctx.Done():
		return tender.Exit{}, false
	}
}

// finish gives back what the instance had and says that it ended. Its keeper
// forgets it only when that is in the ledger.
func (i *instance) finish(end ending) {
	i.mu.Lock()
	i.pid, i.usage = 0, cf.Usage{}
	i.mu.Unlock()
	p := &i.label.Placement
	i.c.wiring.dismiss(p.GUID)
	addr := i.label.Addr
	if i.guest != nil {
		i.tell(false, "Cell %s successfully destroyed container for instance %s", i.c.cfg.ID, p.GUID)
	}
	i.label.Addr = netip.Addr{}
	written := func() {
		if i.guest != nil {
			if err := i.guest.Forget(); err != nil && !i.guest.Lost() {
				i.c.cfg.Log.Warn("cell: the keeper does not forget a guest", "instance", p.GUID, "err", err)
			}
		}
		if addr.IsValid() {
			i.c.pool.free(addr)
		}
		close(i.ended)
		i.c.Wake()
	}
	if i.c.closing.Load() && p.TaskGUID == "" {
		i.c.reports.withdraw(p.GUID, written) // the next cell begins it anew
		return
	}
	i.last(cf.Report{State: cf.InstanceEnded, Status: end.status, Details: end.text}, i.crash(end), written)
}
