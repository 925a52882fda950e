package desk

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/dewpaas/dew/bus"
	"github.com/dewpaas/dew/cell"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/identity"
	"github.com/dewpaas/dew/router/feed"
	"github.com/dewpaas/dew/stager/staging"
)

// Path is the one below which a Desk answers.
const Path = "/desk/"

// Config is what a Desk needs.
type Config struct {
	// Ledger is what a peer may see and write: grant.Guard's.
	Ledger func(identity.Peer) cf.Store
	API    string // URL of the API, which builds are told
	// Lines takes log lines that a peer may write.
	Lines func([]cf.LogLine)
	// Used hears what a cell's instances use.
	Used func(bus.Used)
	Log  *slog.Logger
}

// Desk answers other roles. It is safe for concurrent use.
type Desk struct {
	cfg    Config
	prefix string // of this Desk's tags

	mu        sync.Mutex // guards what follows
	peers     map[identity.Peer]*peer
	followers map[*follower]bool
	tags      int
}

// peer is one that has asked before.
type peer struct {
	identity.Peer
	cell   *cell.Direct
	router *feed.Direct
	stager *staging.Direct

	slots chan struct{}    // holds a token for each question that is being answered
	pages map[string]*page // by question: what it got

	mu   sync.Mutex           // guards apps
	apps map[string]time.Time // until when it may write lines of an app
}

// New makes a Desk.
func New(c Config) *Desk {
	return &Desk{cfg: c, prefix: rand.Text(), peers: map[identity.Peer]*peer{}, followers: map[*follower]bool{}}
}

// The questions that are answered with differences.
const (
	placed  = "placed"
	around  = "around"
	routing = "routing"
)

func (d *Desk) peer(id identity.Peer) *peer {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.peers[id]
	if p == nil {
		s := d.cfg.Ledger(id)
		p = &peer{Peer: id, slots: make(chan struct{}, atOnce), pages: newPages(), apps: map[string]time.Time{},
			cell: &cell.Direct{Store: s, ID: id.Name}, router: &feed.Direct{Store: s}, stager: &staging.Direct{Store: s, Holder: id.Name, API: d.cfg.API}}
		d.peers[id] = p
	}
	return p
}

// atOnce is how many questions of one peer are answered at a time: who has been taken
// over does not keep the others from asking.
const atOnce = 32

// bounds of bodies, in bytes.
const (
	maxBody  = 64 << 10
	maxNews  = 32 << 20
	maxLines = 8 << 20
)

// Handler answers peers; who tells who asks.
func (d *Desk) Handler(who func(*http.Request) identity.Peer) http.Handler {
	mux := http.NewServeMux()
	for pattern, q := range d.questions() {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			id := who(r)
			if id.Name == "" || !q.roles[id.Role] {
				http.Error(w, "your role may not ask this", http.StatusForbidden)
				return
			}
			p := d.peer(id)
			select {
			case p.slots <- struct{}{}:
				defer func() { <-p.slots }()
			default:
				http.Error(w, "too many questions at a time", http.StatusServiceUnavailable)
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, q.max)
			if r.Method == http.MethodPost {
				http.NewResponseController(w).SetReadDeadline(time.Now().Add(askTime)) // who asks slowly is no peer of ours
			}
			if err := q.answer(p, w, r); err != nil {
				d.refuse(w, r, id, err)
			}
		})
	}
	return mux
}

// question is one that some roles may ask.
type question struct {
	roles  map[string]bool
	max    int64 // bytes of its body
	answer func(*peer, http.ResponseWriter, *http.Request) error
}

