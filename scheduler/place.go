package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// room is what placement knows of a cell.
type room struct {
	*Cell
	memory, disk int            // free
	has          map[string]int // instances by process
}

// place gives cells to the instances that wait, those of low index first, so
// that every process has one before any has all.
func (s *State) place() {
	waiting := slices.DeleteFunc(s.sorted(), func(i *Instance) bool {
		return i.Cell != "" || i.NotBefore.After(s.now) || i.Crashes > maxCrashes
	})
	if len(waiting) == 0 {
		return
	}
	slices.SortStableFunc(waiting, func(a, b *Instance) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(b.MemoryMB, a.MemoryMB))
	})
	rooms := s.rooms()
	for _, i := range waiting {
		r, problem := choose(rooms, i, s.tender(i))
		if r == nil {
			if i.Problem != problem {
				i.Problem = problem
				s.put(i, "wait")
			}
			continue
		}
		r.memory -= i.MemoryMB
		r.disk -= i.DiskMB
		r.has[i.Process]++
		i.Cell, i.Problem, i.Since = r.ID, "", s.now
		s.put(i, "place")
	}
}

// rooms are the cells that take instances, in the order of their names.
func (s *State) rooms() []*room {
	by := map[string]*room{}
	var list []*room
	for _, id := range keys(s.Cells) {
		if c := s.Cells[id]; !c.Leaving && !s.lost(id) {
			by[id] = &room{c, c.MemoryMB, c.DiskMB, map[string]int{}}
			list = append(list, by[id])
		}
	}
	for _, i := range s.Instances {
		if r := by[i.Cell]; r != nil {
			r.memory -= i.MemoryMB
			r.disk -= i.DiskMB
			if !i.Stopping {
				r.has[i.Process]++
			}
		}
	}
	return list
}

// tender is the kind that an instance wants; "" is any.
func (s *State) tender(i *Instance) string {
	if t := s.Tasks[i.Task]; t != nil {
		return t.Tender
	}
	if l := s.LRPs[i.Process]; l != nil {
		return l.Tender
	}
	return ""
}

// choose finds the cell for an instance: in the zone with the fewest of its
// process, there on the cell with the fewest, and of these the one that it
// fills best, so that large instances still find room elsewhere.
func choose(rooms []*room, i *Instance, tender string) (*room, string) {
	if len(rooms) == 0 {
		return nil, "no cell is there to run it"
	}
	if tender != "" {
		rooms = slices.DeleteFunc(slices.Clone(rooms), func(r *room) bool { return !slices.Contains(r.Tenders, tender) })
		if len(rooms) == 0 {
			return nil, fmt.Sprintf("no cell has a tender of kind %q", tender)
		}
	}
	zones := map[string]int{}
	for _, r := range rooms {
		zones[r.Zone] += r.has[i.Process]
	}
	var best *room
	disk := true // only disk is missing
	for _, r := range rooms {
		disk = disk && (r.memory < i.MemoryMB || r.disk < i.DiskMB) && r.memory >= i.MemoryMB
		if r.memory < i.MemoryMB || r.disk < i.DiskMB {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(zones[r.Zone], zones[best.Zone]), cmp.Compare(r.has[i.Process], best.has[i.Process]),
			cmp.Compare(r.memory, best.memory), strings.Compare(r.ID, best.ID)) < 0 {
			best = r
		}
	}
	switch {
	case best != nil:
		return best, ""
	case disk:
		return nil, "insufficient resources: disk"
	}
	return nil, "insufficient resources: memory"
}
