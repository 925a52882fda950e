package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/dewpaas/dew/cmd/dew/client"
	"github.com/dewpaas/dew/cmd/dew/source"
)

// pushCmd is `dew push`.
type pushCmd struct {
	App         string   `arg:"" optional:"" help:"Name of the app; all apps of the manifest unless given."`
	Path        string   `short:"p" type:"path" placeholder:"DIR|ZIP" help:"Folder or zip with the app's source; the folder you are in unless given."`
	Manifest    string   `short:"f" type:"path" placeholder:"FILE" help:"Manifest; manifest.yml of the folder you are in unless given."`
	NoManifest  bool     `help:"Ignore manifest.yml."`
	Vars        []string `name:"var" sep:"none" placeholder:"NAME=VALUE" help:"Value for ((NAME)) in the manifest."`
	VarsFiles   []string `name:"vars-file" type:"path" placeholder:"FILE" help:"YAML file with values for the manifest."`
	Instances   *int     `short:"i" help:"How many instances."`
	Memory      string   `short:"m" help:"Limit of memory of each, as 64M."`
	Disk        string   `short:"k" help:"Limit of disk of each, as 512M."`
	Command     *string  `short:"c" help:"Start command; null for the one that the build finds."`
	Health      string   `short:"u" name:"health-check-type" enum:",http,port,process" default:"" help:"Health check: http, port or process."`
	Endpoint    string   `help:"Path that an http health check asks for."`
	Timeout     int      `short:"t" placeholder:"SECONDS" help:"Time until the first instance has to be healthy."`
	NoRoute     bool     `help:"Map no route."`
	RandomRoute bool     `help:"Map a route with a random name."`
	NoStart     bool     `help:"Upload, but build and start nothing."`
	Strategy    string   `enum:",rolling,canary" default:"" help:"Replace running instances one by one (rolling), or one and wait for a word (canary), instead of all at once."`
	MaxInFlight int      `placeholder:"N" help:"With --strategy, how many instances at a time."`
	NoWait      bool     `help:"Do not wait for instances to run."`
}

func (p *pushCmd) Run(ctx context.Context, c *console) error {
	s, err := c.inSpace(ctx)
	if err != nil {
		return err
	}
	m, err := p.manifest()
	if err != nil {
		return err
	}
	text, err := m.YAML()
	if err != nil {
		return err
	}
	trees := make([]*source.Tree, len(m.Apps))
	for i, a := range m.Apps { // all of them, before anything is changed
		if trees[i], err = p.open(a); err != nil {
			return err
		}
		defer trees[i].Close()
	}
	if err := s.Work(ctx, http.MethodPost, "/v3/spaces/"+s.Config.Space.GUID+"/actions/apply_manifest", client.Body{Type: "application/x-yaml", Data: text}); err != nil {
		return fmt.Errorf("apply the manifest: %w", err)
	}
	for i, a := range m.Apps {
		app, err := s.FindApp(ctx, a.Name())
		if err == nil {
			err = p.push(ctx, s, app, trees[i])
		}
		if err != nil {
			return fmt.Errorf("push %s: %w", a.Name(), err)
		}
	}
	return nil
}

// manifest is the file, or an app with nothing but a name; flags win over it.
func (p *pushCmd) manifest() (*source.Manifest, error) {
	path := p.Manifest
	if info, err := os.Stat(path); path != "" && err == nil && info.IsDir() {
		if path = source.FindManifest(path); path == "" {
			return nil, fmt.Errorf("there is no manifest.yml in %s", p.Manifest)
		}
	}
	if path == "" && !p.NoManifest {
		path = source.FindManifest(".")
	}
	if path == "" || p.NoManifest {
		if p.App == "" {
			return nil, withHint(errors.New("the app has no name"), "`dew push NAME`, or a manifest.yml in this folder")
		}
		return p.flagged(source.NewManifest(p.App))
	}
	vars := source.Variables{}
	for _, file := range p.VarsFiles {
		if err := vars.ReadFile(file); err != nil {
			return nil, err
		}
	}
	for _, text := range p.Vars {
		if err := vars.Add(text); err != nil {
			return nil, err
		}
	}
	m, err := source.ReadManifest(path, vars)
	var missing *source.MissingError
	switch {
	case errors.As(err, &missing):
		return nil, withHint(err, "give them with --var NAME=VALUE or --vars-file FILE")
	case err != nil:
		return nil, err
	}
	if p.App != "" {
		if err := m.Only(p.App); err != nil {
			return nil, err
		}
	}
	return p.flagged(m)
}

