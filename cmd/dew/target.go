package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/dewpaas/dew/cmd/dew/client"
)

// targetCmd is `dew target`.
type targetCmd struct {
	URL     string `arg:"" optional:"" help:"API of a foundation to use from now on."`
	Org     string `short:"o" help:"Organization to use from now on."`
	Space   string `short:"s" help:"Space to use from now on."`
	SkipTLS bool   `name:"skip-ssl-validation" help:"Do not check the certificate of the foundation. Kept with the target."`
	JSON    bool   `name:"json" help:"Print JSON."`
}

func (t *targetCmd) Run(ctx context.Context, c *console) error {
	s, err := t.open(ctx, c)
	if err != nil {
		return err
	}
	if t.Org+t.Space != "" {
		if err := s.target(ctx, t.Org, t.Space); err != nil {
			return err
		}
	}
	if err := s.Config.Save(); err != nil {
		return err
	}
	return s.tellTarget(t.JSON)
}

func (t *targetCmd) open(ctx context.Context, c *console) (*session, error) {
	if t.URL != "" {
		return c.choose(ctx, t.URL, t.SkipTLS)
	}
	s, err := c.session(ctx)
	if errors.Is(err, client.ErrNoLogin) && t.Org+t.Space == "" {
		return c.strangers() // the target is told, not used
	}
	return s, err
}

// choose opens a session with another foundation.
func (c *console) choose(ctx context.Context, url string, skipTLS bool) (*session, error) {
	s, err := c.strangers()
	if err != nil {
		return nil, err
	}
	s.Config.SkipTLS = skipTLS
	s.Client = newClient(s.Config) // with that choice in its transport
	return s, s.Choose(ctx, url)
}

// target changes organization and space. Without a space the only one of the
// organization is taken.
func (s *session) target(ctx context.Context, org, space string) error {
	if org != "" {
		o, err := s.FindOrg(ctx, org)
		if err != nil {
			return err
		}
		s.Config.Org, s.Config.Space = client.Named{GUID: o.GUID, Name: o.Name}, client.Named{}
	}
	if space == "" {
		return s.settle(ctx, false)
	}
	if s.Config.Org.GUID == "" {
		return withHint(errors.New("no organization is targeted"), "name it too: `dew target -o ORG -s SPACE`")
	}
	found, err := s.FindSpace(ctx, s.Config.Org, space)
	if err != nil {
		return err
	}
	s.Config.Space = client.Named{GUID: found.GUID, Name: found.Name}
	return nil
}

// user is who the token names.
func (s *session) user() string {
	claims := client.ClaimsOf(s.Config.AccessToken)
	if claims.User != "" {
		return claims.User
	}
	return claims.Client
}

func (s *session) tellTarget(asJSON bool) error {
	told := struct {
		API   string `json:"api"`
		User  string `json:"user"`
		Org   string `json:"org"`
		Space string `json:"space"`
	}{s.Config.Target, s.user(), s.Config.Org.Name, s.Config.Space.Name}
	if asJSON {
		return s.json(told)
	}
	var rows [][]cell
	for _, row := range [][3]string{{"api", told.API, ""}, {"user", told.User, "nobody: `dew login`"},
		{"org", told.Org, "none: `dew target -o ORG`"}, {"space", told.Space, "none: `dew target -s SPACE`"}} {
		value := cell{row[1], cyan}
		if value.text == "" {
			value = cell{row[2], faint}
		}
		rows = append(rows, []cell{{text: row[0]}, value})
	}
	s.columns(rows, "")
	return nil
}

// loginCmd is `dew login`.
type loginCmd struct {
	API    string `short:"a" placeholder:"URL" help:"API of the foundation; the target unless given."`
	User   string `short:"u" env:"CF_USERNAME" help:"User name, or the id of a client."`
	Org    string `short:"o" help:"Organization to use."`
	Space  string `short:"s" help:"Space to use."`
	Client bool   `name:"client-credentials" help:"Log in as a program, with a client's id and secret."`
	Local  bool   `help:"Use the foundation on this machine, as its admin."`

	SkipTLS bool `name:"skip-ssl-validation" help:"Do not check the certificate of the foundation. Kept with the target."`
}

func (*loginCmd) Help() string {
	return "The password is asked for, or read from $CF_PASSWORD or the standard input: a command line is seen by everybody on the machine."
}

func (l *loginCmd) Run(ctx context.Context, c *console) error {
	s, err := l.open(ctx, c)
	if err != nil {
		return err
	}
	old := s.Config.Org
	if !l.Local {
		if err := l.authenticate(ctx, s); err != nil {
			return err
		}
	}
	if l.Org+l.Space != "" {
		err = s.target(ctx, l.Org, l.Space)
	} else if old.GUID == "" {
		err = s.settle(ctx, l.Local)
	}
	if err := errors.Join(err, s.Config.Save()); err != nil { // the login itself is good
		return err
	}
	return s.tellTarget(false)
}

func (l *loginCmd) open(ctx context.Context, c *console) (*session, error) {
	if l.Local {
		local, err := findLocal()
		if err != nil {
			return nil, withHint(err, "`dew up` starts one; $DEW_DATA names its data folder if it is another than "+rootData)
		}
		s, err := c.choose(ctx, local.URL, false)
		if err != nil {
			return nil, err
		}
		return s, local.Login(ctx, s.Client)
	}
	if l.API != "" {
		return c.choose(ctx, l.API, l.SkipTLS)
	}
	s, err := c.strangers()
	if err == nil && s.Config.Target == "" {
		err = withHint(client.ErrNoTarget, "name one: `dew login -a URL`")
	}
	return s, err
}

// authenticate asks for what is not there and logs in.
func (l *loginCmd) authenticate(ctx context.Context, s *session) error {
	user := l.User
	if user == "" {
		if !s.asks {
			return withHint(errors.New("no user name"), "name the user with -u or $CF_USERNAME")
		}
		fmt.Fprintf(s.err, "logging in to %s\nuser: ", s.Config.Target)
		var err error
		if user, err = s.line(); err != nil {
			return fmt.Errorf("read the user name: %w", err)
		}
	}
	password := os.Getenv("CF_PASSWORD")
	if password == "" {
		var err error
		if password, err = s.secret("password: "); err != nil {
			return withHint(fmt.Errorf("read the password: %w", err), "type it, pipe it in, or set $CF_PASSWORD")
		}
	}
	login := s.LoginUser
	if l.Client {
		login = s.LoginClient
	}
	err := login(ctx, user, password)
	if client.StatusOf(err) == 401 {
		return fmt.Errorf("log in as %s: %w", user, err)
	}
	return err
}

// logoutCmd is `dew logout`.
type logoutCmd struct{}

func (logoutCmd) Run(c *console) error {
	s, err := c.strangers()
	if err != nil {
		return err
	}
	s.Logout()
	return s.Config.Save()
}
