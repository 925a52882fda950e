package uaa

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/dewpaas/dew/cf"
)

// An account is locked for lockFor after maxFailures wrong passwords in a row:
// UAA's own defaults.
const (
	maxFailures = 5
	lockFor     = 5 * time.Minute
)

func rejected() error { return refuse(http.StatusUnauthorized, "unauthorized", "Bad credentials") }

// lockedOut tells whether an account is locked. A lock that would last longer than
// any does is of a clock that was set back since, and ends.
func (s *Server) lockedOut(a *cf.Account) bool {
	left := a.LockedUntil.Sub(s.now())
	return left > 0 && left <= lockFor
}

func locked() error {
	return refuse(http.StatusUnauthorized, "unauthorized", "Your account has been locked because of too many failed attempts to login.")
}

func (s *Server) token(r *http.Request) (int, any, error) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if !s.limiter.allow(host, s.now()) {
		return 0, nil, refuse(http.StatusTooManyRequests, "too_many_requests", "Too many logins from your address. Wait a minute.")
	}
	if err := r.ParseForm(); err != nil {
		return 0, nil, refuse(http.StatusBadRequest, "invalid_request", "The form cannot be read.")
	}
	// Secrets in a query end up in logs: only the body counts (RFC 6749, 2.3.1).
	form := r.PostForm
	var body map[string]any
	switch grant := form.Get("grant_type"); grant {
	case "password":
		body, err = s.byPassword(r, form)
	case "refresh_token":
		body, err = s.byRefresh(r, form)
	case "client_credentials":
		body, err = s.byClient(r, form)
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		err = refuse(http.StatusUnauthorized, "unauthorized", "Assertions are not offered here: log in with user name and password, or with client credentials.")
	default:
		err = refuse(http.StatusBadRequest, "unsupported_grant_type", fmt.Sprintf("Unsupported grant type: %.40q", grant))
	}
	return http.StatusOK, body, err
}

// cli lets in only the public client of the CLI, which has no secret.
func cli(r *http.Request) error {
	id, secret, ok := r.BasicAuth()
	if !ok || id != "cf" || subtle.ConstantTimeCompare([]byte(secret), nil) != 1 {
		return refuse(http.StatusUnauthorized, "invalid_client", "Bad client credentials")
	}
	return nil
}

func (s *Server) byPassword(r *http.Request, form url.Values) (map[string]any, error) {
	if err := cli(r); err != nil {
		return nil, err
	}
	if form.Has("passcode") {
		return nil, refuse(http.StatusUnauthorized, "unauthorized", "Passcodes are not offered here: log in with user name and password.")
	}
	a, err := s.login(r, form.Get("username"), form.Get("password"))
	if err != nil {
		return nil, err
	}
	return s.session(a, "password", cf.NewGUID())
}

// authorize hands out no codes. The CLI asks for one, for the client ssh-proxy,
// before it opens a shell in an app.
func (s *Server) authorize(r *http.Request) (int, any, error) {
	if _, err := s.bearer(r, ""); err != nil {
		return 0, nil, err
	}
	if r.URL.Query().Get("client_id") == "ssh-proxy" {
		return 0, nil, refuse(http.StatusUnauthorized, "invalid_client", "There is no SSH: a unikernel runs one program and has no shell.")
	}
	return 0, nil, refuse(http.StatusUnauthorized, "invalid_client", "No client may ask for authorization codes here: log in with user name and password, or with client credentials.")
}

// login compares the password outside of transactions, because that takes long,
// and counts inside one.
func (s *Server) login(r *http.Request, name, password string) (*cf.Account, error) {
	var a *cf.Account
	err := s.store.View(r.Context(), func(tx cf.Tx) (err error) {
		a, err = cf.First[cf.Account](tx, cf.Is("username", name), cf.Is("origin", "uaa"))
		return err
	})
	if err != nil {
		return nil, err
	}
	if a == nil {
		s.hashes.Match(password, s.nobody)
		return nil, rejected()
	}
	if s.lockedOut(a) {
		return nil, locked()
	}
	match := s.hashes.Match(password, a.Hash)
	return a, s.count(r, a, match)
}

