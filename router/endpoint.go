package router

import (
	"context"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Dial opens a connection to an app: net.Dialer's DialContext, or one that
// works inside a cell's network namespace.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// endpoint is a live Endpoint: its load, its health, its idle connections.
type endpoint struct {
	Endpoint
	index     string
	place     uint64                    // of its app and index, for balancing by hash
	active    atomic.Int64              // requests under way
	gone      atomic.Bool               // the table no longer names it
	downUntil atomic.Pointer[time.Time] // dialing failed; by the clock that nobody sets
	byStatus  [6]atomic.Int64           // requests, by class of status
	drained   chan struct{}
	once      sync.Once

	mu   sync.Mutex // guards idle
	idle []*upstream
}

// upstream is one connection to an app.
type upstream struct {
	guard
	endpoint *endpoint
	reused   bool
	since    int64 // tick when it became idle
}

// maxIdle bounds the idle connections that one endpoint keeps.
const maxIdle = 256

func newEndpoint(e Endpoint) *endpoint {
	return &endpoint{Endpoint: e, index: strconv.Itoa(e.Index), place: placeHash(&e), drained: make(chan struct{})}
}

// acquire counts a request in, unless the endpoint is gone. Counting first
// makes it certain that retire sees every request that was let in.
func (e *endpoint) acquire() bool {
	e.active.Add(1)
	if e.gone.Load() {
		e.release()
		return false
	}
	return true
}

func (e *endpoint) release() {
	if e.active.Add(-1) == 0 && e.gone.Load() {
		e.once.Do(func() { close(e.drained) })
	}
}

// retire lets no further request in and closes what is idle.
func (e *endpoint) retire() {
	e.gone.Store(true)
	if e.active.Load() == 0 {
		e.once.Do(func() { close(e.drained) })
	}
	e.dropIdle()
}

func (e *endpoint) dropIdle() {
	e.mu.Lock()
	idle := e.idle
	e.idle = nil
	e.mu.Unlock()
	for _, u := range idle {
		u.close()
	}
}

func (e *endpoint) down(now time.Time) bool {
	until := e.downUntil.Load()
	return until != nil && now.Before(*until)
}

// fail keeps requests away from the endpoint for a while, unless there is no other.
func (e *endpoint) fail(wait time.Duration) {
	until := time.Now().Add(wait)
	e.downUntil.Store(&until)
}

// connect takes the connection that became idle last, or dials. A request
// that cannot be repeated asks careful: an idle connection is then looked at
// first, because the app may have closed it.
func (e *endpoint) connect(s *Server, fresh, careful bool) (*upstream, error) {
	for !fresh {
		u := e.take()
		if u == nil {
			break
		}
		stale := s.reaper.ticks.Load()-u.since > int64(time.Second/tick)
		if (careful || stale) && !u.quiet() {
			u.close()
			continue
		}
		u.reused = true
		return u, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.DialTimeout)
	defer cancel()
	c, err := s.cfg.Dial(ctx, "tcp", e.Address)
	if err != nil {
		e.fail(s.cfg.FailedFor)
		s.metrics.dialErrors.Add(1)
		return nil, err
	}
	e.downUntil.Store(nil)
	u := &upstream{endpoint: e}
	u.open(c, s.reaper)
	return u, nil
}

func (e *endpoint) take() *upstream {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(e.idle)
	if n == 0 {
		return nil
	}
	u := e.idle[n-1]
	e.idle[n-1] = nil
	e.idle = e.idle[:n-1]
	return u
}

// put keeps a connection whose last answer was read to its end.
func (e *endpoint) put(u *upstream) {
	if u.readWithin(0) != nil || u.writeWithin(0) != nil {
		u.close()
		return
	}
	u.since = u.reaper.ticks.Load()
	e.mu.Lock()
	keep := len(e.idle) < maxIdle && !e.gone.Load()
	if keep {
		e.idle = append(e.idle, u)
	}
	e.mu.Unlock()
	if !keep {
		u.close()
	}
}

// prune closes connections that were idle too long or that the app closed.
func (e *endpoint) prune(before int64) {
	var dead []*upstream
	e.mu.Lock()
	kept := e.idle[:0]
	for _, u := range e.idle {
		if u.since < before || !u.quiet() {
			dead = append(dead, u)
		} else {
			kept = append(kept, u)
		}
	}
	clear(e.idle[len(kept):])
	e.idle = kept
	e.mu.Unlock()
	for _, u := range dead {
		u.close()
	}
}
