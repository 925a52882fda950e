package scheduler

import (
	"cmp"
	"slices"
	"strings"
)

// web is the type of process that deployments replace.
const web = "web"

// roll moves instances between the old and the new processes of every
// deployment. It only ever changes how many each should have: fill does the
// rest.
func (s *State) roll() {
	for _, guid := range keys(s.Deployments) {
		d := s.Deployments[guid]
		n := s.LRPs[d.New]
		if n == nil || n.Stopped {
			continue // the app is stopped, or its processes are not known yet
		}
		before := *d
		d.Up, d.Down = s.count(n)
		if d.Canceling {
			s.rollBack(d, n)
		} else {
			s.rollOn(d, n)
		}
		if d := s.Deployments[guid]; d != nil && !same(&before, d) {
			s.act(Rolled{*d})
		}
	}
}

func same(a, b *Deployment) bool {
	return a.Paused == b.Paused && a.Up == b.Up && a.Down == b.Down
}

// count tells how many instances of a process serve, and how many of its slots
// do not after a crash.
func (s *State) count(l *LRP) (up, crashed int) {
	for _, i := range s.Instances {
		if i.Process != l.Process || i.Version != l.Version || i.Stopping || i.Index >= l.wanted() {
			continue
		}
		if i.up() {
			up++
		} else if i.Crashes > 0 {
			crashed++
		}
	}
	return up, crashed
}

// olds are the other web processes of the app: what an overtaken deployment
// left first, the app's own last.
func (s *State) olds(d *Deployment) []*LRP {
	var list []*LRP
	for _, p := range keys(s.LRPs) {
		if l := s.LRPs[p]; l.App == d.App && l.Type == web && l.Process != d.New {
			list = append(list, l)
		}
	}
	slices.SortStableFunc(list, func(a, b *LRP) int {
		return cmp.Or(-cmp.Compare(rankOld(a), rankOld(b)), strings.Compare(a.Process, b.Process))
	})
	return list
}

func rankOld(l *LRP) int {
	if l.Interim {
		return 1
	}
	return 0
}

// goal is how many instances the new process should reach before the
// deployment pauses or is done, and how many the old ones may keep meanwhile.
func (d *Deployment) goal() (n, old int, pauses bool) {
	if d.Strategy != "canary" || !d.Pausing {
		return d.Target, 0, false
	}
	return min(d.Canary, d.Target), d.Keep, true
}

func (s *State) rollOn(d *Deployment, n *LRP) {
	goal, keep, pauses := d.goal()
	flight := max(1, d.MaxInFlight)
	olds := s.olds(d)
	if d.Strategy == "recreate" {
		s.shrink(olds, 0)
		if s.remains(olds) {
			return
		}
		flight = goal
	}
	starting := n.Instances - d.Up - d.Down
	if n.Instances < goal && starting < flight && d.Down == 0 {
		s.scale(n, max(n.Instances, min(goal, d.Up+flight)))
	}
	if n.Instances > goal {
		s.scale(n, goal)
	}
	s.shrink(olds, max(keep, d.Target-d.Up))
	if d.Up < goal {
		return
	}
	if pauses {
		d.Paused = true
		return
	}
	if total(olds) == 0 {
		delete(s.Deployments, d.GUID)
		s.act(Finished{*d, "DEPLOYED"})
	}
}

// rollBack gives the app's own process its instances back, and takes the
// others away as those serve.
func (s *State) rollBack(d *Deployment, n *LRP) {
	olds := s.olds(d)
	if len(olds) == 0 { // there is nothing to go back to
		delete(s.Deployments, d.GUID)
		s.act(Finished{*d, "CANCELED"})
		return
	}
	own := olds[len(olds)-1]
	s.scale(own, d.Original)
	up, _ := s.count(own)
	rest := append([]*LRP{n}, olds[:len(olds)-1]...)
	keep := max(0, d.Original-up)
	if d.Up == 0 {
		s.scale(n, 0)
	}
	s.shrink(rest, keep)
	if total(rest) == 0 {
		delete(s.Deployments, d.GUID)
		s.act(Finished{*d, "CANCELED"})
	}
}

// shrink takes instances from processes, the first one first, until no more
// than so many are left in all. It never adds.
func (s *State) shrink(list []*LRP, keep int) {
	over := total(list) - keep
	for _, l := range list {
		if over <= 0 {
			return
		}
		take := min(over, l.Instances)
		s.scale(l, l.Instances-take)
		over -= take
	}
}

func total(list []*LRP) int {
	n := 0
	for _, l := range list {
		n += l.Instances
	}
	return n
}

// remains tells whether instances of these processes are still there.
func (s *State) remains(list []*LRP) bool {
	for _, i := range s.Instances {
		if i.Cell != "" && slices.ContainsFunc(list, func(l *LRP) bool { return l.Process == i.Process }) {
			return true
		}
	}
	return false
}

func (s *State) scale(l *LRP, instances int) {
	if l.Instances != instances {
		l.Instances = instances
		s.act(Scale{l.Process, instances})
	}
}
