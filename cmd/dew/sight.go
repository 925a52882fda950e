package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	landlord "github.com/dewpaas/dew/cell"
	"github.com/dewpaas/dew/cell/window"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/client"
	"github.com/dewpaas/dew/firewall/drawing"
	"github.com/dewpaas/dew/vnet"
)

// cellFlag is where a verb finds the cell that it looks into. Only its owner may.
type cellFlag struct {
	Cell string `placeholder:"FOLDER" type:"path" help:"Folder of the cell on this machine; that of dew up unless given."`
}

// sight is a cell as its owner sees it, and the foundation that it is part of.
type sight struct {
	*session
	window.View
	folder  string
	network *vnet.Network
}

func (s *sight) close() { s.network.Close() }

// look opens the cell, and the session in which apps are named.
func (f cellFlag) look(ctx context.Context, c *console) (*sight, error) {
	s := &sight{folder: f.Cell}
	var err error
	for _, folder := range f.folders() {
		if s.View, s.network, err = window.Look(ctx, folder); err == nil || !errors.Is(err, fs.ErrNotExist) {
			s.folder = folder
			break
		}
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, withHint(err, "only who owns the cell may look into it: run it with sudo")
	case err != nil:
		return nil, withHint(err, "this works on the machine of a cell while it runs: `dew up` starts one, --cell names the folder of another")
	}
	if s.session, err = c.inSpace(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (f cellFlag) folders() (list []string) {
	if f.Cell != "" {
		return []string{f.Cell}
	}
	for _, data := range dataFolders() {
		list = append(list, filepath.Join(data, "cell"))
	}
	return list
}

// app finds an app of the targeted space, of which the cell must know: another
// foundation's apps have other rules.
func (s *sight) app(ctx context.Context, name string) (*client.App, error) {
	a, err := s.FindApp(ctx, name)
	if err != nil {
		return nil, err
	}
	if _, ok := s.Apps[a.GUID]; !ok {
		return nil, withHint(fmt.Errorf("the cell in %s does not know the app %s", s.folder, name), "is it part of the foundation that `dew target` tells?")
	}
	return a, nil
}

// instances of an app, those of this cell and of others.
func (s *sight) instances(app string) (list []*cf.Endpoint) {
	for i := range s.Topology.Endpoints {
		if e := &s.Topology.Endpoints[i]; e.AppGUID == app && !landlord.Lent(e) {
			list = append(list, e)
		}
	}
	return list
}

// instance finds the instance that NAME or NAME/INDEX or NAME/TYPE/INDEX means;
// the first when it is not said.
func (s *sight) instance(ctx context.Context, text string) (*cf.Endpoint, error) {
	name, which, _ := strings.Cut(text, "/")
	kind, index, typed := strings.Cut(which, "/")
	if !typed {
		kind, index = "web", which
	}
	n, err := strconv.Atoi(cmp.Or(index, "0"))
	if err != nil || n < 0 {
		return nil, withHint(fmt.Errorf("%s names no instance", text), "APP/INDEX or APP/TYPE/INDEX, as `dew app` tells them")
	}
	a, err := s.app(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, e := range s.instances(a.GUID) {
		if e.Index == n && e.ProcessType == kind {
			if e.VNIC == "" {
				return nil, fmt.Errorf("instance %d of %s is on another cell", n, name)
			}
			return e, nil
		}
	}
	return nil, withHint(fmt.Errorf("%s has no running instance %s/%d", name, kind, n), "`dew app "+name+"` lists them")
}

// names are those of apps and of the spaces that the user sees.
func (s *sight) names(ctx context.Context) (drawing.Names, error) {
	n := drawing.Names{Apps: s.Apps, Spaces: map[string]string{}}
	spaces, err := client.List[client.Thing](ctx, s.Client, "/v3/spaces", nil)
	for _, one := range spaces {
		n.Spaces[one.GUID] = one.Name
	}
	return n, err
}
