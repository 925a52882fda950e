package scheduler

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// The restart policy.
const (
	atOnce     = 3 // restarts without a pause
	firstPause = 30 * time.Second
	longPause  = 16 * time.Minute
	maxCrashes = 200 // then the slot is left alone
	forgetful  = 5 * time.Minute
)

// Pause is how long a slot waits after so many crashes in a row.
func Pause(crashes int) time.Duration {
	if crashes <= atOnce {
		return 0
	}
	return min(firstPause<<min(crashes-atOnce-1, 10), longPause)
}

// slot is one index of one process.
type slot struct {
	process string
	index   int
}

// fill makes every slot what it should be.
func (s *State) fill() {
	slots := map[slot][]*Instance{}
	for _, i := range s.sorted() {
		l := s.LRPs[i.Process]
		switch {
		case i.Stopping && s.lost(i.Cell):
			s.drop(i, "its cell is lost")
		case i.Task != "" || i.Stopping:
		case l == nil:
			s.stop(i, "not wanted any more")
		case i.Index >= l.wanted():
			s.stop(i, "scaled down")
		case i.Version != l.Version:
			s.stop(i, "outdated")
		default:
			k := slot{i.Process, i.Index}
			slots[k] = append(slots[k], i)
		}
	}
	for _, p := range keys(s.LRPs) {
		l := s.LRPs[p]
		for index := range l.wanted() {
			s.settle(l, index, slots[slot{p, index}])
		}
	}
}

// settle leaves one firm instance in a slot, and those that are not firm only
// until it serves.
func (s *State) settle(l *LRP, index int, there []*Instance) {
	var firm, shaky []*Instance
	for _, i := range there {
		if s.firm(i) {
			firm = append(firm, i)
		} else {
			shaky = append(shaky, i)
		}
	}
	if len(firm) == 0 {
		i := s.add(&Instance{Process: l.Process, App: l.App, Version: l.Version, Index: index, MemoryMB: l.MemoryMB, DiskMB: l.DiskMB})
		if len(shaky) > 0 {
			i.Crashes = shaky[0].Crashes
		}
		firm = append(firm, i)
	}
	slices.SortStableFunc(firm, better)
	for _, i := range firm[1:] {
		s.stop(i, "started twice")
	}
	for _, i := range shaky {
		if firm[0].up() {
			s.stop(i, "moved")
		}
	}
}

// better sorts the instance that should keep a slot first.
func better(a, b *Instance) int {
	return cmp.Or(cmp.Compare(b.rank(), a.rank()), a.Created.Compare(b.Created), strings.Compare(a.GUID, b.GUID))
}

func (i *Instance) rank() int {
	switch {
	case i.up():
		return 4
	case i.Phase == Running:
		return 3
	case i.Phase == Starting:
		return 2
	case i.Cell != "":
		return 1
	}
	return 0
}

// add makes an instance that waits to be placed.
func (s *State) add(i *Instance) *Instance {
	i.GUID, i.Created, i.NotBefore, i.Since = s.newGUID(), s.now, s.now, s.now
	s.Instances[i.GUID] = i
	return i
}

// ended deals with the end of an instance: it was wanted, it is a task's, or
// it crashed and another one takes its slot.
func (s *State) ended(i *Instance, exit Exit) {
	switch l := s.LRPs[i.Process]; {
	case i.Task != "":
		s.drop(i, "ended")
		s.endTask(i.Task, failure(exit, i.Stopping))
	case i.Stopping || l == nil || l.Version != i.Version || i.Index >= l.wanted():
		s.drop(i, "ended")
	default:
		s.crashed(i, exit)
	}
}

func (s *State) crashed(i *Instance, exit Exit) {
	count := i.Crashes + 1
	if i.Phase == Running && s.now.Sub(i.Since) >= forgetful {
		count = 1
	}
	next := *i
	i.Since = s.now
	s.drop(i, "crashed")
	n := s.add(&Instance{Process: next.Process, App: next.App, Version: next.Version, Index: next.Index, MemoryMB: next.MemoryMB, DiskMB: next.DiskMB,
		Crashes: count, Problem: exit.Description})
	n.NotBefore = s.now.Add(Pause(count))
	again := n.NotBefore
	if count > maxCrashes {
		again = time.Time{}
		n.Problem = "given up: " + exit.Description
	}
	s.act(Crashed{*i, exit, count, again})
	if count > atOnce {
		s.put(n, "wait")
	}
}
