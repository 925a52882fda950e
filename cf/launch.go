package cf

import (
	"cmp"
	"fmt"
	"maps"
	"time"
)

// Launch is what instances are made from. It is written when the app is told to
// start and stays until the next start, so that an instance which replaces a
// crashed one is like it, whatever was changed since.
type Launch struct {
	DropletGUID   string            `json:"droplet_guid"`
	DropletSHA256 string            `json:"droplet_sha256"`
	RevisionGUID  string            `json:"revision_guid,omitempty"`
	Command       string            `json:"command"` // the process's own, or the droplet's
	MemoryMB      int               `json:"memory_in_mb"`
	DiskMB        int               `json:"disk_in_mb"`
	LogRate       int64             `json:"log_rate_limit"`
	Tender        string            `json:"tender,omitempty"` // kind of tender; "": whatever its cell prefers
	Env           map[string]string `json:"env"`              // complete but for what an instance adds: see InstanceEnv
	Health        HealthCheck       `json:"health_check"`
	Readiness     HealthCheck       `json:"readiness_health_check"`
}

// DesiredLRP is what a process should be: so many instances of this droplet.
type DesiredLRP struct {
	ProcessGUID, Version string
	AppGUID, SpaceGUID   string
	Type                 string
	Instances            int
	Launch
}

// Desired is what should run of the process, or nil when nothing should.
func (p *Process) Desired(a *App) *DesiredLRP {
	if a.State != Started || p.Launch == nil {
		return nil
	}
	return &DesiredLRP{p.GUID, p.Version, p.AppGUID, p.SpaceGUID, p.Type, p.Instances, *p.Launch}
}

// ActualLRP is what a cell says of one instance.
type ActualLRP struct {
	ProcessGUID, Version, InstanceGUID string
	Index                              int
	CellID, Address                    string // the address is what other guests reach it at
	State                              string // STARTING, RUNNING, CRASHED, STOPPING, DOWN
	Routable                           bool
	Since                              time.Time
	Details                            string
	CPU                                float64 // of one core
	Entitled                           float64 // what it has a right to, of one core
	MemoryBytes, DiskBytes, LogRate    int64
}

// Entitlement is how much of the CPU time that its memory entitles it to it uses.
func (l *ActualLRP) Entitlement() float64 {
	if l.Entitled <= 0 {
		return l.CPU
	}
	return l.CPU / l.Entitled
}

// Instance is what only the cell knows of an instance.
type Instance struct {
	Index int
	GUID  string
	// Host and HostPort are where the router reaches it, Address where other
	// guests do, Port where the program listens.
	Host, Address  string
	HostPort, Port int
}

// InstanceEnv is the environment of one instance: that of the launch and what
// the instance adds to it (CF_INSTANCE_*, and its place in VCAP_APPLICATION).
func (l *Launch) InstanceEnv(i Instance) map[string]string {
	env := maps.Clone(l.Env)
	if env == nil {
		env = map[string]string{}
	}
	addInstance(env, i)
	return env
}

// Setting guids of the operator's groups of environment variables.
const (
	RunningEnv = "env:running"
	StagingEnv = "env:staging"
)

// Prepare makes the launch of a process from what the ledger says now. api is
// the URL of the API. It fails as Conflict when the app has no staged droplet,
// and as Invalid when the process has no command.
func Prepare(tx Tx, api string, a *App, p *Process) (*Launch, error) {
	d, err := First[Droplet](tx, Is("guid", a.DropletGUID), Is("state", "STAGED"))
	if err == nil && d == nil {
		err = Errorf("launch", Conflict, "app %s has no droplet", a.GUID)
	}
	if err != nil {
		return nil, err
	}
	l := &Launch{DropletGUID: d.GUID, DropletSHA256: d.Checksum, Command: d.ProcessTypes[p.Type], MemoryMB: p.MemoryMB, DiskMB: p.DiskMB, LogRate: p.LogRate,
		Health: p.Health, Readiness: p.Readiness}
	if p.Command != nil {
		l.Command = *p.Command
	}
	if l.Command == "" {
		return nil, Errorf("launch", Invalid, "process %q has no command", p.Type)
	}
	if l.Tender, err = tenderOf(tx, a); err != nil {
		return nil, err
	}
	group, err := envGroup(tx, RunningEnv)
	if err != nil {
		return nil, err
	}
	l.Env, err = environment(tx, api, group, a, p)
	return l, err
}