func (s *Server) count(r *http.Request, seen *cf.Account, match bool) error {
	if match && seen.Failures == 0 {
		return nil
	}
	var late bool
	err := s.store.Update(r.Context(), func(tx cf.Tx) error {
		a, err := cf.Get[cf.Account](tx, seen.GUID)
		if err != nil {
			return err
		}
		if late = s.lockedOut(a); late {
			return nil // guesses sent at once do not get more tries
		}
		a.Failures++
		if match {
			a.Failures = 0
		}
		if a.Failures >= maxFailures {
			a.Failures, a.LockedUntil = 0, s.now().Add(lockFor)
		}
		return tx.Save(a)
	})
	switch {
	case err != nil:
		return err
	case late:
		return locked()
	case !match:
		return rejected()
	}
	return nil
}

func (s *Server) byRefresh(r *http.Request, form url.Values) (map[string]any, error) {
	if err := cli(r); err != nil {
		return nil, err
	}
	c, err := s.parse(form.Get("refresh_token"), sortRefresh)
	if err != nil {
		return nil, err
	}
	a, err := s.account(r.Context(), c)
	if err != nil {
		return nil, believe(err)
	}
	return s.session(a, "refresh_token", c.Session)
}

func (s *Server) session(a *cf.Account, grant, session string) (map[string]any, error) {
	c := claims{Generation: a.Generation, Session: session, Revocable: true, UserName: a.Username, UserID: a.GUID, Origin: a.Origin, CID: "cf", ClientID: "cf", Scope: a.Scopes, Grant: grant}
	c.Subject = a.GUID
	c.Sort = sortRefresh
	refresh, err := s.sign(c, refreshLife)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	body, err := s.access(c)
	if err == nil {
		body["refresh_token"] = refresh
	}
	return body, err
}

func (s *Server) access(c claims) (map[string]any, error) {
	c.Sort = sortAccess
	access, err := s.sign(c, accessLife)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return map[string]any{"access_token": access, "token_type": "bearer", "expires_in": int(accessLife.Seconds())}, nil
}

func (s *Server) byClient(r *http.Request, form url.Values) (map[string]any, error) {
	id, secret, ok := r.BasicAuth()
	if !ok {
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	client := new(cf.Client)
	err := s.store.View(r.Context(), func(tx cf.Tx) error { return tx.Load(client, id) })
	if err != nil && cf.KindOf(err) != cf.NotFound {
		return nil, err
	}
	hash := client.Hash
	if err != nil {
		hash = s.nobody
	}
	if !s.hashes.Match(secret, hash) || err != nil {
		return nil, refuse(http.StatusUnauthorized, "invalid_client", "Bad client credentials")
	}
	c := claims{ClientID: id, CID: id, Scope: client.Scopes, Grant: "client_credentials"}
	c.Subject = id
	return s.access(c)
}

// revoke ends the session that a token belongs to: tokens are not kept, so what
// is kept is which sessions have ended. The CLI does it twice, with each token.
func (s *Server) revoke(r *http.Request) (int, any, error) {
	c, err := s.parse(Bearer(r), sortAccess)
	if err != nil {
		c, err = s.parse(Bearer(r), sortRefresh)
	}
	if err != nil || c.Session == "" {
		return 0, nil, errors.Join(ErrToken, err)
	}
	err = s.store.Update(r.Context(), func(tx cf.Tx) error {
		if _, err := cf.Get[cf.Account](tx, c.Subject); err != nil {
			return err
		}
		if old, err := cf.First[cf.Revocation](tx, cf.Is("guid", c.Session)); err != nil || old != nil {
			return err
		}
		return tx.Insert(&cf.Revocation{Meta: cf.Meta{GUID: c.Session}})
	})
	return http.StatusOK, nil, believe(err)
}

// Sweep forgets sessions whose tokens have expired anyway.
func (s *Server) Sweep(ctx context.Context) error {
	before := s.now().Add(-2 * refreshLife).UnixMicro()
	return s.store.Update(ctx, func(tx cf.Tx) error {
		old, err := cf.List[cf.Revocation](tx, cf.Query{Where: []cf.Cond{{Key: "created_at", Op: cf.Less, Values: []any{before}}}, Limit: 1000})
		for _, r := range old {
			if err := tx.Delete(r); err != nil {
				return err
			}
		}
		return err
	})
}
