package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dewpaas/dew/cmd/dew/client"
)

// appsCmd is `dew apps`.
type appsCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// appLine is one app of a list.
type appLine struct {
	Name      string        `json:"name"`
	GUID      string        `json:"guid"`
	State     string        `json:"state"`
	Processes []processLine `json:"processes"`
	Routes    []string      `json:"routes"`
}

type processLine struct {
	Type      string         `json:"type"`
	Instances int            `json:"instances"`
	Running   int            `json:"running"`
	MemoryMB  int64          `json:"memory_mb"`
	DiskMB    int64          `json:"disk_mb"`
	Health    string         `json:"health_check"`
	Command   string         `json:"command,omitempty"`
	Guests    []instanceLine `json:"guests,omitempty"`
}

type instanceLine struct {
	Index     int     `json:"index"`
	State     string  `json:"state"`
	Ready     bool    `json:"ready"`
	Uptime    float64 `json:"uptime_seconds"`
	CPU       float64 `json:"cpu"`
	Memory    int64   `json:"memory_bytes"`
	MemoryMax int64   `json:"memory_max_bytes"`
	Disk      int64   `json:"disk_bytes"`
	DiskMax   int64   `json:"disk_max_bytes"`
	Details   string  `json:"details,omitempty"`
}

func (a *appsCmd) Run(ctx context.Context, c *console) error {
	s, err := c.inSpace(ctx)
	if err != nil {
		return err
	}
	lines, err := s.listApps(ctx)
	if err != nil {
		return err
	}
	if a.JSON {
		return s.json(lines)
	}
	if len(lines) == 0 {
		fmt.Fprintf(s.err, "dew: no apps in space %s: `dew push NAME` makes one of the folder you are in\n", s.Config.Space.Name)
		return nil
	}
	var rows [][]cell
	for _, l := range lines {
		counts, memory := make([]string, 0, len(l.Processes)), ""
		for _, p := range l.Processes {
			if p.Instances > 0 || p.Type == "web" {
				counts = append(counts, fmt.Sprintf("%s %d/%d", p.Type, p.Running, p.Instances))
			}
			if p.Type == "web" {
				memory = mebibytes(p.MemoryMB)
			}
		}
		rows = append(rows, []cell{{l.Name, cyan}, l.health(), {text: strings.Join(counts, ", ")}, {text: memory}, {text: strings.Join(l.Routes, ", ")}})
	}
	s.table([]string{"name", "state", "processes", "memory", "routes"}, rows)
	return nil
}

// health is the state of an app, in the colour of how it is.
func (l appLine) health() cell {
	wanted, running := 0, 0
	for _, p := range l.Processes {
		wanted, running = wanted+p.Instances, running+p.Running
	}
	switch {
	case l.State == "stopped":
		return cell{l.State, faint}
	case running >= wanted:
		return cell{l.State, green}
	case running == 0:
		return cell{l.State, red}
	}
	return cell{l.State, yellow}
}

// atOnce is how many apps one question for routes may name: a URL has its limits.
const atOnce = 100

func (s *session) listApps(ctx context.Context) ([]appLine, error) {
	space := s.Config.Space.GUID
	apps, err := client.List[client.App](ctx, s.Client, "/v3/apps", url.Values{"space_guids": {space}, "order_by": {"name"}})
	if err != nil || len(apps) == 0 {
		return []appLine{}, err
	}
	processes, err := client.List[client.Process](ctx, s.Client, "/v3/processes", url.Values{"space_guids": {space}, "embed": {"process_instances"}})
	if err != nil {
		return nil, err
	}
	lines, at := make([]appLine, len(apps)), map[string]*appLine{}
	for i, a := range apps {
		lines[i] = appLine{a.Name, a.GUID, strings.ToLower(a.State), []processLine{}, []string{}}
		at[a.GUID] = &lines[i]
	}
	for _, p := range processes {
		if l := at[p.Relationships.App.GUID()]; l != nil {
			line := lineOf(p)
			for _, i := range p.Brief {
				if i.State == "RUNNING" {
					line.Running++
				}
			}
			l.Processes = append(l.Processes, line)
		}
	}
	for first := 0; first < len(apps); first += atOnce {
		if err := s.addRoutes(ctx, apps[first:min(len(apps), first+atOnce)], at); err != nil {
			return nil, err
		}
	}
	return lines, nil
}

