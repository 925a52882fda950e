package main

import (
	"context"
	"time"

	"github.com/dewpaas/dew/bus"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/desk"
	"github.com/dewpaas/dew/cmd/dew/grant"
	"github.com/dewpaas/dew/cmd/dew/identity"
)

// trunk is how lines go from a process that keeps none to those that do. It never
// blocks: what is said while the way is slow or gone is kept to a bound, then lost.
type trunk struct {
	lines chan cf.LogLine
	carry func(context.Context, []cf.LogLine) error
}

// Bounds of a trunk: how many lines may wait, and how many bytes go at a time.
const (
	trunkLines = 4096
	trunkBytes = 256 << 10
)

func newTrunk(carry func(context.Context, []cf.LogLine) error) *trunk {
	return &trunk{make(chan cf.LogLine, trunkLines), carry}
}

// Log implements cf.Logs.
func (t *trunk) Log(l cf.LogLine) {
	select {
	case t.lines <- l:
	default:
	}
}

// lastWords is how long what is there at the end may take.
const lastWords = 3 * time.Second

// run carries the lines until ctx ends, and what is there then.
func (t *trunk) run(ctx context.Context) {
	var left []cf.LogLine
	for len(left) == 0 && ctx.Err() == nil {
		select {
		case l := <-t.lines:
			left = t.send(ctx, t.batch(l))
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	for {
		if len(left) > 0 {
			t.carry(last, left)
		}
		select {
		case l := <-t.lines:
			left = t.batch(l)
		default:
			return
		}
	}
}

// batch is a line and those that wait behind it.
func (t *trunk) batch(first cf.LogLine) []cf.LogLine {
	list, bytes := []cf.LogLine{first}, len(first.Text)
	for bytes < trunkBytes && len(list) < trunkLines {
		select {
		case l := <-t.lines:
			list, bytes = append(list, l), bytes+len(l.Text)
		default:
			return list
		}
	}
	return list
}

// send carries lines as often as it takes while nobody is there to take them. It
// returns those that were not taken when ctx ended.
func (t *trunk) send(ctx context.Context, list []cf.LogLine) []cf.LogLine {
	for t.carry(ctx, list) != nil {
		select {
		case <-ctx.Done():
			return list
		case <-time.After(time.Second):
		}
	}
	return nil
}

// carry brings lines to an API, or to all over the bus.
func (f *platform) carry(ctx context.Context, list []cf.LogLine) error {
	if f.clerk == nil {
		f.publishLines("", list)
		return nil // the bus loses what it cannot carry
	}
	err := f.clerk.Lines(ctx, list)
	if err != nil && cf.KindOf(err) != cf.Unavailable {
		f.log.Warn("log lines are not taken", "lines", len(list), "err", err)
		return nil
	}
	return err
}

// publishLines tells all APIs but one of lines.
func (f *platform) publishLines(from string, list []cf.LogLine) {
	for len(list) > 0 {
		n, bytes := 0, 0
		for n < len(list) && bytes < trunkBytes {
			bytes += len(list[n].Text) + 200
			n++
		}
		bus.Lines().Publish(f.bus, bus.Said{From: from, Lines: list[:n]}) // lost lines are lost
		list = list[n:]
	}
}

// hearLines keeps what another process took in.
func (f *platform) hearLines(s bus.Said) {
	if s.From != "" && s.From == f.identity.Name {
		return // it is kept already
	}
	for _, l := range s.Lines {
		f.plane.logs.Log(l)
	}
}

// seen is the ledger as a peer may see and change it.
func (f *platform) seen(p identity.Peer) cf.Store { return grant.Guard(f.ledger, p) }

// openDesk answers cells, routers and stagers. What they say goes on to the other
// APIs.
func (f *platform) openDesk() *desk.Desk {
	return desk.New(desk.Config{Ledger: f.seen, API: f.facts.URL, Log: f.log,
		Lines: func(list []cf.LogLine) {
			for _, l := range list {
				f.plane.logs.Log(l)
			}
			f.publishLines(f.identity.Name, list)
		},
		Used: func(u bus.Used) {
			if f.usage != nil {
				f.usage.heard(u)
			}
			bus.Usage().Publish(f.bus, u)
		}})
}

// hintOf takes an API's word that nouns may have changed.
func (f *platform) hintOf(nouns []cf.Noun) {
	c := bus.Change{Whole: nouns == nil, Nouns: map[cf.Noun][]string{}}
	for _, n := range nouns {
		c.Nouns[n] = []string{""}
	}
	f.hint(c)
}
