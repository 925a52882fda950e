package client

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// Policy lets the instances of one app connect to those of another.
type Policy struct {
	Source struct {
		ID string `json:"id"`
	} `json:"source"`
	Destination struct {
		ID       string `json:"id"`
		Protocol string `json:"protocol"` // tcp or udp
		Ports    Ports  `json:"ports"`
	} `json:"destination"`
}

// Ports are a range, both ends included.
type Ports struct {
	Start int `json:"start"`
	End   int `json:"end"`
}

// ListPolicies are those that one of the apps takes part in; of no apps there are none.
func (c *Client) ListPolicies(ctx context.Context, apps ...string) ([]Policy, error) {
	if len(apps) == 0 {
		return nil, nil
	}
	var answer struct {
		Policies []Policy `json:"policies"`
	}
	err := c.Do(ctx, http.MethodGet, c.policies()+"?"+url.Values{"id": {strings.Join(apps, ",")}}.Encode(), nil, &answer)
	return answer.Policies, err
}

// AddPolicy allows what may be allowed already.
func (c *Client) AddPolicy(ctx context.Context, p Policy) error {
	return c.Do(ctx, http.MethodPost, c.policies(), map[string]any{"policies": []Policy{p}}, nil)
}

// RemovePolicy takes back exactly what was allowed.
func (c *Client) RemovePolicy(ctx context.Context, p Policy) error {
	return c.Do(ctx, http.MethodPost, c.policies()+"/delete", map[string]any{"policies": []Policy{p}}, nil)
}

// policies is where the policy server has them. A file that an older dew or cf
// wrote may not name the server.
func (c *Client) policies() string {
	base := c.Config.Settings.Policies
	if base == "" {
		base = "/networking/v1/external"
	}
	return strings.TrimSuffix(base, "/") + "/policies"
}
