package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/dewpaas/dew/cf"
)

// networkRoutes are CF's policy server: who may talk to whom, app to app.
func (s *Server) networkRoutes(t table) {
	const path = "/networking/v1/external/policies"
	t.stream(http.MethodGet, path, networkError((*call).listPolicies))
	t.stream(http.MethodPost, path, networkError((*call).addPolicies))
	t.stream(http.MethodPost, path+"/delete", networkError((*call).removePolicies))
}

// networkError answers failures as the policy server does, in one word.
func networkError(f func(*call, http.ResponseWriter) error) func(*call, http.ResponseWriter) error {
	return func(c *call, w http.ResponseWriter) error {
		err := f(c, w)
		var r *refusal
		if errors.As(err, &r) && r.status < 500 {
			reply(w, r.status, obj{"error": r.detail})
			return nil
		}
		return err
	}
}

type policyEnd struct {
	ID       string `json:"id"`
	Protocol string `json:"protocol,omitempty"`
	Ports    *struct {
		Start int `json:"start"`
		End   int `json:"end"`
	} `json:"ports,omitempty"`
}

type policyBody struct {
	Source      policyEnd `json:"source"`
	Destination policyEnd `json:"destination"`
}

// maxPolicies bounds the policies of one request, and of one source app.
const (
	maxPolicies    = 1000
	maxOfOneSource = 1000
)

