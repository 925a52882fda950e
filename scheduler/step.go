package scheduler

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// LostAfter is how long a cell may be silent before its instances are started
// elsewhere.
const LostAfter = 30 * time.Second

// Step takes news in and returns what should be done. Time must not go back
// between Steps.
func (s *State) Step(now time.Time, events ...Event) []Action {
	s.now, s.actions = now, nil
	for _, e := range events {
		e.apply(s)
	}
	s.roll()
	s.fill()
	s.runTasks()
	s.place()
	if at := s.next(); !at.IsZero() {
		s.act(Wake{at})
	}
	return s.actions
}

func (s *State) act(a Action) { s.actions = append(s.actions, a) }

func (s *State) put(i *Instance, why string) { s.act(Put{*i, why}) }

func (s *State) drop(i *Instance, why string) {
	delete(s.Instances, i.GUID)
	s.act(Drop{*i, why})
}

// stop lets go of an instance: at once when no cell can be running it.
func (s *State) stop(i *Instance, why string) {
	switch {
	case i.Cell == "" || s.lost(i.Cell):
		s.drop(i, why)
	case !i.Stopping:
		i.Stopping, i.Routable, i.Problem = true, false, why
		s.put(i, "stop")
	}
}

// lost tells whether a cell is not there, or has been silent too long. What it
// still runs it stops by itself when it comes back and finds no record of it.
func (s *State) lost(cell string) bool {
	c := s.Cells[cell]
	return c == nil || s.now.Sub(c.Heard) >= LostAfter
}

// firm tells whether an instance may stay where it is.
func (s *State) firm(i *Instance) bool {
	return i.Cell == "" || !s.lost(i.Cell) && !s.Cells[i.Cell].Leaving
}

// sorted are the instances in an order that depends on nothing but what they
// are.
func (s *State) sorted() []*Instance {
	list := make([]*Instance, 0, len(s.Instances))
	for _, i := range s.Instances {
		list = append(list, i)
	}
	slices.SortFunc(list, func(a, b *Instance) int {
		return cmp.Or(strings.Compare(a.Process, b.Process), strings.Compare(a.Task, b.Task), cmp.Compare(a.Index, b.Index),
			a.Created.Compare(b.Created), strings.Compare(a.GUID, b.GUID))
	})
	return list
}

// keys are the keys of a map, sorted.
func keys[T any](m map[string]T) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// next is when something changes by time alone: a wait ends or a cell is lost.
func (s *State) next() time.Time {
	var at time.Time
	consider := func(t time.Time) {
		if t.After(s.now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for _, i := range s.Instances {
		if i.Cell == "" && i.Crashes <= maxCrashes {
			consider(i.NotBefore)
		}
		if i.Cell == "" && i.Task != "" {
			consider(i.Created.Add(taskPatience))
		}
	}
	for _, c := range s.Cells {
		consider(c.Heard.Add(LostAfter))
	}
	return at
}
