package cf

import "time"

// App is what a team pushes: a name in a space, its wanted state and what its
// processes share.
type App struct {
	Meta
	Name        string            `json:"name"`
	SpaceGUID   string            `json:"space_guid"`
	State       string            `json:"state"` // STARTED or STOPPED
	Lifecycle   string            `json:"lifecycle"`
	Buildpacks  []string          `json:"buildpacks,omitempty"`
	Stack       string            `json:"stack"`
	DropletGUID string            `json:"droplet_guid,omitempty"`
	Env         map[string]string `json:"env,omitempty"`
	Features    map[string]bool   `json:"features,omitempty"`
}

// The wanted states of an app.
const (
	Started = "STARTED"
	Stopped = "STOPPED"
)

func (*App) Noun() Noun { return "apps" }
func (a *App) Keys() Keys {
	return Keys{"name": a.Name, "space_guid": ref(a.SpaceGUID), "state": a.State, "lifecycle": a.Lifecycle, "stack": a.Stack, "droplet_guid": ref(a.DropletGUID)}
}

// HealthCheck decides whether an instance lives, or whether it gets traffic.
// Times are seconds; 0 is the platform's default.
type HealthCheck struct {
	Type              string `json:"type"`
	Timeout           int    `json:"timeout,omitempty"`
	InvocationTimeout int    `json:"invocation_timeout,omitempty"`
	Interval          int    `json:"interval,omitempty"`
	Endpoint          string `json:"endpoint,omitempty"`
}

// Process is one sort of instance of an app. LogRate -1 is unlimited. Its
// settings are wishes for the next start; what runs now is Launch.
type Process struct {
	Meta
	AppGUID   string      `json:"app_guid"`
	SpaceGUID string      `json:"space_guid"`
	Type      string      `json:"type"`
	Command   *string     `json:"command"`
	Instances int         `json:"instances"`
	MemoryMB  int         `json:"memory_in_mb"`
	DiskMB    int         `json:"disk_in_mb"`
	LogRate   int64       `json:"log_rate_limit"`
	Health    HealthCheck `json:"health_check"`
	Readiness HealthCheck `json:"readiness_health_check"`
	// DeploymentGUID is set on the process that a deployment brings up beside
	// the one of the same type that it replaces.
	DeploymentGUID string `json:"deployment_guid,omitempty"`
	// Version is new at each start: instances of another version are replaced.
	Version string `json:"version"`
	// Launch is nil until the app was started once.
	Launch *Launch `json:"launch,omitempty"`
}

func (*Process) Noun() Noun { return "processes" }
func (p *Process) Keys() Keys {
	return Keys{"app_guid": ref(p.AppGUID), "space_guid": ref(p.SpaceGUID), "type": p.Type, "deployment_guid": ref(p.DeploymentGUID)}
}

// Package is an upload: bits waiting for, or after, their bytes.
type Package struct {
	Meta
	AppGUID   string `json:"app_guid"`
	SpaceGUID string `json:"space_guid"`
	Type      string `json:"type"`
	State     string `json:"state"`
	Checksum  string `json:"checksum,omitempty"` // SHA-256, hex
	Bytes     int64  `json:"bytes,omitempty"`    // of its bits, as they are kept
	Error     string `json:"error,omitempty"`
}

func (*Package) Noun() Noun { return "packages" }
func (p *Package) Keys() Keys {
	return Keys{"app_guid": ref(p.AppGUID), "space_guid": ref(p.SpaceGUID), "type": p.Type, "state": p.State}
}

// Build is one run of the stager.
type Build struct {
	Meta
	AppGUID     string `json:"app_guid"`
	SpaceGUID   string `json:"space_guid"`
	PackageGUID string `json:"package_guid"`
	DropletGUID string `json:"droplet_guid,omitempty"`
	State       string `json:"state"` // STAGING, STAGED, FAILED
	Error       string `json:"error,omitempty"`
	MemoryMB    int    `json:"staging_memory_in_mb"`
	DiskMB      int    `json:"staging_disk_in_mb"`
	CreatedBy   Actor  `json:"created_by"`
}

