package cf

import "time"

// ServiceBroker offers services. With SpaceGUID only that space sees them.
type ServiceBroker struct {
	Meta
	Name      string `json:"name"`
	URL       string `json:"url"`
	Username  string `json:"username"`
	Password  string `json:"password"`
	SpaceGUID string `json:"space_guid,omitempty"`
}

func (*ServiceBroker) Noun() Noun { return "service_brokers" }
func (b *ServiceBroker) Keys() Keys {
	return Keys{"name": b.Name, "space_guid": ref(b.SpaceGUID)}
}

// ServiceOffering is one service of a broker's catalog. Gone says that the
// broker no longer lists it, but instances of it are left.
type ServiceOffering struct {
	Meta
	BrokerGUID           string         `json:"broker_guid"`
	CatalogID            string         `json:"catalog_id"`
	Name                 string         `json:"name"`
	Description          string         `json:"description"`
	Tags                 []string       `json:"tags,omitempty"`
	Requires             []string       `json:"requires,omitempty"`
	Bindable             bool           `json:"bindable"`
	PlanUpdatable        bool           `json:"plan_updatable"`
	InstancesRetrievable bool           `json:"instances_retrievable"`
	BindingsRetrievable  bool           `json:"bindings_retrievable"`
	ContextUpdates       bool           `json:"allow_context_updates"`
	Extra                map[string]any `json:"extra,omitempty"`
	Gone                 bool           `json:"gone,omitempty"`
}

func (*ServiceOffering) Noun() Noun { return "service_offerings" }
func (o *ServiceOffering) Keys() Keys {
	return Keys{"name": o.Name, "broker_guid": ref(o.BrokerGUID), "catalog_id": o.CatalogID, "gone": flag(o.Gone)}
}

// The visibilities of a plan. SpacePlan is that of a broker of one space.
const (
	PublicPlan = "public"
	AdminPlan  = "admin"
	OrgPlan    = "organization"
	SpacePlan  = "space"
)

// ServicePlan is one way to have a service.
type ServicePlan struct {
	Meta
	OfferingGUID   string         `json:"offering_guid"`
	CatalogID      string         `json:"catalog_id"`
	Name           string         `json:"name"`
	Description    string         `json:"description"`
	Free           bool           `json:"free"`
	Bindable       *bool          `json:"bindable,omitempty"` // nil: as the offering
	PlanUpdatable  *bool          `json:"plan_updatable,omitempty"`
	MaxPolling     int            `json:"maximum_polling_duration,omitempty"` // seconds
	Maintenance    map[string]any `json:"maintenance_info,omitempty"`
	Schemas        map[string]any `json:"schemas,omitempty"`
	Extra          map[string]any `json:"extra,omitempty"`
	VisibilityType string         `json:"visibility_type"`
	Gone           bool           `json:"gone,omitempty"`
}

func (*ServicePlan) Noun() Noun { return "service_plans" }
func (p *ServicePlan) Keys() Keys {
	return Keys{"name": p.Name, "offering_guid": ref(p.OfferingGUID), "catalog_id": p.CatalogID, "visibility_type": p.VisibilityType, "gone": flag(p.Gone)}
}

// PlanVisibility lets an organization see a plan.
type PlanVisibility struct {
	Meta
	PlanGUID string `json:"plan_guid"`
	OrgGUID  string `json:"organization_guid"`
}

func (*PlanVisibility) Noun() Noun { return "plan_visibilities" }
func (v *PlanVisibility) Keys() Keys {
	return Keys{"plan_guid": ref(v.PlanGUID), "organization_guid": ref(v.OrgGUID)}
}

