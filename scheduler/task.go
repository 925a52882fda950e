package scheduler

import (
	"fmt"
	"time"
)

// taskPatience is how long a task waits for room before it fails: who runs it
// waits for its end.
const taskPatience = 2 * time.Minute

// runTasks gives every task its instance, once.
func (s *State) runTasks() {
	has := map[string]*Instance{}
	for _, i := range s.sorted() {
		if i.Task == "" {
			continue
		}
		has[i.Task] = i
		switch t := s.Tasks[i.Task]; {
		case t == nil:
			s.stop(i, "not wanted any more")
		case t.Canceling:
			s.cancel(i)
		case i.Cell != "" && s.lost(i.Cell):
			s.drop(i, "its cell is lost")
			s.endTask(t.GUID, "the cell that ran it is lost")
		case i.Cell == "" && s.now.Sub(i.Created) >= taskPatience:
			s.drop(i, "waited too long")
			s.endTask(t.GUID, i.Problem)
		}
	}
	for _, guid := range keys(s.Tasks) {
		t := s.Tasks[guid]
		switch {
		case has[guid] != nil:
		case t.Canceling:
			s.endTask(guid, cancelled)
		default:
			s.add(&Instance{Task: guid, App: t.App, MemoryMB: t.MemoryMB, DiskMB: t.DiskMB})
		}
	}
}

const cancelled = "task was cancelled"

func (s *State) cancel(i *Instance) {
	s.stop(i, cancelled)
	if s.Instances[i.GUID] == nil { // it was on no cell
		s.endTask(i.Task, cancelled)
	}
}

func (s *State) endTask(guid, failure string) {
	if s.Tasks[guid] != nil {
		delete(s.Tasks, guid)
		s.act(TaskEnded{guid, failure})
	}
}

func failure(e Exit, stopped bool) string {
	switch {
	case stopped:
		return cancelled
	case e.Status == 0: // a cell describes this end too
		return ""
	case e.Description != "":
		return e.Description
	}
	return fmt.Sprintf("Exited with status %d", e.Status)
}