func (*Build) Noun() Noun { return "builds" }
func (b *Build) Keys() Keys {
	return Keys{"app_guid": ref(b.AppGUID), "space_guid": ref(b.SpaceGUID), "package_guid": b.PackageGUID, "droplet_guid": ref(b.DropletGUID), "state": b.State}
}

// Droplet is a staged package. Checksum is the SHA-256 of its bytes, hex.
type Droplet struct {
	Meta
	AppGUID      string            `json:"app_guid"`
	SpaceGUID    string            `json:"space_guid"`
	PackageGUID  string            `json:"package_guid,omitempty"`
	State        string            `json:"state"`
	Error        string            `json:"error,omitempty"`
	Stack        string            `json:"stack"`
	Checksum     string            `json:"checksum,omitempty"`
	Bytes        int64             `json:"bytes,omitempty"` // of the whole, however much other droplets share
	ProcessTypes map[string]string `json:"process_types,omitempty"`
	Builder      string            `json:"builder,omitempty"` // toolchain that made it, for people to read
}

func (*Droplet) Noun() Noun { return "droplets" }
func (d *Droplet) Keys() Keys {
	return Keys{"app_guid": ref(d.AppGUID), "space_guid": ref(d.SpaceGUID), "package_guid": ref(d.PackageGUID), "state": d.State}
}

// Deployment replaces an app's instances without stopping all of them.
//
// The API makes it together with its new web process (Process.DeploymentGUID)
// and moves it by wishes only: ACTIVE/DEPLOYING at the start and after
// continue, ACTIVE/CANCELING after cancel, FINALIZED/SUPERSEDED when another
// one takes over, whose new process then stands beside what this one left.
// The runtime moves instances between the processes, pauses a canary
// (ACTIVE/PAUSED), and ends it: DEPLOYED takes the old web process away and
// clears the new one's DeploymentGUID; CANCELED takes the new one away.
type Deployment struct {
	Meta
	AppGUID          string    `json:"app_guid"`
	SpaceGUID        string    `json:"space_guid"`
	Strategy         string    `json:"strategy"`      // rolling, canary or recreate
	Status           string    `json:"status_value"`  // ACTIVE or FINALIZED
	Reason           string    `json:"status_reason"` // DEPLOYING, PAUSED, CANCELING, DEPLOYED, CANCELED, SUPERSEDED
	ChangedAt        time.Time `json:"changed_at"`    // when Status or Reason last changed
	Error            string    `json:"error,omitempty"`
	DropletGUID      string    `json:"droplet_guid"`
	PreviousDroplet  string    `json:"previous_droplet_guid,omitempty"`
	RevisionGUID     string    `json:"revision_guid,omitempty"`
	RevisionVersion  int       `json:"revision_version,omitempty"`
	PreviousRevision string    `json:"previous_revision_guid,omitempty"`
	ProcessGUID      string    `json:"process_guid"` // the new web process
	Original         int       `json:"original_instances"`
	Target           int       `json:"target_instances"` // of the new web process at the end
	MaxInFlight      int       `json:"max_in_flight"`
	// CanarySteps are weights in percent, rising; with none the only step is one
	// instance. CanaryStep is the one to reach next, from 1. When it is reached
	// the runtime pauses if Pausing, else it rolls on to the end; continue goes
	// to the next step, or after the last clears Pausing.
	CanarySteps []int `json:"canary_steps,omitempty"`
	CanaryStep  int   `json:"canary_step,omitempty"`
	Pausing     bool  `json:"pausing,omitempty"`
}

// CanaryTarget is how many instances the new web process has at the present
// step, and how many the old ones may still have together.
func (d *Deployment) CanaryTarget() (canary, original int) {
	if len(d.CanarySteps) == 0 {
		return 1, d.Original
	}
	wanted := min(d.Target, d.Original)
	weight := d.CanarySteps[min(max(d.CanaryStep, 1), len(d.CanarySteps))-1]
	canary = max(1, (wanted*weight+50)/100)
	if weight == 100 {
		return canary, 0
	}
	return canary, wanted - canary + 1
}