// flagged writes the flags into the only app of a manifest.
func (p *pushCmd) flagged(m *source.Manifest) (*source.Manifest, error) {
	flags := p.flags()
	if len(m.Apps) > 1 && (len(flags) > 0 || p.Path != "" || p.NoRoute || p.RandomRoute) {
		return nil, withHint(fmt.Errorf("the manifest has %d apps, and flags are for one", len(m.Apps)), "name it: `dew push NAME ...`")
	}
	for _, a := range m.Apps {
		if a.Name() == "" {
			return nil, withHint(errors.New("an app of the manifest has no name"), "give it one, or `dew push NAME`")
		}
		for name, value := range flags {
			a.Set(name, value)
		}
		if a.Has("disk_quota") && flags["disk-quota"] != nil {
			a.Drop("disk_quota") // the older spelling of the same
		}
		p.route(a)
	}
	return m, nil
}

func (p *pushCmd) flags() map[string]any {
	flags := map[string]any{}
	for name, value := range map[string]string{"memory": p.Memory, "disk-quota": p.Disk, "health-check-type": p.Health, "health-check-http-endpoint": p.Endpoint} {
		if value != "" {
			flags[name] = value
		}
	}
	if p.Instances != nil {
		flags["instances"] = *p.Instances
	}
	if p.Timeout != 0 {
		flags["timeout"] = p.Timeout
	}
	if p.Command != nil {
		flags["command"] = *p.Command
		if *p.Command == "null" || *p.Command == "default" || *p.Command == "" { // as cf reads -c
			flags["command"] = nil
		}
	}
	return flags
}

// route says which route an app gets: what the flags or the manifest say, or
// else its name below the default domain.
func (p *pushCmd) route(a *source.App) {
	switch {
	case p.NoRoute:
		a.Set("no-route", true)
		a.Drop("routes")
		a.Drop("random-route")
	case p.RandomRoute:
		a.Set("random-route", true)
	case !a.Has("routes") && a.Text("no-route") != "true" && a.Text("random-route") != "true":
		a.Set("default-route", true)
	}
}

func (p *pushCmd) open(a *source.App) (*source.Tree, error) {
	path := p.Path
	if path == "" {
		path = a.Dir()
	}
	tree, err := source.Open(path)
	if errors.Is(err, source.ErrEmpty) {
		return nil, withHint(err, "-p names the folder with the source; .cfignore may leave out too much")
	}
	return tree, err
}

// push brings one app from its source to running instances.
func (p *pushCmd) push(ctx context.Context, s *session, app *client.App, tree *source.Tree) error {
	fmt.Fprintf(s.err, "dew: pushing %s to %s / %s\n", printable(app.Name), s.Config.Org.Name, s.Config.Space.Name)
	tail := s.tail(ctx, app)
	pkg, err := s.uploadTree(ctx, app, tree)
	if err != nil {
		return err
	}
	if p.NoStart {
		if app.State == "STARTED" {
			err = s.Do(ctx, http.MethodPost, "/v3/apps/"+app.GUID+"/actions/stop", nil, nil)
		}
		return err
	}
	droplet, err := s.stage(ctx, app, pkg, tail)
	if err != nil {
		return err
	}
	if err := p.run(ctx, s, app, droplet, tail); err != nil {
		return err
	}
	return s.summary(ctx, app)
}

func (s *session) summary(ctx context.Context, app *client.App) error {
	app, err := s.FindApp(ctx, app.Name)
	if err != nil {
		return err
	}
	line, err := s.readApp(ctx, app)
	if err == nil {
		s.tellApp(line)
	}
	return err
}

// run puts instances of a droplet in the place of those before.
func (p *pushCmd) run(ctx context.Context, s *session, app *client.App, droplet string, tail *client.Tail) error {
	if p.Strategy != "" && app.State == "STARTED" {
		body := map[string]any{"strategy": p.Strategy, "droplet": map[string]any{"guid": droplet}}
		if p.MaxInFlight > 0 {
			body["options"] = map[string]any{"max_in_flight": p.MaxInFlight}
		}
		return s.deploy(ctx, app, body, !p.NoWait)
	}
	current := map[string]any{"data": map[string]any{"guid": droplet}}
	if err := s.Do(ctx, http.MethodPatch, "/v3/apps/"+app.GUID+"/relationships/current_droplet", current, nil); err != nil {
		return err
	}
	if err := s.Do(ctx, http.MethodPost, "/v3/apps/"+app.GUID+"/actions/restart", nil, nil); err != nil {
		return err
	}
	if p.NoWait {
		return nil
	}
	return s.awaitStart(ctx, app, tail)
}

