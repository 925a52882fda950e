package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/dewpaas/dew/cmd/dew/client"
)

// startCmd is `dew start`.
type startCmd struct {
	App    string `arg:"" help:"Name of the app."`
	NoWait bool   `help:"Do not wait for instances to run."`
}

func (l *startCmd) Run(ctx context.Context, c *console) error {
	s, app, err := c.findApp(ctx, l.App)
	if err != nil {
		return err
	}
	return s.act(ctx, app, "start", !l.NoWait)
}

// tail is the log from now on; nil when there is none to be had, for which
// nothing fails.
func (s *session) tail(ctx context.Context, app *client.App) *client.Tail {
	t, err := s.Tail(ctx, app.GUID)
	if err != nil {
		return nil
	}
	return t
}

// act starts or restarts an app, and waits until it runs.
func (s *session) act(ctx context.Context, app *client.App, action string, wait bool) error {
	tail := s.tail(ctx, app)
	if err := s.Do(ctx, http.MethodPost, "/v3/apps/"+app.GUID+"/actions/"+action, nil, nil); err != nil {
		return err
	}
	if !wait {
		return nil
	}
	return s.awaitStart(ctx, app, tail)
}

// stopCmd is `dew stop`.
type stopCmd struct {
	App string `arg:"" help:"Name of the app."`
}

func (l *stopCmd) Run(ctx context.Context, c *console) error {
	s, app, err := c.findApp(ctx, l.App)
	if err != nil {
		return err
	}
	return s.Do(ctx, http.MethodPost, "/v3/apps/"+app.GUID+"/actions/stop", nil, nil)
}

// restartCmd is `dew restart`.
type restartCmd struct {
	App      string `arg:"" help:"Name of the app."`
	Strategy string `enum:",rolling,canary" default:"" help:"Replace the instances one by one (rolling), or one and wait for a word (canary), instead of all at once."`
	NoWait   bool   `help:"Do not wait for instances to run."`
}

func (l *restartCmd) Run(ctx context.Context, c *console) error {
	s, app, err := c.findApp(ctx, l.App)
	if err != nil {
		return err
	}
	if l.Strategy == "" {
		return s.act(ctx, app, "restart", !l.NoWait)
	}
	return s.deploy(ctx, app, map[string]any{"strategy": l.Strategy}, !l.NoWait)
}

// scaleCmd is `dew scale`.
type scaleCmd struct {
	App       string `arg:"" help:"Name of the app."`
	Instances *int   `short:"i" help:"How many instances."`
	Memory    size   `short:"m" help:"Limit of memory of each, with K, M or G."`
	Disk      size   `short:"k" help:"Limit of disk of each, with K, M or G."`
	Process   string `default:"web" help:"Type of the process."`
	NoWait    bool   `help:"Do not wait for instances to run."`
}

func (l *scaleCmd) Run(ctx context.Context, c *console) error {
	s, app, err := c.findApp(ctx, l.App)
	if err != nil {
		return err
	}
	body := map[string]any{}
	if l.Instances != nil {
		body["instances"] = *l.Instances
	}
	if l.Memory != 0 {
		body["memory_in_mb"] = l.Memory.mebibytes()
	}
	if l.Disk != 0 {
		body["disk_in_mb"] = l.Disk.mebibytes()
	}
	if len(body) > 0 {
		if err := s.Do(ctx, http.MethodPost, "/v3/apps/"+app.GUID+"/processes/"+url.PathEscape(l.Process)+"/actions/scale", body, nil); err != nil {
			return err
		}
		if app.State == "STARTED" {
			if err := l.converge(ctx, s, app); err != nil {
				return err
			}
		}
	}
	line, err := s.readApp(ctx, app)
	if err == nil {
		s.tellApp(line)
	}
	return err
}

// converge waits for what was asked for. Other limits need new instances.
func (l *scaleCmd) converge(ctx context.Context, s *session, app *client.App) error {
	if l.Memory+l.Disk != 0 {
		fmt.Fprintf(s.err, "dew: restarting %s: other limits need new instances\n", printable(app.Name))
		return s.act(ctx, app, "restart", !l.NoWait)
	}
	if l.NoWait {
		return nil
	}
	return s.awaitStart(ctx, app, nil)
}

