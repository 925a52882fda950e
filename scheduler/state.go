package scheduler

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// Cell is a host that runs instances.
type Cell struct {
	ID, Zone         string
	MemoryMB, DiskMB int       // what instances may use in all
	Tenders          []string  // kinds that it has
	Heard            time.Time // last sign of life
	Leaving          bool      // takes nothing new; what it has moves away
}

// LRP is a process as it should be: so many instances of one version.
type LRP struct {
	Process, App, Type, Version string
	Interim                     bool // made by a deployment that has not ended
	Stopped                     bool // nothing of it should run now
	Instances                   int
	MemoryMB, DiskMB            int    // of one instance
	Tender                      string // kind that it wants; "": any
}

// wanted is how many instances should run now.
func (l *LRP) wanted() int {
	if l.Stopped {
		return 0
	}
	return l.Instances
}

// Task is one run of a program that ends by itself.
type Task struct {
	GUID, App        string
	MemoryMB, DiskMB int
	Tender           string // kind that it wants; "": any
	Canceling        bool
}

// Phase is how far an instance is, as its cell says.
type Phase uint8

// The phases. An instance that no cell has spoken of is Unknown.
const (
	Unknown Phase = iota
	Starting
	Running
	Ended
)

func (p Phase) String() string { return [...]string{"unknown", "starting", "running", "ended"}[p] }

// Instance is one instance of an LRP, or the one of a task.
type Instance struct {
	GUID             string
	Process, Version string
	Index            int
	Task             string // then there is no process
	App              string
	MemoryMB, DiskMB int
	Created          time.Time

	Cell      string    // where it was placed; "" while it waits
	Stopping  bool      // it should end
	Crashes   int       // in a row, of those that had its slot before it
	NotBefore time.Time // it waits until then
	Problem   string    // why it waits, for people

	Phase    Phase
	Routable bool
	Since    time.Time // of Phase, or of the crash that it waits after
}

// up tells whether it serves.
func (i *Instance) up() bool { return i.Phase == Running && i.Routable && !i.Stopping }

// Deployment replaces the web instances of an app by those of process New.
type Deployment struct {
	GUID, App, New string
	Strategy       string // rolling, canary or recreate
	Target         int    // instances of New at the end
	Original       int    // instances of the old process, to go back to
	MaxInFlight    int    // instances of New that may be starting at a time
	Canary, Keep   int    // at the present step: instances of New, and how many the old ones keep
	Step           int    // of a canary, from 1
	Pausing        bool   // it pauses when the step is reached
	Canceling      bool
	Paused         bool // written by Step
	Up, Down       int  // instances of New that serve, and that crashed; written by Step
}

// State is all that the scheduler knows. Make one with New.
type State struct {
	Cells       map[string]*Cell
	LRPs        map[string]*LRP // by process
	Instances   map[string]*Instance
	Deployments map[string]*Deployment
	Tasks       map[string]*Task

	seed    [32]byte
	made    uint64 // instances so far
	now     time.Time
	actions []Action
}

// New is an empty state. The seed makes the GUIDs of the instances: it must
// never be used twice.
func New(seed [32]byte) *State {
	return &State{Cells: map[string]*Cell{}, LRPs: map[string]*LRP{}, Instances: map[string]*Instance{},
		Deployments: map[string]*Deployment{}, Tasks: map[string]*Task{}, seed: seed}
}

// newGUID is the next UUID of the seed (RFC 9562, version 8: made in a way of
// its own).
func (s *State) newGUID() string {
	s.made++
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(s.seed[:], s.made))
	b := sum[:16]
	b[6] = b[6]&0x0f | 0x80
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