// The states of a deployment.
const (
	Active    = "ACTIVE"
	Finalized = "FINALIZED"
)

func (*Deployment) Noun() Noun { return "deployments" }
func (d *Deployment) Keys() Keys {
	return Keys{"app_guid": ref(d.AppGUID), "space_guid": ref(d.SpaceGUID), "status_value": d.Status, "status_reason": d.Reason}
}

// Revision is what an app was when it was started: enough to go back to it.
type Revision struct {
	Meta
	AppGUID     string             `json:"app_guid"`
	SpaceGUID   string             `json:"space_guid"`
	Version     int                `json:"version"`
	DropletGUID string             `json:"droplet_guid"`
	Description string             `json:"description"`
	Env         map[string]string  `json:"env,omitempty"`
	Commands    map[string]*string `json:"commands,omitempty"`
}

// The wanted states of a task.
const (
	TaskPending   = "PENDING"
	TaskRunning   = "RUNNING"
	TaskCanceling = "CANCELING"
	TaskSucceeded = "SUCCEEDED"
	TaskFailed    = "FAILED"
)

func (*Revision) Noun() Noun { return "revisions" }
func (r *Revision) Keys() Keys {
	return Keys{"app_guid": ref(r.AppGUID), "space_guid": ref(r.SpaceGUID), "version": int64(r.Version)}
}

// Task is one run of a command with an app's droplet.
type Task struct {
	Meta
	AppGUID       string `json:"app_guid"`
	SpaceGUID     string `json:"space_guid"`
	Name          string `json:"name"`
	Sequence      int    `json:"sequence_id"`
	Command       string `json:"command"`
	State         string `json:"state"` // PENDING, RUNNING, CANCELING, SUCCEEDED, FAILED
	MemoryMB      int    `json:"memory_in_mb"`
	DiskMB        int    `json:"disk_in_mb"`
	DropletGUID   string `json:"droplet_guid"`
	FailureReason string `json:"failure_reason,omitempty"`
	LogRate       int64  `json:"log_rate_limit"`
	User          string `json:"user,omitempty"` // who asked for it
	Launch        Launch `json:"launch"`
}

func (*Task) Noun() Noun { return "tasks" }
func (t *Task) Keys() Keys {
	return Keys{"app_guid": ref(t.AppGUID), "space_guid": ref(t.SpaceGUID), "name": t.Name, "state": t.State, "sequence_id": int64(t.Sequence)}
}

// Actor is who did something: a user, or the platform for an app.
type Actor struct {
	GUID string `json:"guid"`
	Type string `json:"type"`
	Name string `json:"name"`
}

// AuditEvent is one line of what happened. It outlives its target.
type AuditEvent struct {
	Meta
	Type      string         `json:"type"`
	Actor     Actor          `json:"actor"`
	Target    Actor          `json:"target"`
	SpaceGUID string         `json:"space_guid,omitempty"`
	OrgGUID   string         `json:"organization_guid,omitempty"`
	Data      map[string]any `json:"data,omitempty"`
}

func (*AuditEvent) Noun() Noun { return "audit_events" }
func (e *AuditEvent) Keys() Keys {
	return Keys{"type": e.Type, "target_guid": e.Target.GUID, "space_guid": ref(e.SpaceGUID), "organization_guid": ref(e.OrgGUID)}
}

// Job is the receipt of work that goes on after the answer.
type Job struct {
	Meta
	Operation string     `json:"operation"`
	State     string     `json:"state"` // PROCESSING, POLLING, COMPLETE, FAILED
	Owner     string     `json:"owner"` // guid of the user who may see it
	Errors    []JobError `json:"errors,omitempty"`
	Warnings  []string   `json:"warnings,omitempty"`
}

// JobError is shown to the user as it is.
type JobError struct {
	Code   int    `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

func (*Job) Noun() Noun   { return "jobs" }
func (j *Job) Keys() Keys { return Keys{"state": j.State, "operation": j.Operation} }
