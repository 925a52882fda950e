package router

import (
	"context"
	"log/slog"
	"time"
)

// Feed is what the router wants of a control plane. Next blocks until there
// is a change. After an error the next change must be a Full one.
type Feed interface {
	Next(ctx context.Context) (Change, error)
}

const (
	firstPause = 100 * time.Millisecond
	longPause  = 10 * time.Second
)

// Follow applies a feed's changes until the context ends. While the feed
// fails, requests are served from the table as it is, however old.
func Follow(ctx context.Context, t *Table, f Feed, log *slog.Logger) {
	pause, lost := firstPause, true
	for {
		c, err := f.Next(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil && lost && !c.Full {
			continue // the beginning is missing: wait for a whole table
		}
		if err == nil {
			if err := t.Apply(c); err != nil {
				log.Error("router: change refused, the table stays", "err", err)
			}
			pause, lost = firstPause, false
			continue
		}
		if !lost {
			log.Warn("router: control plane lost, the table stays", "err", err)
		}
		lost = true
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, longPause)
	}
}
