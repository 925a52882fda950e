package cf

import "time"

// Step is one step of an instance's boot timeline: how long after its placement
// it was done.
type Step struct {
	Name  string        `json:"name"`
	After time.Duration `json:"after"` // ns
}

// Crash is what is kept of an instance that ended and should not have; its guid
// is the instance's. Its cell writes it, and keeps the newest few of an app.
type Crash struct {
	Meta
	AppGUID     string    `json:"app_guid"`
	ProcessGUID string    `json:"process_guid,omitempty"`
	TaskGUID    string    `json:"task_guid,omitempty"`
	Type        string    `json:"type"` // of the process; a task's name
	Index       int       `json:"index"`
	Version     string    `json:"version,omitempty"`
	CellID      string    `json:"cell_id"`
	Tender      string    `json:"tender"`
	Droplet     string    `json:"droplet"` // digest
	Began       time.Time `json:"began"`
	Ended       time.Time `json:"ended"`
	Reason      string    `json:"reason"` // one word: see the constants
	Description string    `json:"exit_description"`
	Status      int       `json:"exit_status"`
	CPUSeconds  float64   `json:"cpu_seconds"`
	PeakMemory  int64     `json:"peak_memory_bytes"` // 0: not known
	Boot        []Step    `json:"boot,omitempty"`
	Reports     []string  `json:"reports,omitempty"` // of the library OS
	// Stack is from where the Go runtime began to say why it ends the program;
	// Console is what was written last, by whomever. Both may hold any bytes
	// that are UTF-8, and are cut to some KiB.
	Stack   string `json:"stack,omitempty"`
	Console string `json:"console,omitempty"`
}

func (*Crash) Noun() Noun { return "crashes" }
func (c *Crash) Keys() Keys {
	return Keys{"app_guid": ref(c.AppGUID)}
}

// The reasons of a Crash.
const (
	CrashExited      = "exited"      // by itself, see Status
	CrashPanic       = "panic"       // the Go runtime ended it
	CrashFault       = "fault"       // a signal that nobody handled
	CrashMemory      = "memory"      // it passed its limit
	CrashForbidden   = "forbidden"   // a call that the wall does not let through
	CrashUnhealthy   = "unhealthy"   // its health check failed
	CrashKilled      = "killed"      // by somebody on the host
	CrashNotStarted  = "not-started" // there never was a guest
	CrashHostFailure = "host"        // the guest is not to blame
)
