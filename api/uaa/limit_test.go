package uaa

import (
	"fmt"
	"testing"
	"time"
)

// TestLoginsAreCountedBySite: who has a network of addresses has no more guesses
// than who has one.
func TestLoginsAreCountedBySite(t *testing.T) {
	now := time.Unix(1000, 0)
	for say, c := range map[string]struct {
		address string // a number follows
		want    int
	}{
		"one IPv6 network":       {"2001:db8:0:1::%x", loginsAtOnce},
		"many IPv6 networks":     {"2001:db8:0:%x::1", 100},
		"many IPv4 addresses":    {"192.0.2.%d", 100},
		"IPv4, written as IPv6":  {"::ffff:192.0.2.%d", 100},
		"one network with zones": {"fe80::1%%%d", loginsAtOnce},
	} {
		l, passed := newLimiter(), 0
		for i := range 100 {
			if l.allow(fmt.Sprintf(c.address, i+1), now) {
				passed++
			}
		}
		if passed != c.want {
			t.Errorf("%s: %d logins of 100 at once, want %d", say, passed, c.want)
		}
	}
	l := newLimiter()
	for range 2 * maxAddresses { // forgets, rather than grow
		l.allow(fmt.Sprint(now.UnixNano()), now)
		now = now.Add(time.Millisecond)
	}
	if n := len(l.known); n > maxAddresses {
		t.Errorf("%d addresses are known", n)
	}
}
