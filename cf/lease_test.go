package cf

import (
	"testing"
	"time"
)

func TestLeaseWatch(t *testing.T) {
	var w LeaseWatch
	at := time.Now()
	l := &Lease{Meta: Meta{GUID: "a"}, Token: 1}
	for _, step := range []struct {
		after time.Duration
		move  func()
		want  time.Duration
	}{
		{0, func() {}, 0},
		{time.Minute, func() {}, time.Minute},
		{time.Minute, func() { l.Beat++ }, 0},
		{time.Second, func() {}, time.Second},
		{time.Second, func() { l.Token, l.Beat = 2, 1 }, 0},
		{time.Second, func() { l.Holder = "b" }, time.Second},
	} {
		at = at.Add(step.after)
		step.move()
		if got := w.Idle(l, at); got != step.want {
			t.Errorf("%+v: idle for %v, want %v", l, got, step.want)
		}
	}
	w.Keep(func(string) bool { return false })
	if got := w.Idle(l, at.Add(time.Hour)); got != 0 {
		t.Errorf("forgotten, and idle for %v", got)
	}
}

func TestLeasedBuild(t *testing.T) {
	if LeasedBuild(BuildLease("x")) != "x" || LeasedBuild(SchedulerLease) != "" || LeasedBuild("build-") != "" {
		t.Error("leases of builds are mistaken")
	}
}
