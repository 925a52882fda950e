package cf

import "time"

// ClockSettles is how long nothing is removed for its age after the wall clock was
// set, or before it is known whether it was.
const ClockSettles = 50 * time.Minute

// clockDrift is how far the two clocks may come apart without anybody setting one:
// NTP slews by 500 parts in a million at most (adjtimex(2)).
const clockDrift = time.Minute

// ClockWatch notices that somebody sets the wall clock, by the clock that nobody can
// set. Right after that everything made a minute ago may look a year old, so whoever
// removes what is old asks it first. The zero value is ready; it is for one goroutine
// at a time.
type ClockWatch struct{ wall, steady, since time.Time }

// Settled tells whether the wall clock was left alone for ClockSettles, as far as
// the looks so far can tell. steady must have Go's monotonic reading; in production
// both are the same time.
func (w *ClockWatch) Settled(wall, steady time.Time) bool {
	wall = wall.Round(0)
	if apart := wall.Sub(w.wall) - steady.Sub(w.steady); w.since.IsZero() || apart.Abs() > clockDrift {
		w.wall, w.steady, w.since = wall, steady, steady
	}
	return steady.Sub(w.since) >= ClockSettles
}
