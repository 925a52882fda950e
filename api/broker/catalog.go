package broker

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Catalog is what a broker offers.
type Catalog struct {
	Services []Service `json:"services"`
}

// Service is one offering of a catalog.
type Service struct {
	ID                   string         `json:"id"`
	Name                 string         `json:"name"`
	Description          string         `json:"description"`
	Bindable             bool           `json:"bindable"`
	Tags                 []string       `json:"tags"`
	Requires             []string       `json:"requires"`
	Metadata             map[string]any `json:"metadata"`
	PlanUpdatable        bool           `json:"plan_updateable"` // spelled so in the specification
	InstancesRetrievable bool           `json:"instances_retrievable"`
	BindingsRetrievable  bool           `json:"bindings_retrievable"`
	ContextUpdates       bool           `json:"allow_context_updates"`
	Plans                []Plan         `json:"plans"`
}

// Plan is one way to have a service.
type Plan struct {
	ID            string         `json:"id"`
	Name          string         `json:"name"`
	Description   string         `json:"description"`
	Free          *bool          `json:"free"`
	Bindable      *bool          `json:"bindable"`
	PlanUpdatable *bool          `json:"plan_updateable"`
	Metadata      map[string]any `json:"metadata"`
	Schemas       map[string]any `json:"schemas"`
	MaxPolling    int            `json:"maximum_polling_duration"`
	Maintenance   map[string]any `json:"maintenance_info"`
}

const (
	maxServices = 200
	maxPlans    = 200
	maxText     = 10_000
)

// ParseCatalog reads a catalog and says everything that is wrong with it at once.
func ParseCatalog(text []byte) (*Catalog, error) {
	c := new(Catalog)
	if err := json.Unmarshal(text, c); err != nil {
		return nil, &Error{Word: catalogInvalid, About: "Service broker catalog is invalid: it is not the JSON of a catalog: " + err.Error()}
	}
	if problems := c.problems(); len(problems) > 0 {
		return nil, &Error{Word: catalogInvalid, About: "Service broker catalog is invalid: \n" + strings.Join(problems, "\n")}
	}
	return c, nil
}

func (c *Catalog) problems() []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if len(c.Services) == 0 || len(c.Services) > maxServices {
		say("Service broker must provide 1 to %d services", maxServices)
	}
	ids, names := map[string]bool{}, map[string]bool{}
	take := func(id, what string) {
		switch {
		case id == "" || len(id) > 255:
			say("%s id must be a string of 1 to 255 characters", what)
		case ids[id]:
			say("%s id must be unique: %.100q", what, id)
		}
		ids[id] = true
	}
	for _, s := range c.Services {
		take(s.ID, "Service")
		if names[s.Name] {
			say("Service names must be unique within a broker: %.100q", s.Name)
		}
		names[s.Name] = true
		out = append(out, s.problems()...)
		for _, p := range s.Plans {
			take(p.ID, "Plan")
		}
	}
	return out[:min(len(out), 20)]
}

func (s Service) problems() []string {
	var out []string
	say := func(format string, args ...any) {
		out = append(out, fmt.Sprintf("Service %.100s: ", s.Name)+fmt.Sprintf(format, args...))
	}
	if !named(s.Name) || len(s.Description) > maxText || s.Description == "" {
		say("name and description are required")
	}
	if len(s.Plans) == 0 || len(s.Plans) > maxPlans {
		say("it must have 1 to %d plans", maxPlans)
	}
	for _, need := range s.Requires {
		switch need {
		case "syslog_drain", "route_forwarding":
		case "volume_mount":
			say("volumes are not supported: state is reached over the network only")
		default:
			say("it requires %.100q, which there is not", need)
		}
	}
	plans := map[string]bool{}
	for _, p := range s.Plans {
		if !named(p.Name) || len(p.Description) > maxText || p.Description == "" {
			say("plan name and description are required")
		}
		if plans[p.Name] {
			say("plan names must be unique within a service: %.100q", p.Name)
		}
		plans[p.Name] = true
		if p.MaxPolling < 0 {
			say("maximum_polling_duration must not be negative")
		}
	}
	return out
}

func named(name string) bool { return strings.TrimSpace(name) != "" && len(name) <= 255 }