func (s *session) addRoutes(ctx context.Context, apps []client.App, at map[string]*appLine) error {
	guids := make([]string, len(apps))
	for i, a := range apps {
		guids[i] = a.GUID
	}
	routes, err := client.List[client.Route](ctx, s.Client, "/v3/routes", url.Values{"app_guids": {strings.Join(guids, ",")}})
	for _, r := range routes {
		told := map[string]bool{}
		for _, d := range r.Destinations {
			if l := at[d.App.GUID]; l != nil && !told[d.App.GUID] {
				told[d.App.GUID] = true
				l.Routes = append(l.Routes, r.URL)
			}
		}
	}
	return err
}

func lineOf(p client.Process) processLine {
	l := processLine{Type: p.Type, Instances: p.Instances, MemoryMB: p.MemoryMB, DiskMB: p.DiskMB, Health: p.Health.Type}
	if p.Command != nil && *p.Command != hiddenCommand {
		l.Command = *p.Command
	}
	return l
}

// hiddenCommand is what lists show in place of a command, which may hold secrets.
const hiddenCommand = "[PRIVATE DATA HIDDEN IN LISTS]"

// appCmd is `dew app`.
type appCmd struct {
	App  string `arg:"" help:"Name of the app."`
	GUID bool   `name:"guid" help:"Print the GUID only."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (a *appCmd) Run(ctx context.Context, c *console) error {
	s, app, err := c.findApp(ctx, a.App)
	if err != nil {
		return err
	}
	if a.GUID {
		fmt.Fprintln(s.out, app.GUID)
		return nil
	}
	line, err := s.readApp(ctx, app)
	if err != nil {
		return err
	}
	if a.JSON {
		return s.json(line)
	}
	s.tellApp(line)
	return nil
}

// readApp finds out all that there is to say of an app.
func (s *session) readApp(ctx context.Context, app *client.App) (*appLine, error) {
	line := &appLine{app.Name, app.GUID, strings.ToLower(app.State), []processLine{}, []string{}}
	processes, err := s.Processes(ctx, app.GUID)
	if err != nil {
		return nil, err
	}
	for _, p := range processes {
		if err := s.Do(ctx, http.MethodGet, "/v3/processes/"+p.GUID, nil, &p); err != nil { // lists hide the command
			return nil, err
		}
		l := lineOf(p)
		instances, err := s.Instances(ctx, p.GUID)
		if client.StatusOf(err) == http.StatusServiceUnavailable {
			s.Warn(err.Error()) // the rest is worth telling
		} else if err != nil {
			return nil, err
		}
		for _, i := range instances {
			l.Guests = append(l.Guests, guestOf(i))
			if i.State == "RUNNING" {
				l.Running++
			}
		}
		line.Processes = append(line.Processes, l)
	}
	routes, err := s.Routes(ctx, app.GUID)
	for _, r := range routes {
		line.Routes = append(line.Routes, r.URL)
	}
	return line, err
}

func guestOf(i client.Instance) instanceLine {
	return instanceLine{Index: i.Index, State: strings.ToLower(i.State), Ready: i.Routable != nil && *i.Routable, Uptime: i.Uptime, CPU: i.Usage.CPU,
		Memory: i.Usage.Memory, MemoryMax: i.MemQuota, Disk: i.Usage.Disk, DiskMax: i.DiskMax, Details: i.Details}
}

func (s *session) tellApp(l *appLine) {
	routes := "none"
	if len(l.Routes) > 0 {
		shown := make([]string, len(l.Routes))
		for i, r := range l.Routes {
			shown[i] = s.address(r)
		}
		routes = strings.Join(shown, ", ")
	}
	s.columns([][]cell{{{text: "name"}, {l.Name, cyan}}, {{text: "state"}, l.health()}, {{text: "routes"}, {text: routes}}}, "")
	for _, p := range l.Processes {
		if p.Instances == 0 && p.Type != "web" {
			continue
		}
		fmt.Fprintf(s.out, "\n%s  %d/%d running, %s memory, %s disk, health check: %s\n", s.paint(bold, printable(p.Type)), p.Running, p.Instances,
			mebibytes(p.MemoryMB), mebibytes(p.DiskMB), printable(p.Health))
		if p.Command != "" {
			fmt.Fprintf(s.out, "  command: %s\n", printable(p.Command))
		}
		s.tellGuests(p.Guests)
	}
}

// address is a route as a browser takes it, where that is known: dew up listens
// for apps and its API at one port.
func (s *session) address(route string) string {
	target, err := url.Parse(s.Config.Target)
	if err != nil || !s.home {
		return route
	}
	host, path, found := strings.Cut(route, "/")
	if strings.HasSuffix(host, ".internal") { // for apps only
		return route
	}
	if found {
		path = "/" + path
	}
	if port := target.Port(); port != "" {
		host += ":" + port
	}
	return target.Scheme + "://" + host + path
}

func (s *session) tellGuests(guests []instanceLine) {
	if len(guests) == 0 {
		return
	}
	rows := [][]cell{{{"#", bold}, {"state", bold}, {"ready", bold}, {"since", bold}, {"cpu", bold}, {"memory", bold}, {"disk", bold}, {"details", bold}}}
	for _, g := range guests {
		row := []cell{{text: strconv.Itoa(g.Index)}, stateCell(g.State), {text: "no"}, {text: age(time.Duration(g.Uptime * float64(time.Second)))},
			{text: strconv.FormatFloat(100*g.CPU, 'f', 1, 64) + "%"}, {text: bytesOf(g.Memory) + " of " + bytesOf(g.MemoryMax)},
			{text: bytesOf(g.Disk) + " of " + bytesOf(g.DiskMax)}, {text: g.Details}}
		if g.Ready {
			row[2].text = "yes"
		}
		rows = append(rows, row)
	}
	s.columns(rows, "  ")
}

func stateCell(state string) cell {
	switch state {
	case "running", "succeeded":
		return cell{state, green}
	case "crashed", "failed", "down":
		return cell{state, red}
	}
	return cell{state, yellow}
}

// deleteCmd is `dew delete`.
type deleteCmd struct {
	App    string `arg:"" help:"Name of the app."`
	Routes bool   `short:"r" help:"Delete its routes too."`
	Force  bool   `short:"f" help:"Do not ask."`
}

func (d *deleteCmd) Run(ctx context.Context, c *console) error {
	s, app, err := c.findApp(ctx, d.App)
	var missing *client.MissingError
	if errors.As(err, &missing) {
		fmt.Fprintf(c.err, "dew: %v: nothing to delete\n", err)
		return nil // what the user wants is so
	}
	if err != nil {
		return err
	}
	if !d.Force {
		if err := s.confirm("delete app "+app.Name, "-f"); err != nil {
			return err
		}
	}
	var routes []client.Route
	if d.Routes {
		if routes, err = s.ownRoutes(ctx, app); err != nil {
			return err
		}
	}
	if err := s.Work(ctx, http.MethodDelete, "/v3/apps/"+app.GUID, nil); err != nil {
		return err
	}
	for _, r := range routes {
		if err := s.Work(ctx, http.MethodDelete, "/v3/routes/"+r.GUID, nil); err != nil && client.StatusOf(err) != http.StatusNotFound {
			return fmt.Errorf("the app is deleted, its route %s is not: %w", r.URL, err)
		}
	}
	return nil
}

// ownRoutes are those that lead to nothing but this app.
func (s *session) ownRoutes(ctx context.Context, app *client.App) ([]client.Route, error) {
	routes, err := s.Routes(ctx, app.GUID)
	for _, r := range routes {
		for _, d := range r.Destinations {
			if d.App.GUID != app.GUID {
				return nil, withHint(fmt.Errorf("route %s leads to other apps too", r.URL), "delete the app without -r, or unmap the route first")
			}
		}
	}
	return routes, err
}