// questions are all that there are.
func (d *Desk) questions() map[string]question {
	cells, routers, stagers := map[string]bool{identity.Cell: true}, map[string]bool{identity.Router: true}, map[string]bool{identity.Stager: true}
	all := map[string]bool{identity.Cell: true, identity.Router: true, identity.Stager: true}
	return map[string]question{
		"GET " + Path + placed: {cells, maxBody, d.extract(placed, func(ctx context.Context, p *peer) (cf.Extract, error) {
			list, err := p.cell.Placed(ctx)
			e := cf.Extract{}
			for _, r := range list {
				e[r.Noun()] = append(e[r.Noun()], r)
			}
			return e, err
		})},
		"GET " + Path + around:  {cells, maxBody, d.extract(around, func(ctx context.Context, p *peer) (cf.Extract, error) { return p.cell.Around(ctx) })},
		"GET " + Path + routing: {routers, maxBody, d.extract(routing, func(ctx context.Context, p *peer) (cf.Extract, error) { return p.router.Routing(ctx) })},
		"GET " + Path + "hints": {all, maxBody, d.follow},

		"POST " + Path + "join": {cells, maxBody, call(func(ctx context.Context, p *peer, c cf.Cell) ([]*cf.Report, error) { return p.cell.Join(ctx, &c) })},
		"POST " + Path + "tell": {cells, maxNews, call(func(ctx context.Context, p *peer, n cell.News) (none, error) { return none{}, p.cell.Tell(ctx, n) })},
		"POST " + Path + "usage": {cells, maxLines, call(func(ctx context.Context, p *peer, u bus.Used) (none, error) {
			return none{}, d.used(ctx, p, u)
		})},
		"POST " + Path + "lines": {all, maxLines, call(func(ctx context.Context, p *peer, l []cf.LogLine) (none, error) { return none{}, d.lines(ctx, p, l) })},

		"POST " + Path + "facts": {all, maxBody, call(func(ctx context.Context, p *peer, _ none) (*cf.Setting, error) {
			return Facts(ctx, d.cfg.Ledger(p.Peer))
		})},
		"POST " + Path + "waiting": {stagers, maxBody, call(func(ctx context.Context, p *peer, _ none) (w waiting, err error) {
			w.Builds, w.Leases, err = p.stager.Waiting(ctx)
			return w, err
		})},
		"POST " + Path + "claim": {stagers, maxBody, call(d.claim)},
		"POST " + Path + "beat": {stagers, maxBody, call(func(ctx context.Context, p *peer, c claim) (none, error) {
			return none{}, p.stager.Beat(ctx, c.Build, c.Token)
		})},
		"POST " + Path + "material": {stagers, maxBody, call(func(ctx context.Context, p *peer, c claim) (*staging.Material, error) {
			return p.stager.Material(ctx, c.Build, c.Token)
		})},
		"POST " + Path + "end": {stagers, 1 << 20, call(func(ctx context.Context, p *peer, c claim) (none, error) {
			return none{}, p.stager.End(ctx, c.Build, c.Token, c.Outcome)
		})},
		"POST " + Path + "tidy": {stagers, maxNews, call(func(ctx context.Context, p *peer, spaces []string) ([]string, error) {
			return p.stager.Tidy(ctx, spaces)
		})},
	}
}

// none is what a question or an answer without a content holds.
type none struct{}

// waiting is the answer to what is to be built.
type waiting struct {
	Builds []*cf.Build          `json:"builds"`
	Leases map[string]*cf.Lease `json:"leases"`
}

// claim is what a stager says of a build.
type claim struct {
	Build   string          `json:"build"`
	Token   int64           `json:"token,omitempty"`
	Before  *cf.Lease       `json:"before,omitempty"`
	Outcome staging.Outcome `json:"outcome,omitzero"`
}

// call answers a question whose content is JSON.
func call[In, Out any](f func(context.Context, *peer, In) (Out, error)) func(*peer, http.ResponseWriter, *http.Request) error {
	return func(p *peer, w http.ResponseWriter, r *http.Request) error {
		var in In
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			return cf.Errorf("read the question", cf.Invalid, "it is not understood: %w", err)
		}
		out, err := f(r.Context(), p, in)
		if err != nil {
			return err
		}
		return reply(w, out)
	}
}

