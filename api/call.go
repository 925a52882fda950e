package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/dewpaas/dew/api/uaa"
	"github.com/dewpaas/dew/cf"
)

// obj is a JSON object of an answer.
type obj map[string]any

// endpoint answers one call. A nil answer has no body.
type endpoint func(c *call) (any, error)

// call is one request inside its transaction.
type call struct {
	*Server
	ctx      context.Context
	r        *http.Request
	body     []byte
	tx       cf.Tx
	id       uaa.Identity
	orgs     map[string]map[string]bool // role types of the caller by organization
	spaces   map[string]map[string]bool // and by space
	location string
	// afters run in order when the transaction is on disk, and without it: the
	// stager and the runtime use the ledger themselves. An error is the answer.
	afters []func() error
	late   any // the answer, when an after makes it
	warned []string
	status int // of the answer, where it is not the usual one

	anonymous bool // there is no token, and the request is one that may go without
}

// warn tells the user something about a request that succeeds: the CLI prints it.
func (c *call) warn(format string, args ...any) {
	text := url.QueryEscape(fmt.Sprintf(format, args...))
	if !slices.Contains(c.warned, text) {
		c.warned = append(c.warned, text)
	}
}

func (c *call) then(f func() error) { c.afters = append(c.afters, f) }

// maxBody bounds JSON and YAML bodies.
const maxBody = 1 << 20

// open knows who calls.
func (s *Server) open(r *http.Request) (*call, error) {
	id, err := s.uaa.Check(r.Context(), uaa.Bearer(r))
	if errors.Is(err, uaa.ErrToken) {
		if r.Header.Get("Authorization") != "" {
			return nil, badToken()
		}
		if browses(r) {
			return &call{Server: s, ctx: r.Context(), r: r, anonymous: true}, nil
		}
		return nil, notAuthenticated()
	}
	c := &call{Server: s, ctx: r.Context(), r: r, id: id}
	if err == nil {
		err = c.scoped(r.Method != http.MethodGet && r.Method != http.MethodHead)
	}
	return c, err
}

func (s *Server) serve(status int, write bool, f endpoint, params []string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := s.open(r)
		if err == nil {
			err = checkParams(r, params)
		}
		if err == nil {
			c.body, err = readBody(w, r)
		}
		var answer any
		if err == nil {
			err = c.transact(write, func() (err error) {
				answer, err = f(c)
				return err
			})
		}
		for i := 0; err == nil && i < len(c.afters); i++ {
			err = c.afters[i]()
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
		if c.late != nil {
			answer = c.late
		}
		if c.location != "" {
			w.Header().Set("Location", c.location)
		}
		if len(c.warned) > 0 {
			w.Header().Set("X-Cf-Warnings", strings.Join(c.warned, ","))
		}
		reply(w, cmp.Or(c.status, status), answer)
	}
}

// transact runs f in one transaction; it may run twice, so it starts afresh.
func (c *call) transact(write bool, f func() error) error {
	in := c.store.View
	if write {
		in = c.store.Update
	}
	return in(c.ctx, func(tx cf.Tx) error {
		c.tx, c.afters, c.location, c.status, c.warned = tx, nil, "", 0, nil
		if err := c.loadRoles(); err != nil {
			return err
		}
		return f()
	})
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Method == http.MethodGet {
		return nil, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, badBody("the body cannot be read or is longer than %d bytes", maxBody)
	}
	return body, nil
}

func checkParams(r *http.Request, known []string) error {
	var bad []string
	for name := range r.URL.Query() {
		if !slices.Contains(known, name) {
			bad = append(bad, "'"+name+"'")
		}
	}
	if bad == nil {
		return nil
	}
	slices.Sort(bad)
	valid := make([]string, len(known))
	for i, name := range known {
		valid[i] = "'" + name + "'"
	}
	return badQuery("Unknown query parameter(s): %s. Valid parameters are: %s", strings.Join(bad, ", "), strings.Join(valid, ", "))
}

func reply(w http.ResponseWriter, status int, body any) {
	if o, empty := body.(obj); body == nil || empty && o == nil {
		w.WriteHeader(status)
		return
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		panic(fmt.Errorf("an answer that is no JSON: %w", err)) // the server answers 500 and logs it
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	w.Write(text.Bytes()) // the client is gone if this fails
}

// read decodes the body. Numbers and strings must be what they should be.
func (c *call) read(into any) error {
	d := json.NewDecoder(bytes.NewReader(c.body))
	if err := d.Decode(into); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return unprocessable("%s must not be of type %s", kind.Field, kind.Value)
		}
		return badBody("invalid request body")
	}
	if d.More() {
		return badBody("something follows the JSON")
	}
	return nil
}

func (c *call) param(name string) string { return chi.URLParam(c.r, name) }

// one and many are relationships as the API writes them.
type one struct {
	Data *struct {
		GUID     string `json:"guid"`
		Username string `json:"username"`
		Origin   string `json:"origin"`
	} `json:"data"`
}

func (o one) guid() string {
	if o.Data == nil {
		return ""
	}
	return o.Data.GUID
}

type many struct {
	Data []struct {
		GUID string `json:"guid"`
	} `json:"data"`
}

func toOne(guid string) obj {
	if guid == "" {
		return obj{"data": nil}
	}
	return obj{"data": obj{"guid": guid}}
}

func toMany(guids []string) obj {
	data := []obj{}
	for _, g := range guids {
		data = append(data, obj{"guid": g})
	}
	return obj{"data": data}
}

// done answers with a job that is already complete: its work was part of this
// transaction.
func (c *call) done(operation string) (any, error) {
	j := &cf.Job{Operation: operation, State: "COMPLETE", Owner: c.id.GUID}
	if err := c.tx.Insert(j); err != nil {
		return nil, err
	}
	c.location = c.url + "/v3/jobs/" + j.GUID
	return nil, nil
}

func (c *call) job() (any, error) {
	j, err := cf.Get[cf.Job](c.tx, c.param("guid"))
	if err != nil || j.Owner != c.id.GUID && !c.admin() {
		return nil, hide(err, "Job")
	}
	errs, warnings := j.Errors, []obj{}
	if errs == nil {
		errs = []cf.JobError{}
	}
	for _, w := range j.Warnings {
		warnings = append(warnings, obj{"detail": w})
	}
	return c.base(&j.Meta, "jobs", obj{"operation": j.Operation, "state": j.State, "errors": errs, "warnings": warnings}), nil
}

// orElse is err, or what stands for it when nothing failed.
func orElse(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// unlessRefused replaces one refusal by another that says more.
func unlessRefused(err, other error) error {
	if refused(err) {
		return other
	}
	return err
}

func refused(err error) bool { return errors.As(err, new(*refusal)) }

// unlessForbidden replaces the answer that something is absent.
func unlessForbidden(err, other error) error {
	var r *refusal
	if errors.As(err, &r) && r.status == http.StatusNotFound {
		return other
	}
	return err
}

// hide says that a thing is absent, unless the store failed.
func hide(err error, what string) error {
	if err != nil && cf.KindOf(err) != cf.NotFound {
		return err
	}
	return notFound(what)
}
