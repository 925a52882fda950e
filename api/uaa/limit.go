package uaa

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Each address may log in twenty times at once and then once a second: enough
// for scripts, slow for guessing. The table is bounded; when it is full the
// addresses that did not ask for a minute leave, then everybody does.
const (
	loginsAtOnce = 20
	maxAddresses = 10000
)

type limiter struct {
	mu    sync.Mutex // guards known
	known map[string]*visitor
}

type visitor struct {
	*rate.Limiter
	last time.Time
}

func newLimiter() *limiter { return &limiter{known: map[string]*visitor{}} }

func (l *limiter) allow(address string, now time.Time) bool {
	address = site(address)
	l.mu.Lock()
	defer l.mu.Unlock()
	v := l.known[address]
	if v == nil {
		if len(l.known) >= maxAddresses {
			l.forget(now)
		}
		v = &visitor{Limiter: rate.NewLimiter(1, loginsAtOnce)}
		l.known[address] = v
	}
	v.last = now
	return v.AllowN(now, 1)
}

// site is what one subscriber has: an IPv4 address, or the 2^64 IPv6 addresses
// of a network (RFC 6177), each of which would otherwise be another guesser.
func site(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Unmap().Is4() {
		return address
	}
	if p, err := a.WithZone("").Prefix(64); err == nil {
		return p.String()
	}
	return address
}

func (l *limiter) forget(now time.Time) {
	for address, v := range l.known {
		if now.Sub(v.last) > time.Minute {
			delete(l.known, address)
		}
	}
	if len(l.known) >= maxAddresses {
		clear(l.known)
	}
}