// rollbackCmd is `dew rollback`.
type rollbackCmd struct {
	App     string `arg:"" help:"Name of the app."`
	Version int    `help:"Revision to go back to; the one before unless given."`
	List    bool   `help:"Print the revisions that there are, and do nothing."`
	JSON    bool   `name:"json" help:"With --list, print JSON."`
	Force   bool   `short:"f" help:"Do not ask."`
	NoWait  bool   `help:"Do not wait for instances to run."`
}

type revisionLine struct {
	Version     int       `json:"version"`
	GUID        string    `json:"guid"`
	Deployed    bool      `json:"deployed"`
	Deployable  bool      `json:"deployable"`
	Time        time.Time `json:"created_at"`
	Description string    `json:"description"`
}

func (r *rollbackCmd) Run(ctx context.Context, c *console) error {
	s, app, err := c.findApp(ctx, r.App)
	if err != nil {
		return err
	}
	revisions, err := s.revisions(ctx, app)
	if err != nil {
		return err
	}
	if r.List {
		return s.tellRevisions(revisions, r.JSON)
	}
	to, err := r.choose(revisions, app.Name)
	if err != nil {
		return err
	}
	if !r.Force {
		if err := s.confirm(fmt.Sprintf("roll %s back to revision %d (%s)", app.Name, to.Version, to.Description), "-f"); err != nil {
			return err
		}
	}
	return s.deploy(ctx, app, map[string]any{"strategy": "rolling", "revision": map[string]any{"guid": to.GUID}}, !r.NoWait)
}

// revisions are the newest first.
func (s *session) revisions(ctx context.Context, app *client.App) ([]revisionLine, error) {
	all, err := client.List[client.Revision](ctx, s.Client, "/v3/apps/"+app.GUID+"/revisions", url.Values{"order_by": {"-created_at"}})
	if err != nil {
		return nil, err
	}
	live, err := client.List[client.Revision](ctx, s.Client, "/v3/apps/"+app.GUID+"/revisions/deployed", nil)
	deployed := map[string]bool{}
	for _, r := range live {
		deployed[r.GUID] = true
	}
	lines := []revisionLine{}
	for _, r := range all {
		lines = append(lines, revisionLine{r.Version, r.GUID, deployed[r.GUID], r.Deployable, r.CreatedAt, r.Description})
	}
	return lines, err
}

// choose finds the revision that was named, or the newest that can be deployed
// before the one that is.
func (r *rollbackCmd) choose(revisions []revisionLine, app string) (*revisionLine, error) {
	passed := false
	for i := range revisions {
		v := &revisions[i]
		switch {
		case r.Version == v.Version && !v.Deployable:
			return nil, withHint(fmt.Errorf("revision %d has no droplet any more", v.Version), "`dew rollback "+app+" --list` tells which have")
		case r.Version == v.Version || r.Version == 0 && passed && v.Deployable:
			return v, nil
		case v.Deployed || i == 0:
			passed = true
		}
	}
	if r.Version != 0 {
		return nil, withHint(fmt.Errorf("app %s has no revision %d", app, r.Version), "`dew rollback "+app+" --list`")
	}
	return nil, fmt.Errorf("app %s has no earlier revision to go back to", app)
}

func (s *session) tellRevisions(lines []revisionLine, asJSON bool) error {
	if asJSON {
		return s.json(lines)
	}
	var rows [][]cell
	for _, l := range lines {
		state := cell{"", 0}
		switch {
		case l.Deployed:
			state = cell{"deployed", green}
		case !l.Deployable:
			state = cell{"no droplet", faint}
		}
		rows = append(rows, []cell{{strconv.Itoa(l.Version), cyan}, state, {l.Time.Local().Format(time.DateTime), faint}, {text: l.Description}})
	}
	s.table([]string{"revision", "state", "made", "description"}, rows)
	return nil
}

// deploy starts a deployment and waits for its end.
func (s *session) deploy(ctx context.Context, app *client.App, body map[string]any, wait bool) error {
	body["relationships"] = map[string]any{"app": client.To(app.GUID)}
	var d client.Deployment
	if err := s.Do(ctx, http.MethodPost, "/v3/deployments", body, &d); err != nil {
		return err
	}
	if !wait {
		return nil
	}
	return s.follow(ctx, app, &d, "DEPLOYED")
}

