package cf

import "time"

// Organization is a tenant.
type Organization struct {
	Meta
	Name      string `json:"name"`
	Suspended bool   `json:"suspended"`
	QuotaGUID string `json:"quota_guid"`
}

func (*Organization) Noun() Noun { return "organizations" }
func (o *Organization) Keys() Keys {
	return Keys{"name": o.Name, "quota_guid": ref(o.QuotaGUID)}
}

// Space is where a team of a tenant works.
type Space struct {
	Meta
	Name      string `json:"name"`
	OrgGUID   string `json:"organization_guid"`
	QuotaGUID string `json:"quota_guid,omitempty"`
}

func (*Space) Noun() Noun { return "spaces" }
func (s *Space) Keys() Keys {
	return Keys{"name": s.Name, "organization_guid": ref(s.OrgGUID), "quota_guid": ref(s.QuotaGUID)}
}

// User is a person as the controller knows them.
type User struct {
	Meta
	Username string `json:"username"`
	Origin   string `json:"origin"`
}

func (*User) Noun() Noun   { return "users" }
func (u *User) Keys() Keys { return Keys{"username": u.Username, "origin": u.Origin} }

// Role ties a user to an organization or a space.
type Role struct {
	Meta
	Type      string `json:"type"`
	UserGUID  string `json:"user_guid"`
	OrgGUID   string `json:"organization_guid,omitempty"`
	SpaceGUID string `json:"space_guid,omitempty"`
}

// The role types.
const (
	OrgUser           = "organization_user"
	OrgManager        = "organization_manager"
	OrgBillingManager = "organization_billing_manager"
	OrgAuditor        = "organization_auditor"
	SpaceDeveloper    = "space_developer"
	SpaceManager      = "space_manager"
	SpaceAuditor      = "space_auditor"
	SpaceSupporter    = "space_supporter"
)

func (*Role) Noun() Noun { return "roles" }
func (r *Role) Keys() Keys {
	return Keys{"type": r.Type, "user_guid": ref(r.UserGUID), "organization_guid": ref(r.OrgGUID), "space_guid": ref(r.SpaceGUID)}
}

// Limits are what a quota allows. A nil limit is no limit.
type Limits struct {
	TotalMemoryMB    *int64 `json:"total_memory_in_mb"`
	ProcessMemoryMB  *int64 `json:"per_process_memory_in_mb"`
	TotalInstances   *int64 `json:"total_instances"`
	TasksPerApp      *int64 `json:"per_app_tasks"`
	LogRate          *int64 `json:"log_rate_limit_in_bytes_per_second"`
	ServiceInstances *int64 `json:"total_service_instances"`
	ServiceKeys      *int64 `json:"total_service_keys"`
	PaidServices     bool   `json:"paid_services_allowed"`
	Routes           *int64 `json:"total_routes"`
	ReservedPorts    *int64 `json:"total_reserved_ports"`
	Domains          *int64 `json:"total_domains"`
}

// Quota limits organizations, or, with OrgGUID, spaces of that organization.
type Quota struct {
	Meta
	Name    string `json:"name"`
	OrgGUID string `json:"organization_guid,omitempty"`
	Limits  Limits `json:"limits"`
}

func (*Quota) Noun() Noun   { return "quotas" }
func (q *Quota) Keys() Keys { return Keys{"name": q.Name, "organization_guid": ref(q.OrgGUID)} }

// Domain is a name under which routes are made; without an organization it is
// shared by all.
type Domain struct {
	Meta
	Name     string `json:"name"`
	Internal bool   `json:"internal"`
	OrgGUID  string `json:"organization_guid,omitempty"`
}

func (*Domain) Noun() Noun { return "domains" }
func (d *Domain) Keys() Keys {
	return Keys{"name": d.Name, "internal": flag(d.Internal), "organization_guid": ref(d.OrgGUID)}
}

// DomainShare lets another organization use a private domain.
type DomainShare struct {
	Meta
	DomainGUID string `json:"domain_guid"`
	OrgGUID    string `json:"organization_guid"`
}

func (*DomainShare) Noun() Noun { return "domain_shares" }
func (s *DomainShare) Keys() Keys {
	return Keys{"domain_guid": ref(s.DomainGUID), "organization_guid": ref(s.OrgGUID)}
}

// Route is an address on the street.
type Route struct {
	Meta
	SpaceGUID  string            `json:"space_guid"`
	DomainGUID string            `json:"domain_guid"`
	Host       string            `json:"host"`
	Path       string            `json:"path"`
	Options    map[string]string `json:"options,omitempty"`
}

func (*Route) Noun() Noun { return "routes" }
func (r *Route) Keys() Keys {
	return Keys{"space_guid": ref(r.SpaceGUID), "domain_guid": ref(r.DomainGUID), "host": r.Host, "path": r.Path}
}

