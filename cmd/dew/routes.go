package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/dewpaas/dew/cmd/dew/client"
)

// routesCmd is `dew routes`.
type routesCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

type routeLine struct {
	URL  string   `json:"url"`
	GUID string   `json:"guid"`
	Apps []string `json:"apps"`
}

func (r *routesCmd) Run(ctx context.Context, c *console) error {
	s, err := c.inSpace(ctx)
	if err != nil {
		return err
	}
	here := url.Values{"space_guids": {s.Config.Space.GUID}}
	routes, err := client.List[client.Route](ctx, s.Client, "/v3/routes", here)
	if err != nil {
		return err
	}
	apps, err := client.List[client.App](ctx, s.Client, "/v3/apps", here)
	if err != nil {
		return err
	}
	names := map[string]string{}
	for _, a := range apps {
		names[a.GUID] = a.Name
	}
	lines := []routeLine{}
	for _, r := range routes {
		lines = append(lines, lineOfRoute(r, names))
	}
	if r.JSON {
		return s.json(lines)
	}
	if len(lines) == 0 {
		fmt.Fprintf(s.err, "dew: no routes in space %s\n", s.Config.Space.Name)
		return nil
	}
	var rows [][]cell
	for _, l := range lines {
		rows = append(rows, []cell{{l.URL, cyan}, {text: strings.Join(l.Apps, ", ")}})
	}
	s.table([]string{"route", "apps"}, rows)
	return nil
}

// lineOfRoute names the apps of a route; one of another space by its GUID.
func lineOfRoute(r client.Route, names map[string]string) routeLine {
	l := routeLine{URL: r.URL, GUID: r.GUID, Apps: []string{}}
	for _, d := range r.Destinations {
		name := names[d.App.GUID]
		if name == "" {
			name = d.App.GUID
		}
		if d.App.Process.Type != "" && d.App.Process.Type != "web" {
			name += " (" + d.App.Process.Type + ")"
		}
		l.Apps = append(l.Apps, name)
	}
	return l
}

// routeFlags name a route, as cf does.
type routeFlags struct {
	App      string `arg:"" help:"Name of the app."`
	Domain   string `arg:"" help:"Domain of the route."`
	Hostname string `short:"n" help:"Host in front of the domain."`
	Path     string `help:"Path behind it."`
}

func (f *routeFlags) path() string {
	if f.Path == "" || strings.HasPrefix(f.Path, "/") {
		return f.Path
	}
	return "/" + f.Path
}

// find looks for the route; nil when there is none.
func (f *routeFlags) find(ctx context.Context, s *session, domain string) (*client.Route, error) {
	routes, err := client.List[client.Route](ctx, s.Client, "/v3/routes",
		url.Values{"domain_guids": {domain}, "hosts": {f.Hostname}, "paths": {f.path()}})
	for i, r := range routes {
		if r.Host == f.Hostname && r.Path == f.path() {
			return &routes[i], err
		}
	}
	return nil, err
}

// mapRouteCmd is `dew map-route`.
type mapRouteCmd struct {
	routeFlags
	HTTP2 bool `name:"http2" help:"Speak HTTP/2 to the app, as gRPC needs."`
}

func (m *mapRouteCmd) Run(ctx context.Context, c *console) error {
	s, app, err := c.findApp(ctx, m.App)
	if err != nil {
		return err
	}
	domain, err := s.FindDomain(ctx, m.Domain)
	if err != nil {
		return err
	}
	route, err := m.find(ctx, s, domain.GUID)
	if err != nil {
		return err
	}
	if route == nil {
		route = new(client.Route)
		body := map[string]any{"host": m.Hostname, "path": m.path(), "relationships": map[string]any{"space": client.To(s.Config.Space.GUID), "domain": client.To(domain.GUID)}}
		if err := s.Do(ctx, http.MethodPost, "/v3/routes", body, route); err != nil {
			return err
		}
	}
	to := map[string]any{"app": map[string]any{"guid": app.GUID}}
	if m.HTTP2 {
		to["protocol"] = "http2"
	}
	if err := s.Do(ctx, http.MethodPost, "/v3/routes/"+route.GUID+"/destinations", map[string]any{"destinations": []any{to}}, nil); err != nil {
		return err
	}
	fmt.Fprintln(s.out, printable(route.URL))
	return nil
}

// unmapRouteCmd is `dew unmap-route`.
type unmapRouteCmd struct{ routeFlags }

func (u *unmapRouteCmd) Run(ctx context.Context, c *console) error {
	s, app, err := c.findApp(ctx, u.App)
	if err != nil {
		return err
	}
	domain, err := s.FindDomain(ctx, u.Domain)
	if err != nil {
		return err
	}
	route, err := u.find(ctx, s, domain.GUID)
	if err != nil {
		return err
	}
	found := false
	if route != nil {
		for _, d := range route.Destinations {
			if d.App.GUID == app.GUID {
				found = true
				if err := s.Do(ctx, http.MethodDelete, "/v3/routes/"+route.GUID+"/destinations/"+d.GUID, nil, nil); err != nil {
					return err
				}
			}
		}
	}
	if !found {
		fmt.Fprintf(s.err, "dew: no such route leads to %s: nothing to unmap\n", app.Name)
	}
	return nil
}
