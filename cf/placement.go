package cf

import "time"

// Cell is a host that runs instances. Its guid is its name. The cell itself
// writes it; Leaving is the operator's.
type Cell struct {
	Meta
	Zone     string `json:"zone"`
	MemoryMB int    `json:"memory_in_mb"` // what its instances may use in all
	DiskMB   int    `json:"disk_in_mb"`
	// Tenders are the kinds of tender that it has, the one it prefers first.
	Tenders []string `json:"tenders,omitempty"`
	// Guests is the network in which its instances have their addresses.
	Guests  string `json:"guests,omitempty"`
	Beat    int64  `json:"beat"` // rises while the cell lives; no clock is compared
	Leaving bool   `json:"leaving,omitempty"`
}

func (*Cell) Noun() Noun   { return "cells" }
func (c *Cell) Keys() Keys { return Keys{"zone": c.Zone} }

// Placement is one instance as the scheduler wants it; its guid is the
// instance's. Only the scheduler's leader writes it. A cell runs exactly what
// its placements say: what has none, or a Stopping one, is ended.
type Placement struct {
	Meta
	ProcessGUID string    `json:"process_guid,omitempty"`
	Version     string    `json:"version,omitempty"`
	Index       int       `json:"index"`
	TaskGUID    string    `json:"task_guid,omitempty"` // then there is no process
	AppGUID     string    `json:"app_guid"`
	SpaceGUID   string    `json:"space_guid,omitempty"`
	Type        string    `json:"type"` // of the process; a task's name
	MemoryMB    int       `json:"memory_in_mb"`
	DiskMB      int       `json:"disk_in_mb"`
	CellID      string    `json:"cell_id,omitempty"` // "": it waits
	Stopping    bool      `json:"stopping,omitempty"`
	Crashes     int       `json:"crashes,omitempty"` // in a row, of those before it
	Waits       time.Time `json:"waits,omitzero"`    // until when
	Problem     string    `json:"problem,omitempty"` // why it waits or stops, for people
	Launch      *Launch   `json:"launch,omitempty"`  // set when it has a cell
}

func (*Placement) Noun() Noun { return "placements" }
func (p *Placement) Keys() Keys {
	return Keys{"process_guid": ref(p.ProcessGUID), "app_guid": ref(p.AppGUID), "task_guid": ref(p.TaskGUID), "cell_id": ref(p.CellID)}
}

// Report is what a cell says of an instance; its guid is the instance's. Only
// the instance's cell writes it. The cell takes it away once the placement is
// gone.
type Report struct {
	Meta
	CellID   string    `json:"cell_id"`
	AppGUID  string    `json:"app_guid"`
	State    string    `json:"state"` // STARTING, RUNNING or ENDED
	Routable bool      `json:"routable"`
	Since    time.Time `json:"since"` // of State
	Address  string    `json:"address,omitempty"`
	Host     string    `json:"host,omitempty"` // how routers reach the cell
	Details  string    `json:"details,omitempty"`
	Status   int       `json:"exit_status,omitempty"` // when ENDED, as a shell would say it
	Boot     []Step    `json:"boot,omitempty"`        // while RUNNING: how it came up
}

func (*Report) Noun() Noun { return "reports" }
func (r *Report) Keys() Keys {
	return Keys{"cell_id": ref(r.CellID), "app_guid": ref(r.AppGUID), "state": r.State}
}

// The states of instances. A Report says the first three.
const (
	InstanceStarting = "STARTING"
	InstanceRunning  = "RUNNING"
	InstanceEnded    = "ENDED"
	InstanceCrashed  = "CRASHED"
	InstanceStopping = "STOPPING"
	InstanceDown     = "DOWN"
)

// Lease is the right to do what only one may do; its guid names what. Whoever
// holds it raises Beat; another takes it over, with the next Token, once Beat
// has not moved for long by its own clock. What is done under a lease is
// written in a transaction that finds the same Token.
type Lease struct {
	Meta
	Holder string `json:"holder"`
	Token  int64  `json:"token"`
	Beat   int64  `json:"beat"`
}

func (*Lease) Noun() Noun { return "leases" }
func (*Lease) Keys() Keys { return Keys{} }

// SchedulerLease is the guid of the scheduler's lease.
const SchedulerLease = "scheduler"

// Usage is what an instance uses, as seen from outside of it.
type Usage struct {
	CPU         float64 `json:"cpu"`      // of one core
	Entitled    float64 `json:"entitled"` // how much of one core its memory entitles it to
	MemoryBytes int64   `json:"memory_bytes"`
	DiskBytes   int64   `json:"disk_bytes"`
	LogRate     int64   `json:"log_rate"` // bytes a second
}

// Restart asks the scheduler to end an instance, whose place is then filled
// again; its guid is the instance's. The scheduler takes it away when that is
// under way.
type Restart struct{ Meta }

func (*Restart) Noun() Noun { return "restarts" }
func (*Restart) Keys() Keys { return Keys{} }
