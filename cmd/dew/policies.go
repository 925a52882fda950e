package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/dewpaas/dew/cmd/dew/client"
)

// policiesCmd is `dew network-policies`.
type policiesCmd struct {
	Source string `help:"Only those from this app."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

type policyLine struct {
	Source      string `json:"source"`
	Destination string `json:"destination"`
	Protocol    string `json:"protocol"`
	Ports       string `json:"ports"`
}

func (p *policiesCmd) Run(ctx context.Context, c *console) error {
	s, err := c.inSpace(ctx)
	if err != nil {
		return err
	}
	apps, err := client.List[client.App](ctx, s.Client, "/v3/apps", url.Values{"space_guids": {s.Config.Space.GUID}})
	if err != nil {
		return err
	}
	var here []string
	for _, a := range apps {
		if p.Source == "" || p.Source == a.Name {
			here = append(here, a.GUID)
		}
	}
	if p.Source != "" && len(here) == 0 {
		return &client.MissingError{What: "app", Name: p.Source, Where: "space " + s.Config.Space.Name}
	}
	policies, err := s.ListPolicies(ctx, here...)
	if err != nil {
		return err
	}
	policies = slices.DeleteFunc(policies, func(q client.Policy) bool { return !slices.Contains(here, q.Source.ID) })
	lines, err := s.linesOfPolicies(ctx, policies, apps)
	if err != nil {
		return err
	}
	if p.JSON {
		return s.json(lines)
	}
	if len(lines) == 0 {
		fmt.Fprintf(s.err, "dew: no app of space %s may talk to another: `dew add-network-policy FROM TO` allows it\n", s.Config.Space.Name)
		return nil
	}
	var rows [][]cell
	for _, l := range lines {
		rows = append(rows, []cell{{l.Source, cyan}, {l.Destination, cyan}, {text: l.Protocol}, {text: l.Ports}})
	}
	s.table([]string{"source", "destination", "protocol", "ports"}, rows)
	return nil
}

// linesOfPolicies names the apps, those of other spaces too. One that the user
// may not see keeps its GUID.
func (s *session) linesOfPolicies(ctx context.Context, policies []client.Policy, apps []client.App) ([]policyLine, error) {
	names := map[string]string{}
	for _, a := range apps {
		names[a.GUID] = a.Name
	}
	var strange []string
	for _, p := range policies {
		if names[p.Destination.ID] == "" {
			strange = append(strange, p.Destination.ID)
		}
	}
	if len(strange) > 0 {
		others, err := client.List[client.App](ctx, s.Client, "/v3/apps", url.Values{"guids": {strings.Join(strange, ",")}})
		if err != nil {
			return nil, err
		}
		for _, a := range others {
			names[a.GUID] = a.Name
		}
	}
	lines := []policyLine{}
	for _, p := range policies {
		to := names[p.Destination.ID]
		if to == "" {
			to = p.Destination.ID
		}
		ports := ports{p.Destination.Ports.Start, p.Destination.Ports.End}
		lines = append(lines, policyLine{names[p.Source.ID], to, p.Destination.Protocol, ports.String()})
	}
	return lines, nil
}

// ports is one port, or a range: 8080 or 8080-8090.
type ports struct{ first, last int }

func (p ports) String() string {
	if p.first == p.last {
		return strconv.Itoa(p.first)
	}
	return fmt.Sprintf("%d-%d", p.first, p.last)
}

// UnmarshalText makes ports a flag.
func (p *ports) UnmarshalText(text []byte) error {
	first, last, ranged := strings.Cut(string(text), "-")
	if !ranged {
		last = first
	}
	a, bad := strconv.ParseUint(first, 10, 16)
	b, worse := strconv.ParseUint(last, 10, 16)
	if errors.Join(bad, worse) != nil || a == 0 || b < a {
		return fmt.Errorf("%q is neither a port nor a range like 8080-8090", text)
	}
	*p = ports{int(a), int(b)}
	return nil
}

// policyFlags name a policy, as cf does.
type policyFlags struct {
	From     string `arg:"" help:"App that connects."`
	To       string `arg:"" help:"App that it connects to."`
	Port     ports  `default:"8080" help:"Port, or a range like 8080-8090."`
	Protocol string `enum:"tcp,udp" default:"tcp" help:"Protocol: ${enum}."`
	Org      string `short:"o" help:"Organization of the app that is connected to, if it is another."`
	Space    string `short:"s" help:"Space of the app that is connected to, if it is another."`
}

func (f *policyFlags) policy(ctx context.Context, c *console) (*session, client.Policy, error) {
	var p client.Policy
	s, from, err := c.findApp(ctx, f.From)
	if err != nil {
		return nil, p, err
	}
	to, err := f.destination(ctx, s)
	if err != nil {
		return nil, p, err
	}
	p.Source.ID, p.Destination.ID, p.Destination.Protocol = from.GUID, to.GUID, f.Protocol
	p.Destination.Ports = client.Ports{Start: f.Port.first, End: f.Port.last}
	return s, p, nil
}

func (f *policyFlags) destination(ctx context.Context, s *session) (*client.App, error) {
	if f.Org != "" && f.Space == "" {
		return nil, withHint(errors.New("an organization without a space"), "name the space with -s")
	}
	if f.Space == "" {
		return s.FindApp(ctx, f.To)
	}
	org := s.Config.Org
	if f.Org != "" {
		o, err := s.FindOrg(ctx, f.Org)
		if err != nil {
			return nil, err
		}
		org = client.Named{GUID: o.GUID, Name: o.Name}
	}
	space, err := s.FindSpace(ctx, org, f.Space)
	if err != nil {
		return nil, err
	}
	return s.FindAppIn(ctx, client.Named{GUID: space.GUID, Name: space.Name}, f.To)
}

// addPolicyCmd is `dew add-network-policy`.
type addPolicyCmd struct{ policyFlags }

func (a *addPolicyCmd) Run(ctx context.Context, c *console) error {
	s, p, err := a.policy(ctx, c)
	if err != nil {
		return err
	}
	return s.AddPolicy(ctx, p)
}

// removePolicyCmd is `dew remove-network-policy`.
type removePolicyCmd struct{ policyFlags }

func (r *removePolicyCmd) Run(ctx context.Context, c *console) error {
	s, p, err := r.policy(ctx, c)
	if err != nil {
		return err
	}
	policies, err := s.ListPolicies(ctx, p.Source.ID)
	if err != nil {
		return err
	}
	if !slices.Contains(policies, p) {
		fmt.Fprintf(s.err, "dew: there is no such policy: nothing to remove; `dew network-policies` lists them\n")
		return nil
	}
	return s.RemovePolicy(ctx, p)
}
