package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Ref is a relationship to one thing.
type Ref struct {
	Data *struct {
		GUID string `json:"guid"`
	} `json:"data"`
}

// GUID of what is referred to, or "".
func (r Ref) GUID() string {
	if r.Data == nil {
		return ""
	}
	return r.Data.GUID
}

// To is a relationship as the API takes it.
func To(guid string) any { return map[string]any{"data": map[string]any{"guid": guid}} }

// Thing is what has a name and a GUID: an organization, a space, a domain.
type Thing struct {
	GUID     string `json:"guid"`
	Name     string `json:"name"`
	Internal bool   `json:"internal"` // of a domain
}

// App as the API shows it.
type App struct {
	GUID      string    `json:"guid"`
	Name      string    `json:"name"`
	State     string    `json:"state"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Process is one type of process of an app.
type Process struct {
	GUID      string  `json:"guid"`
	Type      string  `json:"type"`
	Command   *string `json:"command"`
	Instances int     `json:"instances"`
	MemoryMB  int64   `json:"memory_in_mb"`
	DiskMB    int64   `json:"disk_in_mb"`
	Health    struct {
		Type string `json:"type"`
	} `json:"health_check"`
	Relationships struct {
		App Ref `json:"app"`
	} `json:"relationships"`
	Brief []Instance `json:"process_instances"` // with embed=process_instances only
}

// Instance is what the platform knows of one guest. Sizes are bytes.
type Instance struct {
	Index    int     `json:"index"`
	State    string  `json:"state"`
	Since    float64 `json:"since"`  // seconds in this state, of a brief one
	Uptime   float64 `json:"uptime"` // seconds
	Details  string  `json:"details"`
	Routable *bool   `json:"routable"`
	MemQuota int64   `json:"mem_quota"`
	DiskMax  int64   `json:"disk_quota"`
	Usage    struct {
		CPU    float64 `json:"cpu"`
		Memory int64   `json:"mem"`
		Disk   int64   `json:"disk"`
	} `json:"usage"`
}

// Route as the API shows it.
type Route struct {
	GUID         string `json:"guid"`
	Host         string `json:"host"`
	Path         string `json:"path"`
	URL          string `json:"url"`
	Destinations []struct {
		GUID string `json:"guid"`
		App  struct {
			GUID    string `json:"guid"`
			Process struct {
				Type string `json:"type"`
			} `json:"process"`
		} `json:"app"`
		Port     *int   `json:"port"`
		Protocol string `json:"protocol"`
	} `json:"destinations"`
	Relationships struct {
		Domain Ref `json:"domain"`
	} `json:"relationships"`
}

// Task as the API shows it.
type Task struct {
	GUID      string    `json:"guid"`
	ID        int       `json:"sequence_id"`
	Name      string    `json:"name"`
	State     string    `json:"state"`
	Command   string    `json:"command"`
	MemoryMB  int       `json:"memory_in_mb"`
	DiskMB    int       `json:"disk_in_mb"`
	CreatedAt time.Time `json:"created_at"`
	Result    struct {
		Reason string `json:"failure_reason"`
	} `json:"result"`
}

// Event of the audit log.
type Event struct {
	Type      string         `json:"type"`
	CreatedAt time.Time      `json:"created_at"`
	Actor     Thing          `json:"actor"`
	Data      map[string]any `json:"data"`
}

// Step is a step of an instance's boot.
type Step struct {
	Name    string  `json:"name"`
	AfterMS float64 `json:"after_ms"` // since the instance was placed
}

// Boot is how an instance that runs came up.
type Boot struct {
	GUID   string `json:"guid"`
	Type   string `json:"type"`
	Index  int    `json:"index"`
	CellID string `json:"cell_id"`
	Boot   []Step `json:"boot"`
}

// Crash is what is kept of an instance that crashed. Lists leave out from Boot on.
type Crash struct {
	GUID        string    `json:"guid"`
	Type        string    `json:"type"`
	Index       int       `json:"index"`
	CellID      string    `json:"cell_id"`
	Tender      string    `json:"tender"`
	Droplet     string    `json:"droplet_checksum"`
	BeganAt     time.Time `json:"began_at"`
	EndedAt     time.Time `json:"ended_at"`
	Reason      string    `json:"reason"`
	Description string    `json:"exit_description"`
	Status      int       `json:"exit_status"`
	CPUSeconds  float64   `json:"cpu_seconds"`
	PeakMemory  int64     `json:"peak_memory_in_bytes"`
	Boot        []Step    `json:"boot,omitempty"`
	Reports     []string  `json:"reports,omitempty"`
	Stack       string    `json:"stack,omitempty"`
	Console     string    `json:"console,omitempty"`
}

// Build is one run of the stager.
type Build struct {
	GUID    string  `json:"guid"`
	State   string  `json:"state"`
	Error   *string `json:"error"`
	Droplet *struct {
		GUID string `json:"guid"`
	} `json:"droplet"`
}

// Deployment replaces instances one by one.
type Deployment struct {
	GUID   string `json:"guid"`
	Status struct {
		Value   string `json:"value"`
		Reason  string `json:"reason"`
		Details struct {
			Error string `json:"error"`
		} `json:"details"`
	} `json:"status"`
}

// Revision is a state of an app to which it can go back.
type Revision struct {
	GUID        string    `json:"guid"`
	Version     int       `json:"version"`
	Deployable  bool      `json:"deployable"`
	Description string    `json:"description"`
	CreatedAt   time.Time `json:"created_at"`
}

// find looks for the thing with a name in a list; names with commas ask for
// more than one.
func find[T any](ctx context.Context, c *Client, path string, query url.Values, name string, nameOf func(T) string) (*T, error) {
	query.Set("names", name)
	all, err := List[T](ctx, c, path, query)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if nameOf(all[i]) == name {
			return &all[i], nil
		}
	}
	return nil, nil
}

func thingName(t Thing) string { return t.Name }

// FindApp looks in the targeted space.
func (c *Client) FindApp(ctx context.Context, name string) (*App, error) {
	return c.FindAppIn(ctx, c.Config.Space, name)
}

// FindAppIn looks in a space.
func (c *Client) FindAppIn(ctx context.Context, space Named, name string) (*App, error) {
	a, err := find(ctx, c, "/v3/apps", url.Values{"space_guids": {space.GUID}}, name, func(a App) string { return a.Name })
	if err == nil && a == nil {
		err = &MissingError{"app", name, "space " + space.Name}
	}
	return a, err
}

// FindOrg looks among the organizations that the user may see.
func (c *Client) FindOrg(ctx context.Context, name string) (*Thing, error) {
	o, err := find(ctx, c, "/v3/organizations", url.Values{}, name, thingName)
	if err == nil && o == nil {
		err = &MissingError{"organization", name, ""}
	}
	return o, err
}

// FindSpace looks in an organization.
func (c *Client) FindSpace(ctx context.Context, org Named, name string) (*Thing, error) {
	s, err := find(ctx, c, "/v3/spaces", url.Values{"organization_guids": {org.GUID}}, name, thingName)
	if err == nil && s == nil {
		err = &MissingError{"space", name, "organization " + org.Name}
	}
	return s, err
}

// FindDomain looks among the domains that the targeted organization may use.
func (c *Client) FindDomain(ctx context.Context, name string) (*Thing, error) {
	d, err := find(ctx, c, "/v3/domains", url.Values{}, name, thingName)
	if err == nil && d == nil {
		err = &MissingError{"domain", name, ""}
	}
	return d, err
}

// Processes of an app, with all that is known of them.
func (c *Client) Processes(ctx context.Context, app string) ([]Process, error) {
	return List[Process](ctx, c, "/v3/apps/"+app+"/processes", nil)
}

// Instances of a process. Those of a stopped app are none.
func (c *Client) Instances(ctx context.Context, process string) ([]Instance, error) {
	var answer struct {
		Resources []Instance `json:"resources"`
	}
	err := c.Do(ctx, http.MethodGet, "/v3/processes/"+process+"/stats", nil, &answer)
	return answer.Resources, err
}

// Routes of an app.
func (c *Client) Routes(ctx context.Context, app string) ([]Route, error) {
	return List[Route](ctx, c, "/v3/apps/"+app+"/routes", nil)
}
