package desk

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/dewpaas/dew/bus"
	"github.com/dewpaas/dew/cell"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/identity"
	"github.com/dewpaas/dew/router/feed"
	"github.com/dewpaas/dew/stager/staging"
)

// hint is one line of the stream: nouns of which something changed.
type hint struct {
	Nouns []cf.Noun `json:"nouns,omitempty"`
}

// pulse is how often a line comes in any case.
const pulse = 5 * time.Second

// follower is a peer that reads the stream.
type follower struct {
	concerns []cf.Noun
	wake     chan struct{}

	mu      sync.Mutex // guards changed
	changed map[cf.Noun]bool
}

// concerns are the nouns that a role is told of.
func concerns(role string) []cf.Noun {
	switch role {
	case identity.Cell:
		return append(cell.Concerns(), cell.Orders()...)
	case identity.Router:
		return feed.Concerns()
	case identity.Stager:
		return staging.Concerns()
	}
	return nil
}

// Hint tells those whom it concerns of a change. It never blocks.
func (d *Desk) Hint(c bus.Change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for f := range d.followers {
		f.hear(c)
	}
}

func (f *follower) hear(c bus.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.concerns {
		if c.About([]cf.Noun{n}) {
			f.changed[n] = true
		}
	}
	if len(f.changed) > 0 {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}

// take is what has changed since it was called last.
func (f *follower) take() (h hint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := range f.changed {
		h.Nouns = append(h.Nouns, n)
	}
	clear(f.changed)
	return h
}

// follow streams hints until either end goes away. The first line says that it is
// followed from here on.
func (d *Desk) follow(p *peer, w http.ResponseWriter, r *http.Request) error {
	f := &follower{concerns: concerns(p.Role), wake: make(chan struct{}, 1), changed: map[cf.Noun]bool{}}
	d.mu.Lock()
	d.followers[f] = true
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.followers, f)
		d.mu.Unlock()
	}()
	out, lines := http.NewResponseController(w), json.NewEncoder(w)
	tick := time.NewTicker(pulse)
	defer tick.Stop()
	for {
		out.SetWriteDeadline(time.Now().Add(2 * pulse)) // a reader that stands still is gone
		if lines.Encode(f.take()) != nil || out.Flush() != nil {
			return nil
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-tick.C:
		case <-f.wake:
		}
	}
}