func reply(w http.ResponseWriter, v any) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(doc) // who went away asks again
	return nil
}

// extract answers what is asked again and again, with what changed since.
func (d *Desk) extract(name string, read func(context.Context, *peer) (cf.Extract, error)) func(*peer, http.ResponseWriter, *http.Request) error {
	return func(p *peer, w http.ResponseWriter, r *http.Request) error {
		page := p.pages[name]
		page.asking.Lock()
		defer page.asking.Unlock()
		e, err := read(r.Context(), p)
		if err != nil {
			return err
		}
		last := page.last.Load()
		if last == nil {
			last = newSheet("", nil)
		}
		now := newSheet(d.tag(), e)
		change, err := now.since(last)
		if err != nil {
			return err
		}
		if last.tag != "" && change.empty() {
			now = last
			change.Tag = last.tag
		}
		if change.Base != "" && change.Base != r.URL.Query().Get("have") {
			if change, err = now.since(newSheet("", nil)); err != nil {
				return err
			}
		}
		page.last.Store(now)
		return reply(w, change)
	}
}

// tag is a new one.
func (d *Desk) tag() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tags++
	return d.prefix + strconv.Itoa(d.tags)
}

// Facts reads what APIs tell of the foundation in a ledger; nil: none was ever started.
func Facts(ctx context.Context, ledger cf.Store) (s *cf.Setting, err error) {
	err = ledger.View(ctx, func(tx cf.Tx) (err error) {
		s, err = cf.First[cf.Setting](tx, cf.Is("guid", cf.FoundationSetting))
		return err
	})
	return s, err
}

func (d *Desk) claim(ctx context.Context, p *peer, c claim) (token int64, err error) {
	if token, err = p.stager.Claim(ctx, c.Build, c.Before); err != nil {
		return 0, err
	}
	return token, d.admit(ctx, p, c.Build)
}

// problem is an error as it goes to a Client.
type problem struct {
	Kind  cf.Kind `json:"kind"`
	Taken bool    `json:"taken,omitempty"` // staging.ErrTaken
	Error string  `json:"error"`
}

// refuse answers with an error. What is wrong with the ledger is the operator's to
// know, in the log of who asked and here.
func (d *Desk) refuse(w http.ResponseWriter, r *http.Request, id identity.Peer, err error) {
	p := problem{Kind: cf.KindOf(err), Taken: errors.Is(err, staging.ErrTaken), Error: err.Error()}
	status := http.StatusInternalServerError
	switch {
	case p.Taken, p.Kind == cf.Conflict, p.Kind == cf.Exists:
		status = http.StatusConflict
	case p.Kind == cf.Unavailable, r.Context().Err() != nil:
		status = http.StatusServiceUnavailable
	case p.Kind == cf.Invalid:
		status = http.StatusBadRequest
	case p.Kind == cf.NotFound:
		status = http.StatusNotFound
	case p.Kind == cf.Forbidden:
		status = http.StatusForbidden
		d.cfg.Log.Warn("desk: a peer asked for what it may not", "peer", id.String(), "question", r.URL.Path, "err", err)
	default:
		d.cfg.Log.Error("desk: a question is not answered", "peer", id.String(), "question", r.URL.Path, "err", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(p)
}

// used passes on what a cell's own instances use.
func (d *Desk) used(ctx context.Context, p *peer, u bus.Used) error {
	own := map[string]cf.Record{}
	if last := p.pages[placed].last.Load(); last != nil {
		own = last.records["placements"]
	} else {
		list, err := p.cell.Placed(ctx)
		if err != nil {
			return fmt.Errorf("take figures of use: %w", err)
		}
		for _, r := range list {
			own[r.GUID] = r
		}
	}
	for guid := range u.Instances {
		if own[guid] == nil {
			delete(u.Instances, guid)
		}
	}
	u.Cell = p.Name
	d.cfg.Used(u)
	return nil
}
