package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/dewpaas/dew/cmd/dew/client"
)

// session is a foundation, its user, and the console that they talk through.
type session struct {
	*client.Client
	*console
	home bool // the foundation is the one on this machine
}

// session opens the foundation that is targeted: by cf or dew, or else the one
// on this machine.
func (c *console) session(ctx context.Context) (*session, error) {
	s, err := c.strangers()
	if err != nil {
		return nil, err
	}
	local, absent := findLocal()
	s.home = absent == nil && (s.Config.Target == "" || s.Config.Target == local.URL)
	switch {
	case s.Config.Target == "" && absent == nil:
		return s, s.enter(ctx, local)
	case s.Config.Target == "" && !client.Absent(absent):
		return nil, absent
	case s.Config.Target == "":
		return nil, client.ErrNoTarget
	case s.Config.AccessToken == "" && s.Config.Grant == "":
		if !s.home {
			return nil, client.ErrNoLogin
		}
		return s, s.enter(ctx, local)
	}
	if s.home && client.ClaimsOf(s.Config.AccessToken).User == client.LocalAdmin {
		s.Again = func(ctx context.Context) error { return local.Login(ctx, s.Client) }
	}
	return s, nil
}

// strangers is a session without any question of who uses it.
func (c *console) strangers() (*session, error) {
	path, err := client.ConfigPath()
	if err != nil {
		return nil, err
	}
	config, err := client.LoadConfig(path)
	if err != nil {
		return nil, err
	}
	s := &session{Client: newClient(config), console: c}
	s.Warn = func(text string) { fmt.Fprintf(c.err, "dew: warning: %s\n", printable(text)) }
	return s, nil
}

// newClient is one that trusts the foundation on this machine, if there is one
// whose folder the user may read.
func newClient(config *client.Config) *client.Client {
	n := client.New(config, agent())
	if local, err := findLocal(); err == nil && local.CA != "" {
		n.Trust([]byte(local.CA))
	}
	return n
}

// agent is the name of dew in the logs of a foundation.
func agent() string { return "dew/" + strings.Fields(ownVersion())[0] }

// inSpace opens a session in which apps can be named.
func (c *console) inSpace(ctx context.Context) (*session, error) {
	s, err := c.session(ctx)
	if err != nil {
		return nil, err
	}
	if s.Config.Space.GUID == "" {
		return nil, withHint(errors.New("no space is targeted"), "`dew target -o ORG -s SPACE` chooses one")
	}
	return s, nil
}

// findApp opens a session and an app in it.
func (c *console) findApp(ctx context.Context, name string) (*session, *client.App, error) {
	s, err := c.inSpace(ctx)
	if err != nil {
		return nil, nil, err
	}
	a, err := s.FindApp(ctx, name)
	return s, a, err
}

// dataFolders are where a foundation on this machine may keep its data: where
// $DEW_DATA says, or where `dew up` puts it for this user or for root.
func dataFolders() []string {
	if dir := os.Getenv("DEW_DATA"); dir != "" {
		return []string{dir}
	}
	folders := []string{rootData}
	if home, err := os.UserHomeDir(); err == nil && os.Getuid() != 0 {
		folders = append([]string{filepath.Join(home, ".local", "share", "dew")}, folders...)
	}
	return folders
}

// rootData is for state that lives between boots (Filesystem Hierarchy Standard 3.0, 5.8).
const rootData = "/var/lib/dew"

// findLocal finds the foundation on this machine. When there is none that may be
// used the error is Absent.
func findLocal() (l *client.Local, err error) {
	for _, dir := range dataFolders() {
		if l, err = client.FindLocal(dir); err == nil || !client.Absent(err) {
			return l, err
		}
	}
	return nil, err
}

// The names of what a foundation on this machine gets so that an app has a place.
const (
	localOrg   = "local"
	localSpace = "dev"
)

// enter uses the foundation on this machine, without a login, and targets its
// space. The target is kept, so that cf goes there too.
func (s *session) enter(ctx context.Context, l *client.Local) error {
	if err := l.Login(ctx, s.Client); err != nil {
		return fmt.Errorf("use the foundation on this machine: %w", err)
	}
	if err := s.settle(ctx, true); err != nil {
		return err
	}
	fmt.Fprintf(s.err, "dew: using the foundation on this machine, %s, as %s\n", l.URL, client.LocalAdmin)
	return s.Config.Save()
}

// settle targets the one organization and the one space that the user has, and
// makes them when told to and there are none.
func (s *session) settle(ctx context.Context, make bool) error {
	if s.Config.Org.GUID == "" {
		orgs, err := client.List[client.Thing](ctx, s.Client, "/v3/organizations", nil)
		if err != nil {
			return err
		}
		if len(orgs) == 0 && make {
			var made client.Thing
			if err := s.Do(ctx, http.MethodPost, "/v3/organizations", map[string]any{"name": localOrg}, &made); err != nil {
				return err
			}
			orgs = append(orgs, made)
		}
		if len(orgs) != 1 {
			return nil
		}
		s.Config.Org = client.Named{GUID: orgs[0].GUID, Name: orgs[0].Name}
		s.Config.Space = client.Named{}
	}
	if s.Config.Space.GUID != "" {
		return nil
	}
	spaces, err := client.List[client.Thing](ctx, s.Client, "/v3/spaces", map[string][]string{"organization_guids": {s.Config.Org.GUID}})
	if err != nil {
		return err
	}
	if len(spaces) == 0 && make {
		var made client.Thing
		body := map[string]any{"name": localSpace, "relationships": map[string]any{"organization": client.To(s.Config.Org.GUID)}}
		if err := s.Do(ctx, http.MethodPost, "/v3/spaces", body, &made); err != nil {
			return err
		}
		spaces = append(spaces, made)
	}
	if len(spaces) == 1 {
		s.Config.Space = client.Named{GUID: spaces[0].GUID, Name: spaces[0].Name}
	}
	return nil
}

// advise adds the remedy to errors that have a common one.
func advise(err error) error {
	var h *hinted
	var missing *client.MissingError
	var away *client.UnreachableError
	var unknown x509.UnknownAuthorityError
	switch {
	case err == nil || errors.As(err, &h):
		return err
	case errors.Is(err, client.ErrNoTarget):
		return withHint(err, "`dew target URL` chooses one, `dew up` starts one on this machine")
	case errors.Is(err, client.ErrNoLogin):
		return withHint(err, "`dew login`")
	case errors.As(err, &missing):
		if missing.What == "app" {
			return withHint(err, "`dew apps` lists what there is, `dew target` where you look")
		}
		return withHint(err, "`dew target` tells where you look")
	case errors.As(err, &unknown):
		return withHint(err, "if you trust this network, `dew login -a URL --skip-ssl-validation`")
	case errors.As(err, &away):
		return withHint(err, "is it running? `dew target` tells the address, `dew target URL` changes it")
	case client.StatusOf(err) == http.StatusForbidden:
		return withHint(err, "an admin or manager can give you a role: `dew target` tells who you are")
	}
	return err
}
