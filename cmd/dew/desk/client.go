package desk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/dewpaas/dew/bus"
	"github.com/dewpaas/dew/cell"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/roster"
	"github.com/dewpaas/dew/router/feed"
	"github.com/dewpaas/dew/stager/staging"
)

// Client asks the Desk of an API, and of the next one when that does not answer. It
// is safe for concurrent use. Errors of the ledger are of the kind that they are
// there; cf.Unavailable says that no API answers.
type Client struct {
	roster *roster.Roster
	http   *http.Client
	log    *slog.Logger

	pages map[string]*page // by question
}

var (
	_ cell.Ledger    = (*Client)(nil)
	_ feed.Ledger    = (*Client)(nil)
	_ staging.Ledger = (*Client)(nil)
)

// NewClient makes a Client that reaches APIs over t.
func NewClient(r *roster.Roster, t http.RoundTripper, log *slog.Logger) *Client {
	return &Client{roster: r, http: &http.Client{Transport: t}, log: log, pages: newPages()}
}

// askTime bounds one question to one API.
const askTime = 15 * time.Second

// ask puts a question to one API after the other. Every question may be put twice.
func (c *Client) ask(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("ask an API: %w", err)
		}
	}
	var errs []error
	for _, host := range c.roster.Order() {
		err, sure := c.askOne(ctx, method, host, path, body, out)
		if sure || ctx.Err() != nil {
			return err
		}
		c.roster.Down(host)
		errs = append(errs, fmt.Errorf("%s: %w", host, err))
	}
	return cf.Errorf("ask an API", cf.Unavailable, "none answers: %w", errors.Join(errs...))
}

// askOne puts a question to one API. sure is false when another may answer better.
func (c *Client) askOne(ctx context.Context, method, host, path string, body []byte, out any) (err error, sure bool) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	a, err := c.send(ctx, method, host, path, body)
	if err != nil {
		return err, false
	}
	defer a.Body.Close()
	if a.StatusCode == http.StatusOK {
		if err := json.NewDecoder(a.Body).Decode(out); err != nil {
			return err, false
		}
		return nil, true
	}
	var p problem
	if err := json.NewDecoder(io.LimitReader(a.Body, maxBody)).Decode(&p); err != nil {
		p = problem{Error: a.Status}
		if a.StatusCode == http.StatusForbidden {
			p.Kind = cf.Forbidden
		}
	}
	if p.Taken {
		return staging.ErrTaken, true
	}
	return cf.Errorf("ask "+path, p.Kind, "%s", p.Error), a.StatusCode < http.StatusInternalServerError
}

