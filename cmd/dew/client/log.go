package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Line is one line of an app's log.
type Line struct {
	Time     time.Time
	Source   string // APP/PROC/WEB, STG, RTR, CELL, API ...
	Instance string
	Err      bool // from standard error
	Text     []byte
}

// envelope is a line as the log cache writes it: protobuf's JSON, in which a
// number of 64 bits is a string.
type envelope struct {
	Timestamp json.Number       `json:"timestamp"`
	Instance  string            `json:"instance_id"`
	Tags      map[string]string `json:"tags"`
	Log       *struct {
		Payload []byte `json:"payload"`
		Type    string `json:"type"`
	} `json:"log"`
}

func (e envelope) line() (Line, bool) {
	ns, err := strconv.ParseInt(e.Timestamp.String(), 10, 64)
	if err != nil || e.Log == nil {
		return Line{}, false
	}
	return Line{time.Unix(0, ns), e.Tags["source_type"], e.Instance, e.Log.Type == "ERR", e.Log.Payload}, true
}

// maxLines of one read, the log cache's own limit.
const maxLines = 1000

// RecentLines are the last n lines that the foundation keeps, oldest first.
func (c *Client) RecentLines(ctx context.Context, app string, n int) ([]Line, error) {
	lines, err := c.read(ctx, app, url.Values{"descending": {"true"}, "limit": {strconv.Itoa(min(n, maxLines))}})
	slices.Reverse(lines)
	return lines, err
}

func (c *Client) read(ctx context.Context, app string, query url.Values) ([]Line, error) {
	query.Set("envelope_types", "LOG")
	if c.Config.LogCache == "" {
		return nil, errors.New("the foundation keeps no logs")
	}
	// cf replaces whatever path the address of the log cache has.
	base, err := url.Parse(c.Config.LogCache)
	if err != nil {
		return nil, fmt.Errorf("address of the log cache: %w", err)
	}
	base.Path, base.RawQuery = "/api/v1/read/"+app, query.Encode()
	var answer struct {
		Envelopes struct {
			Batch []envelope `json:"batch"`
		} `json:"envelopes"`
	}
	if err := c.Do(ctx, http.MethodGet, base.String(), nil, &answer); err != nil {
		return nil, err
	}
	var lines []Line
	for _, e := range answer.Envelopes.Batch {
		if l, ok := e.line(); ok {
			lines = append(lines, l)
		}
	}
	return lines, nil
}

const (
	// settle is how much later than younger ones a line may still come in:
	// cells and routers send each for themselves.
	settle = 2 * time.Second
	// readPause is how long an empty log is left alone.
	readPause = 250 * time.Millisecond
	// maxFailures in a row end a stream.
	maxFailures = 5
)

// Tail reads an app's log as it grows.
type Tail struct {
	c            *Client
	app          string
	from, newest time.Time
	seen         map[string]time.Time // lines of the last moments, by key
}

// Tail begins behind the newest line that there is.
func (c *Client) Tail(ctx context.Context, app string) (*Tail, error) {
	last, err := c.RecentLines(ctx, app, 1)
	from := time.Unix(0, 0)
	if len(last) > 0 {
		from = last[0].Time.Add(1)
	}
	return c.TailFrom(app, from), err
}

// TailFrom begins at a time.
func (c *Client) TailFrom(app string, from time.Time) *Tail {
	return &Tail{c, app, from, from, map[string]time.Time{}}
}

// Read returns the lines that have come since the last call, oldest first. It
// looks back a little each time, for those that were late.
func (t *Tail) Read(ctx context.Context) ([]Line, error) {
	start := t.newest.Add(-settle)
	if start.Before(t.from) {
		start = t.from
	}
	lines, err := t.c.read(ctx, t.app, url.Values{"start_time": {strconv.FormatInt(start.UnixNano(), 10)}, "limit": {strconv.Itoa(maxLines)}})
	var fresh []Line
	for _, l := range lines {
		key := l.key()
		if _, old := t.seen[key]; !old {
			t.seen[key] = l.Time
			fresh = append(fresh, l)
		}
		if l.Time.After(t.newest) {
			t.newest = l.Time
		}
	}
	if len(lines) == maxLines && fresh == nil { // the window holds more than one read: go on behind it
		t.newest = lines[len(lines)-1].Time.Add(settle)
	}
	for key, at := range t.seen {
		if at.Before(t.newest.Add(-settle)) {
			delete(t.seen, key)
		}
	}
	return fresh, err
}

// Follow gives each every line from a time on, as they come, until ctx is done,
// whose end is no error.
func (c *Client) Follow(ctx context.Context, app string, from time.Time, each func(Line)) error {
	t, failures := c.TailFrom(app, from), 0
	for ctx.Err() == nil {
		lines, err := t.Read(ctx)
		if failures++; err == nil {
			failures = 0
		} else if failures == maxFailures && ctx.Err() == nil {
			return err
		}
		for _, l := range lines {
			each(l)
		}
		if len(lines) == 0 {
			select {
			case <-ctx.Done():
			case <-time.After(readPause):
			}
		}
	}
	return nil
}

func (l Line) key() string {
	return strings.Join([]string{strconv.FormatInt(l.Time.UnixNano(), 10), l.Source, l.Instance, string(l.Text)}, "\x00")
}
