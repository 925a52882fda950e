package cf

import "time"

// LeaseWatch tells, by the clock of who looks, for how long leases have not
// moved. The times that it is given carry Go's monotonic reading, so whoever sets
// the wall clock takes no lease away and lends none longer. It is used by one
// goroutine.
type LeaseWatch struct{ seen map[string]sighting }

type sighting struct {
	token, beat int64
	since       time.Time
}

// Idle is how long the lease has been as it is. It begins at zero with the first
// look.
func (w *LeaseWatch) Idle(l *Lease, now time.Time) time.Duration {
	if s, ok := w.seen[l.GUID]; ok && s.token == l.Token && s.beat == l.Beat {
		return now.Sub(s.since)
	}
	if w.seen == nil {
		w.seen = map[string]sighting{}
	}
	w.seen[l.GUID] = sighting{l.Token, l.Beat, now}
	return 0
}

// Keep forgets the leases for which keep returns false.
func (w *LeaseWatch) Keep(keep func(guid string) bool) {
	for guid := range w.seen {
		if !keep(guid) {
			delete(w.seen, guid)
		}
	}
}

// BuildLease is the guid of the lease of who does a build.
func BuildLease(build string) string { return buildLeases + build }

// LeasedBuild is the build that a lease is of, "" if it is of something else.
func LeasedBuild(lease string) string {
	if len(lease) > len(buildLeases) && lease[:len(buildLeases)] == buildLeases {
		return lease[len(buildLeases):]
	}
	return ""
}

const buildLeases = "build-"