// TenderLabel chooses the kind of tender of an app's instances, among those that
// cells offer. It may stand on the app, or on its space or organization for all
// apps there.
const TenderLabel = "dew.tender"

func tenderOf(tx Tx, a *App) (string, error) {
	s, err := Get[Space](tx, a.SpaceGUID)
	if err != nil {
		return "", err
	}
	o, err := Get[Organization](tx, s.OrgGUID)
	if err != nil {
		return "", err
	}
	return cmp.Or(a.Labels[TenderLabel], s.Labels[TenderLabel], o.Labels[TenderLabel]), nil
}

// BuildEnv is what a build of the app is told: the staging group instead of the
// running one, and no process.
func BuildEnv(tx Tx, api string, a *App, memoryMB int) (map[string]string, error) {
	group, err := envGroup(tx, StagingEnv)
	if err != nil {
		return nil, err
	}
	env, err := environment(tx, api, group, a, &Process{MemoryMB: memoryMB, DiskMB: memoryMB, Type: "web"})
	if err == nil {
		env["CF_STACK"] = a.Stack
	}
	return env, err
}

func environment(tx Tx, api string, group map[string]string, a *App, p *Process) (map[string]string, error) {
	w, err := PlaceOf(tx, api, a)
	if err != nil {
		return nil, err
	}
	bound, err := BoundTo(tx, a.GUID)
	if err != nil {
		return nil, err
	}
	return Environment(group, a, p, w, bound)
}

func envGroup(tx Tx, guid string) (map[string]string, error) {
	s, err := First[Setting](tx, Is("guid", guid))
	if err != nil || s == nil {
		return nil, err
	}
	return s.Env, nil
}

// PlaceOf finds where an app lives.
func PlaceOf(tx Tx, api string, a *App) (w Place, err error) {
	w.API = api
	if w.Space, err = Get[Space](tx, a.SpaceGUID); err != nil {
		return w, err
	}
	if w.Org, err = Get[Organization](tx, w.Space.OrgGUID); err != nil {
		return w, err
	}
	to, err := List[Destination](tx, Query{Where: []Cond{Is("app_guid", a.GUID)}, Order: []Order{{Key: "created_at"}}})
	seen := map[string]bool{}
	for _, d := range to {
		if seen[d.RouteGUID] {
			continue
		}
		seen[d.RouteGUID] = true
		r, err := Get[Route](tx, d.RouteGUID)
		if err != nil {
			return w, err
		}
		domain, err := Get[Domain](tx, r.DomainGUID)
		if err != nil {
			return w, err
		}
		w.URIs = append(w.URIs, r.Address(domain))
	}
	return w, err
}

// BoundTo finds what is bound to an app, oldest binding first.
func BoundTo(tx Tx, appGUID string) ([]Bound, error) {
	list, err := List[ServiceBinding](tx, Query{Where: []Cond{Is("app_guid", appGUID)}, Order: []Order{{Key: "created_at"}}})
	var bound []Bound
	for _, b := range list {
		if b.Last.State != "succeeded" {
			continue // the broker has not made it yet
		}
		one, err := bind(tx, b)
		if err != nil {
			return nil, fmt.Errorf("service bound to app %s: %w", appGUID, err)
		}
		bound = append(bound, one)
	}
	return bound, err
}

func bind(tx Tx, b *ServiceBinding) (Bound, error) {
	i, err := Get[ServiceInstance](tx, b.InstanceGUID)
	one := Bound{Binding: b, Instance: i}
	if err != nil || i.PlanGUID == "" {
		return one, err
	}
	p, err := Get[ServicePlan](tx, i.PlanGUID)
	if err != nil {
		return one, err
	}
	o, err := Get[ServiceOffering](tx, p.OfferingGUID)
	if err != nil {
		return one, err
	}
	one.Label, one.Plan, one.Tags = o.Name, p.Name, o.Tags
	return one, nil
}
