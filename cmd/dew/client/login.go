package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Choose makes the foundation at an URL the target, and forgets all about
// another one. A URL without a scheme is https.
func (c *Client) Choose(ctx context.Context, target string) error {
	if !strings.Contains(target, "://") {
		target = "https://" + target
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%q is no URL of an API", target)
	}
	target = strings.TrimSuffix(u.Scheme+"://"+u.Host+u.Path, "/")
	root, err := c.discover(ctx, target)
	if err != nil {
		return err
	}
	s := &c.Config.Settings
	if s.Target != target {
		s.AccessToken, s.RefreshToken, s.Org, s.Space = "", "", Named{}, Named{}
	}
	s.Target, s.APIVersion = target, root.Links.API.Meta.Version
	s.Login, s.UAA, s.LogCache = root.Links.Login.Href, root.Links.UAA.Href, root.Links.LogCache.Href
	s.Policies, s.Doppler, s.Routing = root.Links.Policies.Href, root.Links.Doppler.Href, root.Links.Routing.Href
	if s.OAuthClient == "" {
		s.OAuthClient = "cf"
	}
	if s.SSHClient == "" {
		s.SSHClient = "ssh-proxy"
	}
	return nil
}

type link struct {
	Href string `json:"href"`
	Meta struct {
		Version string `json:"version"`
	} `json:"meta"`
}

type root struct {
	Links struct {
		API      link `json:"cloud_controller_v3"`
		Login    link `json:"login"`
		UAA      link `json:"uaa"`
		LogCache link `json:"log_cache"`
		Policies link `json:"network_policy_v1"`
		Doppler  link `json:"logging"`
		Routing  link `json:"routing"`
	} `json:"links"`
}

// discover asks a foundation who it is, which needs no login.
func (c *Client) discover(ctx context.Context, target string) (*root, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target+"/", nil)
	if err != nil {
		return nil, err
	}
	answer, err := c.send(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	found := new(root)
	if answer.StatusCode != http.StatusOK || json.NewDecoder(answer.Body).Decode(found) != nil || found.Links.API.Href == "" {
		return nil, fmt.Errorf("%s is no Cloud Foundry API", target)
	}
	return found, nil
}

// LoginUser gets tokens for a user's password.
func (c *Client) LoginUser(ctx context.Context, user, password string) error {
	form := url.Values{"grant_type": {"password"}, "username": {user}, "password": {password}}
	if err := c.grant(ctx, form, true); err != nil {
		return err
	}
	c.Config.Grant = ""
	return nil
}

// LoginClient gets a token for a client's secret. Both are kept in the file, as
// cf keeps them: there is no other way to a new token.
func (c *Client) LoginClient(ctx context.Context, id, secret string) error {
	if err := c.grant(ctx, clientForm(id, secret), false); err != nil {
		return err
	}
	s := &c.Config.Settings
	s.Grant, s.OAuthClient, s.OAuthSecret, s.RefreshToken = "client_credentials", id, secret, ""
	return nil
}

func clientForm(id, secret string) url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}
}

// grant asks the UAA for tokens and keeps them.
func (c *Client) grant(ctx context.Context, form url.Values, basic bool) error {
	if c.Config.Login == "" {
		return ErrNoTarget
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.Config.Login, "/")+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	if basic {
		r.SetBasicAuth(c.Config.OAuthClient, c.Config.OAuthSecret)
	}
	answer, err := c.send(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return failed(answer)
	}
	var tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Type    string `json:"token_type"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&tokens); err != nil || tokens.Access == "" {
		return errors.New("the login server's answer has no token")
	}
	if tokens.Type == "" {
		tokens.Type = "bearer"
	}
	c.Config.AccessToken = tokens.Type + " " + tokens.Access
	if tokens.Refresh != "" {
		c.Config.RefreshToken = tokens.Refresh
	}
	return nil
}

// Logout forgets the user. The target stays.
func (c *Client) Logout() {
	s := &c.Config.Settings
	s.AccessToken, s.RefreshToken, s.Org, s.Space = "", "", Named{}, Named{}
	if s.Grant != "" { // the secret of a client goes too
		s.Grant, s.OAuthClient, s.OAuthSecret = "", "cf", ""
	}
}

// token is what goes into the Authorization header. It is renewed when it has
// less than a minute left.
func (c *Client) token(ctx context.Context) (string, error) {
	if c.Config.Target == "" {
		return "", ErrNoTarget
	}
	c.mu.Lock()
	token := c.Config.AccessToken
	c.mu.Unlock()
	if token != "" && time.Until(ClaimsOf(token).expiry()) > time.Minute {
		return token, nil
	}
	if err := c.renew(ctx, token); err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Config.AccessToken, nil
}

// renew gets a new token in place of old: from the refresh token, the client's
// secret, or a new login.
func (c *Client) renew(ctx context.Context, old string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Config.AccessToken != old {
		return nil // somebody else was faster
	}
	err := ErrNoLogin
	switch {
	case c.Config.Grant == "client_credentials":
		err = c.grant(ctx, clientForm(c.Config.OAuthClient, c.Config.OAuthSecret), false)
	case c.Config.RefreshToken != "":
		err = c.grant(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.Config.RefreshToken}}, true)
	}
	if err != nil && c.Again != nil && ctx.Err() == nil {
		err = c.Again(ctx)
	}
	if status := StatusOf(err); status == http.StatusUnauthorized || status == http.StatusBadRequest {
		return fmt.Errorf("%w any more: %w", ErrNoLogin, err)
	}
	if err != nil {
		return err
	}
	return c.Config.Save()
}

// Claims are what a token says of its owner. Nobody has checked them here.
type Claims struct {
	User   string  `json:"user_name"`
	Client string  `json:"client_id"`
	Expiry float64 `json:"exp"`
}

func (c Claims) expiry() time.Time { return time.Unix(int64(c.Expiry), 0) }

// ClaimsOf reads a token. One that cannot be read says nothing.
func ClaimsOf(token string) (c Claims) {
	if _, rest, found := strings.Cut(token, " "); found {
		token = rest
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return Claims{}
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(b, &c) != nil {
		return Claims{}
	}
	return c
}