// uploadTree makes a package of a tree. Files that the foundation has are not
// sent again.
func (s *session) uploadTree(ctx context.Context, app *client.App, tree *source.Tree) (string, error) {
	known, err := s.Match(ctx, filesOf(tree))
	if err != nil {
		return "", err
	}
	omit := map[string]bool{}
	var spared int64
	for _, f := range known {
		omit[f.Path] = true
		spared += f.Size
	}
	var pkg struct {
		GUID string `json:"guid"`
	}
	body := map[string]any{"type": "bits", "relationships": map[string]any{"app": client.To(app.GUID)}}
	if err := s.Do(ctx, http.MethodPost, "/v3/packages", body, &pkg); err != nil {
		return "", err
	}
	if spared > 0 {
		fmt.Fprintf(s.err, "dew: %s in %d files are there already\n", bytesOf(spared), len(known))
	}
	if err := s.sendZip(ctx, pkg.GUID, known, tree, omit); err != nil {
		return "", fmt.Errorf("upload: %w", err)
	}
	return pkg.GUID, s.AwaitPackage(ctx, pkg.GUID)
}

// filesOf names what can be matched: files that are not empty.
func filesOf(tree *source.Tree) []client.File {
	var list []client.File
	for _, e := range tree.Entries {
		if e.Mode.IsRegular() && e.Size > 0 {
			list = append(list, client.File{Path: e.Path, Mode: strconv.FormatUint(uint64(e.Mode.Perm()), 8),
				Checksum: client.Checksum{Value: hex.EncodeToString(e.SHA1[:])}, Size: e.Size})
		}
	}
	return list
}

// sendZip packs what is new into a file, whose size is then known, and sends it.
func (s *session) sendZip(ctx context.Context, pkg string, known []client.File, tree *source.Tree, omit map[string]bool) error {
	if len(omit) == len(tree.Entries) {
		return s.Upload(ctx, pkg, known, nil, nil)
	}
	zip, err := os.CreateTemp("", "dew-push-")
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	defer zip.Close()
	if err := os.Remove(zip.Name()); err != nil { // it goes with its last descriptor
		return fmt.Errorf("pack: %w", err)
	}
	if err := tree.WriteZip(zip, omit); err != nil {
		return err
	}
	size, err := zip.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	bar := s.bar("uploading", size)
	defer bar.end()
	return s.Upload(ctx, pkg, known, zip, bar.set)
}

// stage builds a droplet of a package, telling what the build writes as it
// writes it.
func (s *session) stage(ctx context.Context, app *client.App, pkg string, tail *client.Tail) (string, error) {
	limit := minutes("CF_STAGING_TIMEOUT", 15)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errSlow)
	defer cancel()
	var b client.Build
	if err := s.Do(ctx, http.MethodPost, "/v3/builds", map[string]any{"package": map[string]any{"guid": pkg}}, &b); err != nil {
		return "", err
	}
	fmt.Fprintln(s.err, "dew: building")
	err := client.PollWithin(ctx, 200*time.Millisecond, func() (bool, error) {
		err := s.Do(ctx, http.MethodGet, "/v3/builds/"+b.GUID, nil, &b)
		s.tellBuild(ctx, tail)
		return b.State != "STAGING", err
	})
	switch {
	case err != nil && context.Cause(ctx) == errSlow:
		return "", withHint(fmt.Errorf("the build is not done after %v", limit), "$CF_STAGING_TIMEOUT is how many minutes to wait")
	case err != nil:
		return "", err
	case b.State != "STAGED" || b.Droplet == nil:
		reason := "it does not say why"
		if b.Error != nil {
			reason = *b.Error
		}
		reason, more, _ := strings.Cut(strings.TrimSpace(reason), "\n")
		if tail == nil { // nobody has seen the rest
			reason += "\n" + more
		}
		return "", fmt.Errorf("the build failed: %s", reason)
	}
	return b.Droplet.GUID, nil
}

// tellBuild prints what the stager has written since it last looked.
func (s *session) tellBuild(ctx context.Context, tail *client.Tail) {
	if tail == nil {
		return
	}
	lines, _ := tail.Read(ctx)
	for _, l := range lines {
		if strings.HasPrefix(l.Source, "STG") {
			indented(s.err, string(l.Text))
		}
	}
}
