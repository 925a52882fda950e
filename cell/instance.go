package cell

import (
	"bytes"
	"context"
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
)

// label is all that a cell must know again of a guest.
type label struct {
	Placement cf.Placement // without the environment
	Addr      netip.Addr
	Started   time.Time
}

// instance is one placement from its start to its end. Its life is one
// goroutine, which owns what has no other owner named.
type instance struct {
	c       *Cell
	label   label
	guest   *keeper.Guest // set before live reads it, by create or adopt
	adopted *cf.Report    // what was last said of it by an earlier cell
	out     *output
	readers sync.WaitGroup

	stop     chan struct{} // closed when it should end
	stopOnce sync.Once
	ended    chan struct{} // closed when its end is in the ledger

	mu    sync.Mutex // guards what follows
	pid   int        // 0: there is no guest
	ready bool       // it takes requests
	usage cf.Usage
	cpu   time.Duration // at the time of the last sample
	at    time.Time     // of that sample
}

func newInstance(c *Cell, l label) *instance {
	p := &l.Placement
	i := &instance{c: c, label: l, stop: make(chan struct{}), ended: make(chan struct{})}
	rate := int64(-1)
	if p.Launch != nil {
		rate = p.Launch.LogRate
	}
	i.out = &output{logs: c.cfg.Logs, rate: rate, clock: time.Now, line: cf.LogLine{AppGUID: p.AppGUID, Source: source(p), Instance: strconv.Itoa(p.Index)}}
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
func (i *instance) report(r cf.Report, written func()) {
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
	i.c.reports.put(&r, written)
}

// live is the life of an instance. When ctx ends first, the guest lives on.
func (i *instance) live(ctx context.Context) {
	if i.guest == nil {
		if err := i.create(ctx); err != nil {
			if ctx.Err() != nil {
				return // the next cell finds the placement and begins again
			}
			i.tell(true, "Failed to create container: %v", err)
			i.finish(ending{status: 255, text: "failed to start: " + err.Error()})
			return
		}
	}
	i.mu.Lock()
	i.pid = i.guest.PID()
	i.mu.Unlock()
	i.readers.Go(func() { i.out.read(io.MultiReader(bytes.NewReader(i.guest.Backlog[0]), i.guest.Stdout), false) })
	i.readers.Go(func() { i.out.read(io.MultiReader(bytes.NewReader(i.guest.Backlog[1]), i.guest.Stderr), true) })
	end, ok := i.attend(ctx)
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
	i.epilogue(end)
	i.finish(end)
}

// ending is how an instance ended, in the words of the ledger.
type ending struct {
	status int
	text   string
}

// attend watches over a guest until it ends. ok is false when ctx ended first.
func (i *instance) attend(ctx context.Context) (end ending, ok bool) {
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
		var alarm <-chan time.Time
		if at, ever := w.due(); ever {
			timer.Reset(time.Until(at))
			alarm = timer.C
		}
		select {
		case <-ctx.Done():
			return ending{}, false
		case e := <-over:
			return i.describe(e), true
		case <-i.stop:
			e, ok := i.end(ctx, over, true)
			return i.describe(e), ok
		case <-w.news():
			w.nextHealth = time.Now()
		case <-alarm:
			if problem := w.look(ctx); problem != "" && ctx.Err() == nil {
				i.tell(true, "%s", problem)
				e, ok := i.end(ctx, over, false)
				return ending{i.describe(e).status, problem}, ok
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

// describe puts an exit in the words of Cloud Foundry.
func (i *instance) describe(e tender.Exit) ending {
	end := ending{status: e.Code()}
	end.text = fmt.Sprintf("%s: Exited with status %d", i.out.line.Source, end.status)
	switch e.Reason {
	case tender.OutOfMemory:
		end.text += " (out of memory)"
	case tender.Forbidden, tender.Crashed:
		end.text += " (" + e.String() + ")"
	case tender.HostFailed:
		end.text = "The host failed: " + e.Detail
	}
	return end
}

// epilogue tells the app's log how it ended.
func (i *instance) epilogue(end ending) {
	l := i.out.line
	l.Time, l.Text = time.Now(), fmt.Appendf(nil, "Exit status %d", end.status)
	i.c.cfg.Logs.Log(l)
	i.tell(false, "Cell %s destroying container for instance %s", i.c.cfg.ID, i.label.Placement.GUID)
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
	i.report(cf.Report{State: cf.InstanceEnded, Status: end.status, Details: end.text}, written)
}
