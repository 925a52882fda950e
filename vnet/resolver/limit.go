package resolver

import (
	"sync"

	"golang.org/x/time/rate"
)

// What one guest may ask. A Go program that resolves a name for each request
// asks twice per name; queryRate lets 250 such requests a second pass.
const (
	queryRate   = 500 // queries per second and asker
	queryBurst  = 500
	outstanding = 64 // queries of one asker that wait for an upstream
	connections = 16 // TCP connections of one asker
	// maxForwards bounds the queries of all askers that wait for an upstream:
	// each costs a socket of this host.
	maxForwards = 1024
)

// meter counts what one asker uses.
type meter struct {
	queries *rate.Limiter

	mu      sync.Mutex
	waiting int
	conns   int
}

func newMeter() *meter { return &meter{queries: rate.NewLimiter(queryRate, queryBurst)} }

// take adds one to a count unless it has reached most; give undoes it.
func (m *meter) take(count *int, most int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if *count >= most {
		return false
	}
	*count++
	return true
}

func (m *meter) give(count *int) {
	m.mu.Lock()
	*count--
	m.mu.Unlock()
}
