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

// Process is one sort of instance of an app. LogRate -1 is unlimited.
type Process struct {
	Meta
	AppGUID        string      `json:"app_guid"`
	SpaceGUID      string      `json:"space_guid"`
	Type           string      `json:"type"`
	Command        *string     `json:"command"`
	Instances      int         `json:"instances"`
	MemoryMB       int         `json:"memory_in_mb"`
	DiskMB         int         `json:"disk_in_mb"`
	LogRate        int64       `json:"log_rate_limit"`
	Health         HealthCheck `json:"health_check"`
	Readiness      HealthCheck `json:"readiness_health_check"`
	DeploymentGUID string      `json:"deployment_guid,omitempty"`
	Version        string      `json:"version"`
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
	ProcessTypes map[string]string `json:"process_types,omitempty"`
}

func (*Droplet) Noun() Noun { return "droplets" }
func (d *Droplet) Keys() Keys {
	return Keys{"app_guid": ref(d.AppGUID), "space_guid": ref(d.SpaceGUID), "package_guid": ref(d.PackageGUID), "state": d.State}
}

// Deployment replaces an app's instances without stopping all of them.
type Deployment struct {
	Meta
	AppGUID         string `json:"app_guid"`
	SpaceGUID       string `json:"space_guid"`
	Strategy        string `json:"strategy"`
	Status          string `json:"status_value"`  // ACTIVE or FINALIZED
	Reason          string `json:"status_reason"` // DEPLOYING, PAUSED, CANCELING, DEPLOYED, CANCELED, SUPERSEDED
	DropletGUID     string `json:"droplet_guid"`
	PreviousDroplet string `json:"previous_droplet_guid,omitempty"`
	RevisionGUID    string `json:"revision_guid,omitempty"`
	MaxInFlight     int    `json:"max_in_flight"`
	WebInstances    *int   `json:"web_instances,omitempty"`
	CanarySteps     []int  `json:"canary_steps,omitempty"`
	CanaryStep      int    `json:"canary_step,omitempty"`
}

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

// DesiredLRP is what a process should be: so many instances of this droplet.
type DesiredLRP struct {
	ProcessGUID, Version string
	AppGUID, SpaceGUID   string
	Type, Command        string
	DropletSHA256        string
	Instances            int
	MemoryMB, DiskMB     int
	LogRate              int64
	Env                  map[string]string
	Health, Readiness    HealthCheck
}

// ActualLRP is what a cell says of one instance.
type ActualLRP struct {
	ProcessGUID, Version, InstanceGUID string
	Index                              int
	CellID                             string
	State                              string // STARTING, RUNNING, CRASHED, STOPPING, DOWN
	Routable                           bool
	Since                              time.Time
	Details                            string
	CPU                                float64 // of one core
	MemoryBytes, DiskBytes, LogRate    int64
}