func (c *call) readPolicies() ([]*cf.NetworkPolicy, error) {
	var b struct {
		Policies []policyBody `json:"policies"`
	}
	d := json.NewDecoder(bytes.NewReader(c.body))
	if err := d.Decode(&b); err != nil {
		return nil, &refusal{400, 0, "", "invalid values passed to API"}
	}
	if len(b.Policies) == 0 || len(b.Policies) > maxPolicies {
		return nil, &refusal{400, 0, "", fmt.Sprintf("missing policies, or more than %d", maxPolicies)}
	}
	var list []*cf.NetworkPolicy
	for _, one := range b.Policies {
		p, err := one.policy()
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

func (b policyBody) policy() (*cf.NetworkPolicy, error) {
	p := &cf.NetworkPolicy{SourceGUID: b.Source.ID, DestinationGUID: b.Destination.ID, Protocol: b.Destination.Protocol}
	if b.Destination.Ports != nil {
		p.StartPort, p.EndPort = b.Destination.Ports.Start, b.Destination.Ports.End
	}
	bad := func(text string) (*cf.NetworkPolicy, error) { return nil, &refusal{400, 0, "", text} }
	switch {
	case p.SourceGUID == "":
		return bad("missing source id")
	case p.DestinationGUID == "":
		return bad("missing destination id")
	case p.Protocol != cf.TCP && p.Protocol != cf.UDP:
		return bad("invalid destination protocol, specify either udp or tcp")
	case p.StartPort < 1 || p.EndPort > 65535 || p.StartPort > p.EndPort:
		return bad(fmt.Sprintf("invalid port range %d-%d, must be within 1-65535 with the start first", p.StartPort, p.EndPort))
	}
	return p, nil
}

// mayPolicies tells whether the caller may change policies between these apps:
// network admins all of them, developers those between apps of their spaces.
func (c *call) mayPolicies(list []*cf.NetworkPolicy) error {
	if c.admin() || c.id.Has("network.admin") {
		return nil
	}
	for _, p := range list {
		for _, app := range []string{p.SourceGUID, p.DestinationGUID} {
			a, err := cf.First[cf.App](c.tx, cf.Is("guid", app))
			if err != nil {
				return err
			}
			if a == nil {
				return &refusal{403, 0, "", "one or more applications cannot be found or accessed"}
			}
			if _, err := c.space(a.SpaceGUID, develop, "App"); err != nil {
				return &refusal{403, 0, "", "one or more applications cannot be found or accessed"}
			}
		}
	}
	return nil
}

func (c *call) listPolicies(w http.ResponseWriter) error {
	if err := checkParams(c.r, []string{"id"}); err != nil {
		return err
	}
	out := []policyBody{}
	err := c.transact(false, func() error {
		q := cf.Query{Order: []cf.Order{{Key: "created_at"}}}
		if text := c.r.URL.Query().Get("id"); text != "" {
			ids := strings.Split(text, ",")
			q.AnyOf = append(q.AnyOf, []cf.Cond{cf.Is("source_guid", ids...), cf.Is("destination_guid", ids...)})
		}
		if !c.auditor() && !c.id.Has("network.admin") {
			spaces, err := c.seenSpaces()
			if err != nil {
				return err
			}
			apps, err := guidsOf[cf.App](c, cf.Query{Where: []cf.Cond{cf.Is("space_guid", spaces...)}})
			if err != nil {
				return err
			}
			q.Where = append(q.Where, cf.Is("source_guid", apps...), cf.Is("destination_guid", apps...))
		}
		list, err := cf.List[cf.NetworkPolicy](c.tx, q)
		out = out[:0]
		for _, p := range list {
			out = append(out, showPolicy(p))
		}
		return err
	})
	if err == nil {
		reply(w, http.StatusOK, obj{"total_policies": len(out), "policies": out})
	}
	return err
}

func showPolicy(p *cf.NetworkPolicy) policyBody {
	b := policyBody{Source: policyEnd{ID: p.SourceGUID}, Destination: policyEnd{ID: p.DestinationGUID, Protocol: p.Protocol}}
	b.Destination.Ports = &struct {
		Start int `json:"start"`
		End   int `json:"end"`
	}{p.StartPort, p.EndPort}
	return b
}

// samePolicy finds the policy that equals p.
func (c *call) samePolicy(p *cf.NetworkPolicy) (*cf.NetworkPolicy, error) {
	return cf.First[cf.NetworkPolicy](c.tx, cf.Is("source_guid", p.SourceGUID), cf.Is("destination_guid", p.DestinationGUID), cf.Is("protocol", p.Protocol),
		cf.Is("start_port", int64(p.StartPort)), cf.Is("end_port", int64(p.EndPort)))
}

// policyChange reads policies and does f with each, in one transaction.
func (c *call) policyChange(w http.ResponseWriter, event string, f func(p *cf.NetworkPolicy) error) error {
	body, err := readBody(w, c.r)
	if err != nil {
		return err
	}
	c.body = body
	list, err := c.readPolicies()
	if err != nil {
		return err
	}
	apps := map[string]bool{}
	err = c.transact(true, func() error {
		if err := c.mayPolicies(list); err != nil {
			return err
		}
		for _, p := range list {
			if err := f(p); err != nil {
				return err
			}
			apps[p.SourceGUID], apps[p.DestinationGUID] = true, true
			if err := c.recordPolicy(event, p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	// What the runtime is told, it does before the answer: a policy that was
	// added works, one that was removed works no more.
	for app := range apps {
		if c.runtime != nil {
			if err := c.runtime.Changed(c.ctx, app); err != nil {
				return err
			}
		}
	}
	reply(w, http.StatusOK, obj{})
	return nil
}

func (c *call) recordPolicy(event string, p *cf.NetworkPolicy) error {
	a, err := cf.First[cf.App](c.tx, cf.Is("guid", p.SourceGUID))
	if err != nil || a == nil {
		return err
	}
	return c.recordApp(event, a, obj{"source": p.SourceGUID, "destination": p.DestinationGUID, "protocol": p.Protocol, "start_port": p.StartPort, "end_port": p.EndPort})
}

func (c *call) addPolicies(w http.ResponseWriter) error {
	return c.policyChange(w, "audit.network_policy.create", func(p *cf.NetworkPolicy) error {
		old, err := c.samePolicy(p)
		if err != nil || old != nil {
			return err // adding twice is no error
		}
		n, err := c.tx.Count(new(cf.NetworkPolicy), cf.Query{Where: []cf.Cond{cf.Is("source_guid", p.SourceGUID)}})
		if err != nil {
			return err
		}
		if n >= maxOfOneSource {
			return &refusal{403, 0, "", fmt.Sprintf("policy quota exceeded: an app can be the source of %d policies", maxOfOneSource)}
		}
		fresh := *p
		err = c.tx.Insert(&fresh)
		if cf.KindOf(err) == cf.Conflict {
			err = &refusal{403, 0, "", "one or more applications cannot be found or accessed"}
		}
		return err
	})
}

func (c *call) removePolicies(w http.ResponseWriter) error {
	return c.policyChange(w, "audit.network_policy.delete", func(p *cf.NetworkPolicy) error {
		old, err := c.samePolicy(p)
		if err != nil || old == nil {
			return err
		}
		return c.tx.Delete(old)
	})
}
