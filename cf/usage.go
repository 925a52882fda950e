package cf

// Usage is recorded by the ledger itself, in the transaction that changes it:
// see package store. Its events outlive what they are about. They are made in
// order: no event appears later with an earlier created_at than one that could be
// read before.

// Change is what something is now, and what it was; nil where it was not yet.
type Change[T any] struct {
	Current  T  `json:"current"`
	Previous *T `json:"previous"`
}

func changed[T any](from *T, to T) Change[T] { return Change[T]{to, from} }

// Named is a record as it was called then; both are nil where there is none.
type Named struct {
	GUID *string `json:"guid"`
	Name *string `json:"name"`
}

func named(guid, name string) Named {
	if guid == "" {
		return Named{}
	}
	return Named{&guid, &name}
}

// ref is the key that refers to it.
func (n Named) ref() any {
	if n.GUID == nil {
		return nil
	}
	return ref(*n.GUID)
}

// The states of usage events besides Started and Stopped.
const (
	StagingStarted = "STAGING_STARTED"
	StagingStopped = "STAGING_STOPPED"
	BuildpackSet   = "BUILDPACK_SET"
	TaskStarted    = "TASK_STARTED"
	TaskStopped    = "TASK_STOPPED"

	UsageCreated = "CREATED"
	UsageUpdated = "UPDATED"
	UsageDeleted = "DELETED"
)

// Buildpack is the one that makes droplets. Its guid is its name.
const Buildpack = "go_buildpack"

// AppUsage is a change of what an app uses: instances of a process with so much
// memory each, a task, or a build.
type AppUsage struct {
	Meta
	State       Change[string] `json:"state"`
	MemoryMB    Change[int]    `json:"memory_in_mb_per_instance"`
	Instances   Change[int]    `json:"instance_count"`
	App         Named          `json:"app"`
	ProcessGUID string         `json:"process_guid,omitempty"`
	ProcessType string         `json:"process_type,omitempty"`
	Space       Named          `json:"space"`
	OrgGUID     string         `json:"organization_guid"`
	Buildpack   Named          `json:"buildpack"`
	Task        Named          `json:"task"`
}

func (*AppUsage) Noun() Noun { return "app_usage_events" }
func (u *AppUsage) Keys() Keys {
	return Keys{"task_guid": u.Task.ref()}
}

// The types of service instances in ServiceUsage.
const (
	ManagedUsage  = "managed_service_instance"
	ProvidedUsage = "user_provided_service_instance"
)

// ServiceUsage is a service instance that came, went, or has another plan or name.
type ServiceUsage struct {
	Meta
	State    string `json:"state"`
	Space    Named  `json:"space"`
	OrgGUID  string `json:"organization_guid"`
	Instance Named  `json:"service_instance"`
	Type     string `json:"service_instance_type"`
	Plan     Named  `json:"service_plan"`
	Offering Named  `json:"service_offering"`
	Broker   Named  `json:"service_broker"`
}

func (*ServiceUsage) Noun() Noun { return "service_usage_events" }
func (u *ServiceUsage) Keys() Keys {
	return Keys{"service_instance_type": u.Type, "offering_guid": u.Offering.ref()}
}

func appUsage(tx Tx, a *App) (*AppUsage, error) {
	s, err := Get[Space](tx, a.SpaceGUID)
	if err != nil {
		return nil, err
	}
	return &AppUsage{App: named(a.GUID, a.Name), Space: named(s.GUID, s.Name), OrgGUID: s.OrgGUID}, nil
}

// Meter is what a process uses: so many instances with so much memory while its
// app is started. The zero value is that of a process which is not there.
type Meter struct {
	State               string
	Instances, MemoryMB int
}

// MeterOf reads the meter of a process of an app in that state.
func MeterOf(state string, p *Process) Meter { return Meter{state, p.Instances, p.MemoryMB} }

// Gone is the meter of a process that is taken away.
func (m Meter) Gone() Meter {
	m.State = Stopped
	return m
}

// Turns tells whether usage differs between two readings: what is stopped uses
// nothing, however large it is.
func (m Meter) Turns(to Meter) bool {
	was, is := m.State == Started, to.State == Started
	return was != is || is && m != to
}

// ProcessUsage is the event of a process whose meter turned.
func ProcessUsage(tx Tx, a *App, p *Process, from, to Meter) (*AppUsage, error) {
	u, err := appUsage(tx, a)
	if err != nil {
		return nil, err
	}
	u.ProcessGUID, u.ProcessType = p.GUID, p.Type
	u.State.Current, u.Instances.Current, u.MemoryMB.Current = to.State, to.Instances, to.MemoryMB
	if from.State != "" {
		u.State, u.Instances, u.MemoryMB = changed(&from.State, to.State), changed(&from.Instances, to.Instances), changed(&from.MemoryMB, to.MemoryMB)
	}
	if a.DropletGUID != "" {
		u.Buildpack = named(Buildpack, Buildpack)
	}
	return u, nil
}

// usageIn is appUsage of the app with that guid.
func usageIn(tx Tx, app string) (*AppUsage, error) {
	a, err := Get[App](tx, app)
	if err != nil {
		return nil, err
	}
	return appUsage(tx, a)
}

// once is the usage of what runs once, with that much memory.
func (u *AppUsage) once(state, before string, memoryMB int) *AppUsage {
	one := 1
	u.State, u.Instances, u.MemoryMB = changed(&before, state), changed(&one, one), changed(&memoryMB, memoryMB)
	return u
}

// TaskUsage is the event of a task that was in the state before.
func TaskUsage(tx Tx, t *Task, state, before string) (*AppUsage, error) {
	u, err := usageIn(tx, t.AppGUID)
	if err != nil {
		return nil, err
	}
	u.Task = named(t.GUID, t.Name)
	return u.once(state, before, t.MemoryMB), nil
}

// BuildUsage is the event of a build that was in the state before.
func BuildUsage(tx Tx, b *Build, state, before string) (*AppUsage, error) {
	u, err := usageIn(tx, b.AppGUID)
	if err != nil {
		return nil, err
	}
	if b.DropletGUID != "" {
		u.Buildpack = named(Buildpack, Buildpack)
	}
	return u.once(state, before, b.MemoryMB), nil
}

// InstanceUsage is the event of a service instance.
func InstanceUsage(tx Tx, i *ServiceInstance, state string) (*ServiceUsage, error) {
	s, err := Get[Space](tx, i.SpaceGUID)
	if err != nil {
		return nil, err
	}
	u := &ServiceUsage{State: state, Space: named(s.GUID, s.Name), OrgGUID: s.OrgGUID, Instance: named(i.GUID, i.Name), Type: ProvidedUsage}
	if i.PlanGUID == "" {
		return u, nil
	}
	p, err := Get[ServicePlan](tx, i.PlanGUID)
	if err != nil {
		return nil, err
	}
	o, err := Get[ServiceOffering](tx, p.OfferingGUID)
	if err != nil {
		return nil, err
	}
	b, err := Get[ServiceBroker](tx, o.BrokerGUID)
	if err != nil {
		return nil, err
	}
	u.Type, u.Plan, u.Offering, u.Broker = ManagedUsage, named(p.GUID, p.Name), named(o.GUID, o.Name), named(b.GUID, b.Name)
	return u, nil
}
