package scheduler

import (
	"fmt"
	"time"
)

// Action is what should be done: Put, Drop, Crashed, Scale, Rolled, Finished,
// TaskRuns, TaskEnded or Wake. Its text is for logs and tests.
type Action interface{ fmt.Stringer }

// Put keeps an instance as it is now. Why is one word: place, wait, stop or
// restart.
type Put struct {
	Instance Instance
	Why      string
}

// Drop forgets an instance.
type Drop struct {
	Instance Instance
	Why      string
}

// Crashed tells that an instance ended that should not have. Count is how
// often that happened to its slot in a row.
type Crashed struct {
	Instance Instance
	Exit     Exit
	Count    int
	Again    time.Time // when it is started again; zero: never
}

// Scale sets how many instances a process has.
type Scale struct {
	Process   string
	Instances int
}

// Rolled tells how far a deployment is.
type Rolled struct{ Deployment Deployment }

// Finished ends a deployment: DEPLOYED or CANCELED.
type Finished struct {
	Deployment Deployment
	Reason     string
}

// TaskRuns tells that a task has begun.
type TaskRuns struct{ GUID string }

// TaskEnded ends a task. Failure is empty when it succeeded.
type TaskEnded struct{ GUID, Failure string }

// Wake asks for a Step at that time if nothing happens before.
type Wake struct{ At time.Time }

func (i *Instance) name() string {
	if i.Task != "" {
		return fmt.Sprintf("task %s #%s", i.Task, i.GUID)
	}
	return fmt.Sprintf("%s@%s/%d #%s", i.Process, i.Version, i.Index, i.GUID)
}

func (a Put) String() string {
	i := &a.Instance
	switch a.Why {
	case "place":
		return fmt.Sprintf("place %s on %s", i.name(), i.Cell)
	case "stop":
		return fmt.Sprintf("stop %s on %s: %s", i.name(), i.Cell, i.Problem)
	}
	return fmt.Sprintf("%s %s: %s", a.Why, i.name(), i.Problem)
}

func (a Drop) String() string { return fmt.Sprintf("drop %s: %s", a.Instance.name(), a.Why) }

func (a Crashed) String() string {
	again := "at once"
	switch {
	case a.Again.IsZero():
		again = "never"
	case a.Again.After(a.Instance.Since):
		again = "after " + a.Again.Sub(a.Instance.Since).String()
	}
	return fmt.Sprintf("crashed %s: %s, crash %d, again %s", a.Instance.name(), a.Exit.Description, a.Count, again)
}

func (a Scale) String() string { return fmt.Sprintf("scale %s to %d", a.Process, a.Instances) }

func (a Rolled) String() string {
	d := &a.Deployment
	state := "deploying"
	switch {
	case d.Canceling:
		state = "canceling"
	case d.Paused:
		state = "paused"
	}
	return fmt.Sprintf("deployment %s: %s step=%d up=%d crashed=%d", d.GUID, state, d.Step, d.Up, d.Down)
}

func (a Finished) String() string {
	return fmt.Sprintf("deployment %s: %s", a.Deployment.GUID, a.Reason)
}
func (a TaskRuns) String() string { return fmt.Sprintf("task %s runs", a.GUID) }
func (a Wake) String() string     { return "wake at " + a.At.UTC().Format(time.TimeOnly) }
func (a TaskEnded) String() string {
	if a.Failure == "" {
		return fmt.Sprintf("task %s succeeded", a.GUID)
	}
	return fmt.Sprintf("task %s failed: %s", a.GUID, a.Failure)
}