func (c *Client) send(ctx context.Context, method, host, path string, body []byte) (*http.Response, error) {
	q, err := http.NewRequestWithContext(ctx, method, "https://"+host+Path+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return c.http.Do(q)
}

// extract asks for what has changed since it asked last.
func (c *Client) extract(ctx context.Context, name string) (cf.Extract, error) {
	page := c.pages[name]
	page.asking.Lock()
	defer page.asking.Unlock()
	have, path := page.last.Load(), name
	if have != nil {
		path += "?have=" + have.tag
	}
	var d difference
	if err := c.ask(ctx, http.MethodGet, path, nil, &d); err != nil {
		return nil, err
	}
	next, err := d.apply(have)
	page.last.Store(next) // nil: all is asked for again
	if err != nil {
		return nil, err
	}
	return next.extract(), nil
}

// Join implements cell.Ledger.
func (c *Client) Join(ctx context.Context, row *cf.Cell) (list []*cf.Report, err error) {
	err = c.ask(ctx, http.MethodPost, "join", row, &list)
	return list, err
}

// Placed implements cell.Ledger.
func (c *Client) Placed(ctx context.Context) ([]*cf.Placement, error) {
	e, err := c.extract(ctx, placed)
	return cf.Of[cf.Placement](e), err
}

// Around implements cell.Ledger.
func (c *Client) Around(ctx context.Context) (cf.Extract, error) { return c.extract(ctx, around) }

// Tell implements cell.Ledger.
func (c *Client) Tell(ctx context.Context, n cell.News) error {
	return c.ask(ctx, http.MethodPost, "tell", n, &none{})
}

// Routing implements feed.Ledger.
func (c *Client) Routing(ctx context.Context) (cf.Extract, error) { return c.extract(ctx, routing) }

// Waiting implements staging.Ledger.
func (c *Client) Waiting(ctx context.Context) ([]*cf.Build, map[string]*cf.Lease, error) {
	var w waiting
	err := c.ask(ctx, http.MethodPost, "waiting", none{}, &w)
	return w.Builds, w.Leases, err
}

// Claim implements staging.Ledger. When the answer is lost, the build is this
// stager's all the same, and free for it.
func (c *Client) Claim(ctx context.Context, build string, before *cf.Lease) (token int64, err error) {
	err = c.ask(ctx, http.MethodPost, "claim", claim{Build: build, Before: before}, &token)
	return token, err
}

// Beat implements staging.Ledger.
func (c *Client) Beat(ctx context.Context, build string, token int64) error {
	return c.ask(ctx, http.MethodPost, "beat", claim{Build: build, Token: token}, &none{})
}

// Material implements staging.Ledger.
func (c *Client) Material(ctx context.Context, build string, token int64) (*staging.Material, error) {
	m := &staging.Material{}
	return m, c.ask(ctx, http.MethodPost, "material", claim{Build: build, Token: token}, m)
}

// End implements staging.Ledger.
func (c *Client) End(ctx context.Context, build string, token int64, o staging.Outcome) error {
	return c.ask(ctx, http.MethodPost, "end", claim{Build: build, Token: token, Outcome: o}, &none{})
}

// Tidy implements staging.Ledger.
func (c *Client) Tidy(ctx context.Context, spaces []string) (left []string, err error) {
	if spaces == nil {
		spaces = []string{}
	}
	err = c.ask(ctx, http.MethodPost, "tidy", spaces, &left)
	return left, err
}

// Facts is what an API tells of the foundation; nil: none was ever started.
func (c *Client) Facts(ctx context.Context) (s *cf.Setting, err error) {
	err = c.ask(ctx, http.MethodPost, "facts", none{}, &s)
	return s, err
}

// Lines sends log lines.
func (c *Client) Lines(ctx context.Context, list []cf.LogLine) error {
	return c.ask(ctx, http.MethodPost, "lines", list, &none{})
}

// Usage tells what this cell's instances use.
func (c *Client) Usage(ctx context.Context, u bus.Used) error {
	return c.ask(ctx, http.MethodPost, "usage", u, &none{})
}

// again is how long Follow waits before it asks an API anew.
const again = time.Second

// Follow calls changed with the nouns of which something may have changed, until ctx
// ends; with nil, whenever hints may have been missed.
func (c *Client) Follow(ctx context.Context, changed func([]cf.Noun)) {
	for ctx.Err() == nil {
		for _, host := range c.roster.Order() {
			if err := c.followOne(ctx, host, changed); err != nil && ctx.Err() == nil {
				c.log.Debug("desk: an API does not say what changes", "api", host, "err", err)
			}
			if ctx.Err() != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// followOne reads the hints of one API until they end.
func (c *Client) followOne(ctx context.Context, host string, changed func([]cf.Noun)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(3*pulse, func() { cancel(errors.New("it is silent")) })
	defer silence.Stop()
	a, err := c.send(ctx, http.MethodGet, host, "hints", nil)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return errors.New(a.Status)
	}
	lines := bufio.NewScanner(a.Body)
	for first := true; lines.Scan(); first = false {
		silence.Reset(3 * pulse)
		var h hint
		switch err := json.Unmarshal(lines.Bytes(), &h); {
		case err != nil:
			return err
		case first:
			changed(nil)
		case len(h.Nouns) > 0:
			changed(h.Nouns)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}