// LastOperation is how the newest change of an instance or a binding went.
type LastOperation struct {
	Type        string    `json:"type"`  // create, update or delete
	State       string    `json:"state"` // initial, in progress, succeeded or failed
	Description string    `json:"description"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

// ServiceInstance is something an app can be bound to.
type ServiceInstance struct {
	Meta
	Name            string         `json:"name"`
	SpaceGUID       string         `json:"space_guid"`
	Type            string         `json:"type"` // user-provided or managed
	PlanGUID        string         `json:"plan_guid,omitempty"`
	Tags            []string       `json:"tags,omitempty"`
	Credentials     map[string]any `json:"credentials,omitempty"` // of what users provide
	SyslogDrainURL  string         `json:"syslog_drain_url,omitempty"`
	RouteServiceURL string         `json:"route_service_url,omitempty"`
	DashboardURL    string         `json:"dashboard_url,omitempty"`
	Maintenance     map[string]any `json:"maintenance_info,omitempty"`
	Last            LastOperation  `json:"last_operation"`
}

func (*ServiceInstance) Noun() Noun { return "service_instances" }
func (s *ServiceInstance) Keys() Keys {
	return Keys{"name": s.Name, "space_guid": ref(s.SpaceGUID), "type": s.Type, "plan_guid": ref(s.PlanGUID)}
}

// ServiceBinding gives an app, or a key, the credentials of a service instance.
type ServiceBinding struct {
	Meta
	Name           string         `json:"name,omitempty"`
	Type           string         `json:"type"` // app or key
	AppGUID        string         `json:"app_guid,omitempty"`
	InstanceGUID   string         `json:"service_instance_guid"`
	SpaceGUID      string         `json:"space_guid"`
	Credentials    map[string]any `json:"credentials,omitempty"` // from the broker
	SyslogDrainURL string         `json:"syslog_drain_url,omitempty"`
	Last           LastOperation  `json:"last_operation"`
}

func (*ServiceBinding) Noun() Noun { return "service_bindings" }
func (b *ServiceBinding) Keys() Keys {
	return Keys{"name": b.Name, "type": b.Type, "app_guid": ref(b.AppGUID), "service_instance_guid": ref(b.InstanceGUID), "space_guid": ref(b.SpaceGUID)}
}

// The verbs of ServiceWork.
const (
	FetchCatalog = "catalog"
	Provision    = "provision"
	UpdateOne    = "update"
	Deprovision  = "deprovision"
	Bind         = "bind"
	Unbind       = "unbind"
)

// ServiceWork is something that a broker still has to do. It outlives restarts,
// and as an Orphan, which only cleans up at the broker, what it is about; so it
// says all that has to be known.
type ServiceWork struct {
	Meta
	Verb       string        `json:"verb"`
	BrokerGUID string        `json:"broker_guid"`
	Broker     ServiceBroker `json:"broker"` // as it was, for when its record is gone
	TargetGUID string        `json:"target_guid"`
	JobGUID    string        `json:"job_guid,omitempty"`
	User       string        `json:"user,omitempty"` // guid of who asked
	Due        time.Time     `json:"due"`
	// Deadline less CreatedAt is how long the broker may take. Waited is how much of
	// that is over, counted in pauses: a clock that is set gives nobody up.
	Deadline   time.Time      `json:"deadline"`
	Waited     time.Duration  `json:"waited,omitempty"`
	Asked      bool           `json:"asked,omitempty"`     // the broker works on it: ask how far it is
	Operation  string         `json:"operation,omitempty"` // the broker's word for it
	Tries      int            `json:"tries,omitempty"`
	Orphan     bool           `json:"orphan,omitempty"`
	ServiceID  string         `json:"service_id,omitempty"` // these four are what the broker knows
	PlanID     string         `json:"plan_id,omitempty"`
	InstanceID string         `json:"instance_id,omitempty"`
	BindingID  string         `json:"binding_id,omitempty"`
	Request    map[string]any `json:"request,omitempty"` // body of the request
	Then       map[string]any `json:"then,omitempty"`    // what an update makes of the record
}

func (*ServiceWork) Noun() Noun { return "service_work" }
func (w *ServiceWork) Keys() Keys {
	return Keys{"broker_guid": w.BrokerGUID, "target_guid": w.TargetGUID, "due": w.Due.UnixMicro()}
}

// Share lets another space use a service instance, or a route: one of the two.
type Share struct {
	Meta
	InstanceGUID string `json:"service_instance_guid,omitempty"`
	RouteGUID    string `json:"route_guid,omitempty"`
	SpaceGUID    string `json:"space_guid"`
}

func (*Share) Noun() Noun { return "shares" }
func (s *Share) Keys() Keys {
	return Keys{"service_instance_guid": ref(s.InstanceGUID), "route_guid": ref(s.RouteGUID), "space_guid": ref(s.SpaceGUID)}
}
