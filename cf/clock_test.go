package cf

import (
	"testing"
	"time"
)

func TestClockWatch(t *testing.T) {
	const year = 365 * 24 * time.Hour
	var w ClockWatch
	steady := time.Now()
	wall := steady
	for n, step := range []struct {
		pass, set time.Duration
		want      bool
	}{
		{0, 0, false}, // a machine may come up with any time
		{30 * time.Minute, 0, false},
		{20 * time.Minute, 0, true},
		{time.Hour, 0, true},
		{time.Minute, 5 * time.Second, true}, // slewed
		{time.Minute, year, false},
		{49 * time.Minute, 0, false},
		{time.Minute, 0, true},
		{time.Minute, -2 * year, false},
		{49 * time.Minute, 2 * time.Minute, false}, // again, before the last was forgotten
		{49 * time.Minute, 0, false},
		{time.Minute, 0, true},
		{time.Hour, 200 * year, false},
		{time.Hour, 0, true},
	} {
		steady, wall = steady.Add(step.pass), wall.Add(step.pass+step.set)
		if got := w.Settled(wall, steady); got != step.want {
			t.Errorf("step %d, %+v: settled %v", n, step, got)
		}
	}
}
