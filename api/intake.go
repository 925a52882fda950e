package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/dewpaas/dew/cf"
)

// DefaultKept is how many bytes of packages and droplets are kept for one
// organization unless the operator says otherwise. The sweep counts them down:
// of each app five of each stay, besides what runs.
const DefaultKept = 64 << 30

// Uploads of one organization: how many are received at once, how many may wait
// for that, and how long.
const (
	uploadsAtOnce  = 8
	uploadsWaiting = 64
	uploadPatience = time.Minute
)

// intake lets few uploads of each organization in at once, so that what is not
// yet kept takes bounded room too. Others wait outside, with nothing of their
// bodies read.
type intake struct {
	mu    sync.Mutex // guards lines
	lines map[string]*line
}

// line is that of one organization. It is there as long as somebody is in it.
type line struct {
	places chan struct{}
	in     int // who has a place, or waits for one
}

// enter waits for a place.
func (i *intake) enter(ctx context.Context, org string) (leave func(), err error) {
	l, err := i.join(org)
	if err != nil {
		return nil, err
	}
	patience := time.NewTimer(uploadPatience)
	defer patience.Stop()
	select {
	case l.places <- struct{}{}:
		return func() { <-l.places; i.part(org, l) }, nil
	case <-patience.C:
		err = busy()
	case <-ctx.Done():
		err = ctx.Err()
	}
	i.part(org, l)
	return nil, err
}

func (i *intake) join(org string) (*line, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	l := i.lines[org]
	if l == nil {
		l = &line{places: make(chan struct{}, uploadsAtOnce)}
		if i.lines == nil {
			i.lines = map[string]*line{}
		}
		i.lines[org] = l
	}
	if l.in == uploadsAtOnce+uploadsWaiting {
		return nil, busy()
	}
	l.in++
	return l, nil
}

func (i *intake) part(org string, l *line) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if l.in--; l.in == 0 {
		delete(i.lines, org)
	}
}

func busy() error {
	return &refusal{http.StatusTooManyRequests, 10013, "CF-RateLimitExceeded", "Too many uploads of this organization are under way. Wait until some have ended, and push again."}
}

// admit loads what an upload is for, and lets it in when there is a place. What
// is too large, for one upload or for the organization, is refused before any of it
// is read, if the client tells.
func (c *call) admit(w http.ResponseWriter, most int64, load func() error, space func() string) (leave func(), err error) {
	if err := c.tooLarge(most); err != nil {
		return nil, err
	}
	var org string
	err = c.transact(false, func() error {
		if err := load(); err != nil {
			return err
		}
		s, err := cf.Get[cf.Space](c.tx, space())
		if err != nil {
			return err
		}
		org = s.OrgGUID
		return c.room(s.GUID, max(0, c.r.ContentLength))
	})
	if err != nil {
		return nil, err
	}
	c.r.Body = http.MaxBytesReader(w, c.r.Body, most)
	return c.intake.enter(c.ctx, org)
}

// tooLarge is known before any byte is read, where the client tells the length.
func (c *call) tooLarge(most int64) error {
	if c.r.ContentLength > most {
		return c.uploadError(&http.MaxBytesError{Limit: most})
	}
	return nil
}

// room refuses to keep more bytes for the organization of a space than it may
// have. What several packages share is kept, and counted, once.
func (c *call) room(spaceGUID string, more int64) error {
	s, err := cf.Get[cf.Space](c.tx, spaceGUID)
	if err != nil {
		return err
	}
	in, err := guidsOf[cf.Space](c, cf.Query{Where: []cf.Cond{cf.Is("organization_guid", s.OrgGUID)}})
	if err != nil {
		return err
	}
	kept := map[string]int64{}
	packages, err := cf.List[cf.Package](c.tx, cf.Query{Where: []cf.Cond{cf.Is("space_guid", in...), cf.Is("state", ready)}})
	if err != nil {
		return err
	}
	for _, p := range packages {
		kept[p.Checksum] = p.Bytes
	}
	droplets, err := cf.List[cf.Droplet](c.tx, cf.Query{Where: []cf.Cond{cf.Is("space_guid", in...), cf.Is("state", "STAGED")}})
	if err != nil {
		return err
	}
	for _, d := range droplets {
		kept[d.Checksum] = d.Bytes
	}
	for _, bytes := range kept {
		more += bytes
	}
	if more > c.maxKept {
		return unprocessable("The organization would have %d MiB of packages and droplets, more than the %d MiB that are kept for one. Delete apps that are not needed, or their old packages (cf packages APP, cf curl -X DELETE /v3/packages/GUID), and push again.", more>>20, c.maxKept>>20)
	}
	return nil
}