// Address is what people type: host.domain/path.
func (r *Route) Address(d *Domain) string {
	if r.Host == "" {
		return d.Name + r.Path
	}
	return r.Host + "." + d.Name + r.Path
}

// Destination leads a route to the processes of an app. Port 0 is the app's own.
type Destination struct {
	Meta
	RouteGUID   string `json:"route_guid"`
	AppGUID     string `json:"app_guid"`
	ProcessType string `json:"process_type"`
	Port        int    `json:"port,omitempty"`
	Protocol    string `json:"protocol"`
}

func (*Destination) Noun() Noun { return "destinations" }
func (d *Destination) Keys() Keys {
	return Keys{"route_guid": ref(d.RouteGUID), "app_guid": ref(d.AppGUID), "process_type": d.ProcessType, "port": int64(d.Port), "protocol": d.Protocol}
}

// Rule lets guests reach a destination.
type Rule struct {
	Protocol    string `json:"protocol"`
	Destination string `json:"destination"`
	Ports       string `json:"ports,omitempty"`
	Type        *int   `json:"type,omitempty"`
	Code        *int   `json:"code,omitempty"`
	Description string `json:"description,omitempty"`
	Log         bool   `json:"log,omitempty"`
}

// SecurityGroup is a set of rules for what guests may reach.
type SecurityGroup struct {
	Meta
	Name    string `json:"name"`
	Rules   []Rule `json:"rules"`
	Running bool   `json:"running_default"`
	Staging bool   `json:"staging_default"`
}

func (*SecurityGroup) Noun() Noun { return "security_groups" }
func (g *SecurityGroup) Keys() Keys {
	return Keys{"name": g.Name, "running_default": flag(g.Running), "staging_default": flag(g.Staging)}
}

// GroupBinding applies a security group to one space. Stage is running or staging.
type GroupBinding struct {
	Meta
	GroupGUID string `json:"group_guid"`
	SpaceGUID string `json:"space_guid"`
	Stage     string `json:"stage"`
}

func (*GroupBinding) Noun() Noun { return "group_bindings" }
func (b *GroupBinding) Keys() Keys {
	return Keys{"group_guid": ref(b.GroupGUID), "space_guid": ref(b.SpaceGUID), "stage": b.Stage}
}

// Setting is one named choice of the operator: a feature flag or a group of
// environment variables. Its guid is its name.
type Setting struct {
	Meta
	Enabled bool              `json:"enabled"`
	Error   string            `json:"error,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
}

func (*Setting) Noun() Noun { return "settings" }
func (*Setting) Keys() Keys { return Keys{} }

// Account is a user who can log in here. Hash is an argon2id hash in PHC form.
type Account struct {
	Meta
	Username    string    `json:"username"`
	Origin      string    `json:"origin"`
	Email       string    `json:"email,omitempty"`
	GivenName   string    `json:"given_name,omitempty"`
	FamilyName  string    `json:"family_name,omitempty"`
	Hash        string    `json:"hash"`
	Scopes      []string  `json:"scopes"`
	Failures    int       `json:"failures,omitempty"`
	LockedUntil time.Time `json:"locked_until,omitzero"`
	Generation  int       `json:"generation"` // raised to end every session
}

func (*Account) Noun() Noun   { return "accounts" }
func (a *Account) Keys() Keys { return Keys{"username": a.Username, "origin": a.Origin} }

// Client is a program that can log in; its guid is its id.
type Client struct {
	Meta
	Hash   string   `json:"hash"`
	Scopes []string `json:"scopes"`
}

func (*Client) Noun() Noun { return "clients" }
func (*Client) Keys() Keys { return Keys{} }

// Revocation ends one session of an account before its tokens expire. Its guid is
// the session's.
type Revocation struct {
	Meta
}

func (*Revocation) Noun() Noun { return "revocations" }
func (*Revocation) Keys() Keys { return Keys{} }

// Nouns is one zero record of every noun, in an order in which references
// point backwards.
func Nouns() []Record {
	return []Record{new(Quota), new(Organization), new(Space), new(User), new(Role), new(App), new(Process),
		new(Package), new(Build), new(Droplet), new(Deployment), new(Revision), new(Task), new(Domain), new(DomainShare),
		new(Route), new(Destination), new(SecurityGroup), new(GroupBinding), new(NetworkPolicy), new(ServiceBroker), new(ServiceOffering), new(ServicePlan), new(PlanVisibility),
		new(ServiceInstance), new(ServiceBinding), new(ServiceWork), new(Share),
		new(AuditEvent), new(AppUsage), new(ServiceUsage), new(Job), new(Setting), new(Account), new(Client), new(Revocation), new(Cell), new(Placement), new(Report), new(Lease), new(Restart), new(Crash)}
}
