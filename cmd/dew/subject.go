package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/dewpaas/dew/breach"
	landlord "github.com/dewpaas/dew/cell"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/client"
	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/tender"
)

// subject is an app as one who attacks it would find it, by what the platform
// knows.
func (s *sight) subject(ctx context.Context, name, kind string) (breach.Subject, error) {
	app, err := s.app(ctx, name)
	if err != nil {
		return breach.Subject{}, err
	}
	kindOf, err := s.tenderOf(ctx, app.GUID)
	if err != nil {
		return breach.Subject{}, err
	}
	b := breach.Subject{Name: name, Tender: kindOf, Topology: s.Topology, Self: s.self(app, kind)}
	b.Topology.Endpoints = slices.DeleteFunc(slices.Clone(b.Topology.Endpoints), func(e cf.Endpoint) bool { return landlord.Lent(&e) })
	processes, err := s.Processes(ctx, app.GUID)
	if err != nil {
		return b, err
	}
	at := slices.IndexFunc(processes, func(p client.Process) bool { return p.Type == kind })
	if at < 0 {
		return b, withHint(fmt.Errorf("%s has no process type %s", name, kind), "`dew app "+name+"` lists them, --process chooses one")
	}
	b.Limits = tender.Limits{Memory: uint64(processes[at].MemoryMB) << 20}
	env, err := s.environment(ctx, app.GUID)
	if err != nil {
		return b, err
	}
	b.Env = map[string]string{}
	maps.Copy(b.Env, env.Running)
	maps.Copy(b.Env, env.Variables)
	if b.Bindings, err = bindingsOf(env.System["VCAP_SERVICES"]); err != nil {
		return b, err
	}
	d, err := s.droplet(ctx, app.GUID)
	if err != nil {
		return b, err
	}
	defer d.Close()
	files, err := verified(d)
	b.Files = len(files)
	return b, err
}

// tenderOf is the kind of tender of an app's instances: what it chooses, or its
// space, or its organization, or else what the cell prefers.
func (s *sight) tenderOf(ctx context.Context, app string) (breach.Kind, error) {
	for _, path := range []string{"/v3/apps/" + app, "/v3/spaces/" + s.Config.Space.GUID, "/v3/organizations/" + s.Config.Org.GUID} {
		var answer struct {
			Metadata struct {
				Labels map[string]string `json:"labels"`
			} `json:"metadata"`
		}
		if err := s.Do(ctx, http.MethodGet, path, nil, &answer); err != nil {
			return "", err
		}
		if kind := answer.Metadata.Labels[cf.TenderLabel]; kind != "" {
			return breach.Kind(kind), nil
		}
	}
	if len(s.Tenders) == 0 {
		return breach.Process, nil
	}
	return breach.Kind(s.Tenders[0]), nil
}

// self is the app's first instance, or what it would be.
func (s *sight) self(app *client.App, kind string) cf.Endpoint {
	var self *cf.Endpoint
	for _, e := range s.instances(app.GUID) {
		if e.ProcessType == kind && (self == nil || e.Index < self.Index) {
			self = e
		}
	}
	if self == nil {
		return cf.Endpoint{AppGUID: app.GUID, AppName: app.Name, SpaceGUID: s.Config.Space.GUID, OrgGUID: s.Config.Org.GUID, ProcessType: kind, Stage: cf.Running, Ports: []uint16{cf.AppPort}}
	}
	return *self
}

// bindingsOf reads VCAP_SERVICES: a list of bindings by label of the offering.
func bindingsOf(services json.RawMessage) (list []breach.Binding, err error) {
	if len(services) == 0 {
		return nil, nil
	}
	var labels map[string][]struct {
		Name        string         `json:"name"`
		Credentials map[string]any `json:"credentials"`
	}
	if err := json.Unmarshal(services, &labels); err != nil {
		return nil, fmt.Errorf("read VCAP_SERVICES: %w", err)
	}
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		for _, b := range labels[label] {
			list = append(list, breach.Binding{Service: b.Name, Credentials: b.Credentials})
		}
	}
	return list, nil
}

// droplet opens the app's, where the cell has it.
func (s *sight) droplet(ctx context.Context, app string) (*droplet.Droplet, error) {
	var current struct {
		Checksum struct {
			Value string `json:"value"`
		} `json:"checksum"`
	}
	if err := s.Do(ctx, http.MethodGet, "/v3/apps/"+app+"/droplets/current", nil, &current); err != nil {
		return nil, withHint(err, "an app that was never built has nothing that an attacker could own: `dew push` it")
	}
	store, err := droplet.OpenStore(filepath.Join(filepath.Dir(s.folder), "droplets"))
	if err != nil {
		return nil, err
	}
	d, err := store.Open(current.Checksum.Value)
	if err != nil {
		return nil, fmt.Errorf("open the app's droplet: %w", err)
	}
	return d, nil
}