// follow waits until a deployment has ended as it should, or pauses.
func (s *session) follow(ctx context.Context, app *client.App, d *client.Deployment, wanted string) error {
	status := s.status()
	defer status.end()
	ctx, cancel := context.WithTimeoutCause(ctx, startTime(), errSlow)
	defer cancel()
	err := client.Poll(ctx, func() (bool, error) {
		if err := s.Do(ctx, http.MethodGet, "/v3/deployments/"+d.GUID, nil, d); err != nil {
			return false, err
		}
		status.tell("deployment: " + strings.ToLower(d.Status.Reason))
		return d.Status.Value == "FINALIZED" || d.Status.Reason == "PAUSED", nil
	})
	switch {
	case err != nil && context.Cause(ctx) == errSlow:
		return withHint(fmt.Errorf("the deployment of %s is not done after %v: %s", app.Name, startTime(), d.Status.Details.Error),
			"it goes on; `dew logs "+app.Name+" --recent` tells what hinders it, `dew cancel-deployment "+app.Name+"` ends it")
	case err != nil:
		return err
	case d.Status.Value == "FINALIZED" && d.Status.Reason != wanted:
		return fmt.Errorf("the deployment of %s was %s", app.Name, strings.ToLower(d.Status.Reason))
	case d.Status.Reason == "PAUSED":
		status.end()
		name := printable(app.Name)
		fmt.Fprintf(s.err, "dew: new instances of %s run beside the old ones: `dew continue-deployment %s` goes on, `dew cancel-deployment %s` goes back\n", name, name, name)
	}
	return nil
}

// startTime is how long an app may take to start: minutes in $CF_STARTUP_TIMEOUT.
func startTime() time.Duration { return minutes("CF_STARTUP_TIMEOUT", 5) }

func minutes(name string, otherwise int) time.Duration {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil || n <= 0 {
		n = otherwise
	}
	return time.Duration(n) * time.Minute
}

var errSlow = errors.New("it takes too long")

// awaitStart waits until every process that is wanted has an instance running,
// and all of them if that is soon.
func (s *session) awaitStart(ctx context.Context, app *client.App, tail *client.Tail) error {
	processes, err := s.Processes(ctx, app.GUID)
	if err != nil {
		return err
	}
	status := s.status()
	defer status.end()
	ctx, cancel := context.WithTimeoutCause(ctx, startTime(), errSlow)
	defer cancel()
	for _, p := range processes {
		if p.Instances == 0 {
			continue
		}
		var seen []client.Instance
		err := client.PollWithin(ctx, time.Second/2, func() (bool, error) {
			if seen, err = s.Instances(ctx, p.GUID); err != nil {
				return false, err
			}
			n, crashed := count(seen)
			status.tell(standing(p, n, seen))
			if len(seen) > 0 && crashed == len(seen) {
				return false, errCrashed
			}
			return n > 0, nil
		})
		if errors.Is(err, errCrashed) || err != nil && context.Cause(ctx) == errSlow {
			status.end()
			return s.explainStart(app, p, seen, tail)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var errCrashed = errors.New("all instances crashed")

func count(list []client.Instance) (running, crashed int) {
	for _, i := range list {
		switch i.State {
		case "RUNNING":
			running++
		case "CRASHED":
			crashed++
		}
	}
	return running, crashed
}

func standing(p client.Process, running int, list []client.Instance) string {
	text := fmt.Sprintf("%s: %d of %d running", p.Type, running, p.Instances)
	for _, i := range list {
		if i.Details != "" {
			return text + ": " + i.Details
		}
	}
	return text
}

// explainStart prints what the app itself wrote before it failed to start.
func (s *session) explainStart(app *client.App, p client.Process, seen []client.Instance, tail *client.Tail) error {
	if tail != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // the start's own may have ended
		defer cancel()
		lines, _ := tail.Read(ctx)
		for _, l := range lines[max(0, len(lines)-20):] {
			if strings.HasPrefix(l.Source, "APP/") || l.Source == "CELL" {
				fmt.Fprintf(s.err, "   %s %s\n", s.paint(faint, printable(l.Source)), printable(string(l.Text)))
			}
		}
	}
	err := fmt.Errorf("%s does not start: %s", app.Name, standing(p, 0, seen))
	return withHint(err, "`dew logs "+app.Name+" --recent` has all that it wrote")
}
