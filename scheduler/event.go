package scheduler

// Event is news: Heard, Forget, Desire, Undesire, Status, Restart, Deploy,
// Undeploy, Run or Unrun. Time passing is a Step without events.
type Event interface{ apply(*State) }

// Heard is a sign of life of a cell.
type Heard struct{ Cell Cell }

// Forget takes a cell out for good.
type Forget struct{ Cell string }

// Desire says what a process should be.
type Desire struct{ LRP LRP }

// Undesire says that a process is no more.
type Undesire struct{ Process string }

// Status is what a cell says of an instance.
type Status struct {
	GUID     string
	Phase    Phase
	Routable bool
	Exit     Exit // when it has ended
}

// Exit is how an instance ended.
type Exit struct {
	Status      int
	Description string
}

// Restart ends one instance, whose place is then filled again at once.
type Restart struct {
	Process string
	Index   int
}

// Deploy says what a deployment should do. What Step writes in it is ignored
// when the deployment is known.
type Deploy struct{ Deployment Deployment }

// Undeploy says that a deployment is over, whoever ended it.
type Undeploy struct{ GUID string }

// Run says that a task should run, or be cancelled.
type Run struct{ Task Task }

// Unrun says that a task is no more.
type Unrun struct{ GUID string }

func (e Heard) apply(s *State) {
	c := e.Cell
	c.Heard = s.now
	s.Cells[c.ID] = &c
}

func (e Forget) apply(s *State) { delete(s.Cells, e.Cell) }

func (e Desire) apply(s *State) {
	l := e.LRP
	s.LRPs[l.Process] = &l
}

func (e Undesire) apply(s *State) { delete(s.LRPs, e.Process) }

func (e Deploy) apply(s *State) {
	d := e.Deployment
	if known := s.Deployments[d.GUID]; known != nil {
		d.Paused, d.Up, d.Down = known.Paused, known.Up, known.Down
		if d.Step != known.Step || d.Pausing != known.Pausing || d.Canceling != known.Canceling {
			d.Paused = false
		}
	}
	s.Deployments[d.GUID] = &d
}

func (e Undeploy) apply(s *State) { delete(s.Deployments, e.GUID) }

func (e Run) apply(s *State) {
	t := e.Task
	s.Tasks[t.GUID] = &t
}

func (e Unrun) apply(s *State) { delete(s.Tasks, e.GUID) }

func (e Status) apply(s *State) {
	i := s.Instances[e.GUID]
	if i == nil || i.Cell == "" || i.Phase > e.Phase {
		return // news from before the last news
	}
	if e.Phase == Ended {
		s.ended(i, e.Exit)
		return
	}
	if i.Phase == e.Phase && i.Routable == e.Routable {
		return
	}
	if i.Phase != e.Phase {
		i.Phase, i.Since = e.Phase, s.now
		if i.Task != "" {
			s.act(TaskRuns{i.Task})
		}
	}
	i.Routable = e.Routable
}

func (e Restart) apply(s *State) {
	for _, i := range s.sorted() {
		if i.Process != e.Process || i.Index != e.Index || i.Stopping {
			continue
		}
		i.Crashes, i.NotBefore = 0, s.now
		if i.Cell != "" {
			s.stop(i, "restart")
		} else {
			s.put(i, "restart")
		}
	}
}
