package broker

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dewpaas/dew/cf"
)

// Version of the Open Service Broker API that is spoken.
const Version = "2.17"

const (
	requestTimeout = 60 * time.Second
	maxAnswer      = 1 << 20
)

// client speaks with one broker.
type client struct {
	url, user, password string
	http                *http.Client
}

// answer is what a broker may say. Async means that it works on the request.
type answer struct {
	Async       bool              `json:"-"`
	Dashboard   string            `json:"dashboard_url"`
	Operation   string            `json:"operation"`
	Credentials map[string]any    `json:"credentials"`
	Drain       string            `json:"syslog_drain_url"`
	Volumes     []json.RawMessage `json:"volume_mounts"`
	Parameters  map[string]any    `json:"parameters"`
	State       string            `json:"state"` // of a last operation
	Description string            `json:"description"`
	Later       time.Duration     `json:"-"` // Retry-After
}

// Error is a request that a broker did not fulfil.
type Error struct {
	Status int    // of HTTP, 0 without an answer
	Word   string // the broker's code for it
	About  string // for people
	// Uncertain says that the broker may have done it all the same.
	Uncertain bool
}

func (e *Error) Error() string { return e.About }

// places are the parts of a work's request that name things at the broker.
type places struct {
	service, plan, instance, binding string
}

func (c *client) catalog(ctx context.Context) (*Catalog, error) {
	status, _, body, err := c.send(ctx, http.MethodGet, "/v2/catalog", nil, nil, "")
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, refused(status, body)
	}
	return ParseCatalog(body)
}

func (p places) path() string {
	path := "/v2/service_instances/" + url.PathEscape(p.instance)
	if p.binding != "" {
		path += "/service_bindings/" + url.PathEscape(p.binding)
	}
	return path
}

func (p places) ids() url.Values { return url.Values{"service_id": {p.service}, "plan_id": {p.plan}} }

// put makes an instance or a binding; patch changes an instance.
func (c *client) put(ctx context.Context, method string, p places, body map[string]any, user string) (answer, error) {
	body["service_id"], body["plan_id"] = p.service, p.plan
	return c.ask(ctx, method, p.path(), url.Values{"accepts_incomplete": {"true"}}, body, user, http.StatusOK, http.StatusCreated)
}

// remove takes an instance or a binding away. That there is none is no error.
func (c *client) remove(ctx context.Context, p places, user string) (answer, error) {
	q := p.ids()
	q.Set("accepts_incomplete", "true")
	a, err := c.ask(ctx, http.MethodDelete, p.path(), q, nil, user, http.StatusOK)
	return a, unlessGone(err)
}

func unlessGone(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusGone {
		return nil
	}
	return err
}

// progress asks how far the broker is.
func (c *client) progress(ctx context.Context, p places, operation string) (answer, error) {
	q := p.ids()
	if operation != "" {
		q.Set("operation", operation)
	}
	return c.ask(ctx, http.MethodGet, p.path()+"/last_operation", q, nil, "", http.StatusOK)
}

// get reads an instance or a binding.
func (c *client) get(ctx context.Context, p places) (answer, error) {
	return c.ask(ctx, http.MethodGet, p.path(), p.ids(), nil, "", http.StatusOK)
}

func (c *client) ask(ctx context.Context, method, path string, q url.Values, body map[string]any, user string, good ...int) (answer, error) {
	status, header, text, err := c.send(ctx, method, path, q, body, user)
	if err != nil {
		return answer{}, err
	}
	a := answer{Async: status == http.StatusAccepted, Later: later(header)}
	fine := a.Async && method != http.MethodGet
	for _, s := range good {
		fine = fine || status == s
	}
	if !fine {
		return a, refused(status, text)
	}
	if err := json.Unmarshal(text, &a); err != nil && len(bytes.TrimSpace(text)) > 0 {
		return a, &Error{Status: status, About: "The service broker returned an invalid response: its body is not JSON", Uncertain: true}
	}
	if len(a.Volumes) > 0 {
		return a, &Error{Status: status, About: "The service broker returned volume mounts, which are not supported: state is reached over the network only", Uncertain: true}
	}
	return a, nil
}

func later(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(n)*time.Second, time.Hour)
}

// refused tells what an answer other than the expected ones means: after those
// marked uncertain the broker may hold something (the specification's table of
// orphan mitigation).
func refused(status int, body []byte) *Error {
	var said struct {
		Error       string `json:"error"`
		Description string `json:"description"`
	}
	json.Unmarshal(body, &said) // without words the status must do
	e := &Error{Status: status, Word: said.Error, Uncertain: status/100 == 5 || status/100 == 2 || status == http.StatusRequestTimeout}
	about := said.Description
	if about == "" {
		about = said.Error
	}
	if about == "" {
		about = fmt.Sprintf("status code %d", status)
	}
	switch {
	case status == http.StatusUnauthorized:
		e.About = "Authentication with the service broker failed. Double-check that the username and password are correct."
	case said.Error == "AsyncRequired":
		e.About = "This service plan requires client support for asynchronous service operations."
	default:
		e.About = "Service broker error: " + clip(about)
	}
	return e
}

func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), 2000)], "") }

// send makes one request. Whether a broker that gave no answer got the request
// is uncertain, unless nobody was there to get it.
func (c *client) send(ctx context.Context, method, path string, q url.Values, body map[string]any, user string) (int, http.Header, []byte, error) {
	target := strings.TrimSuffix(c.url, "/") + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, nil, nil, fmt.Errorf("encode the request to a broker: %w", err)
		}
		in = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, target, in)
	if err != nil {
		return 0, nil, nil, &Error{About: "The service broker URL is invalid"}
	}
	r.SetBasicAuth(c.user, c.password)
	r.Header.Set("X-Broker-API-Version", Version)
	r.Header.Set("X-Broker-API-Request-Identity", cf.NewGUID())
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	if user != "" {
		r.Header.Set("X-Broker-API-Originating-Identity", "cloudfoundry "+base64.StdEncoding.EncodeToString([]byte(`{"user_id":`+strconv.Quote(user)+`}`)))
	}
	got, err := c.http.Do(r)
	if err != nil {
		return 0, nil, nil, c.silent(err)
	}
	defer got.Body.Close() // read to its end or to the bound
	text, err := io.ReadAll(io.LimitReader(got.Body, maxAnswer+1))
	if err != nil || len(text) > maxAnswer {
		return 0, nil, nil, &Error{Status: got.StatusCode, About: "The service broker returned an answer that is cut off or too long", Uncertain: true}
	}
	return got.StatusCode, got.Header, text, nil
}

func (c *client) silent(err error) *Error {
	host := c.url
	if u, bad := url.Parse(c.url); bad == nil {
		host = u.Host // without what may be secret
	}
	e := &Error{About: fmt.Sprintf("The service broker could not be reached: %s", host), Uncertain: true}
	var where *url.Error
	if errors.As(err, &where) {
		err = where.Err
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		e.Uncertain = false
	}
	if errors.Is(err, context.DeadlineExceeded) {
		e.Uncertain, e.About = true, fmt.Sprintf("The request to the service broker timed out: %s", host)
	} else {
		e.About += ": " + clip(err.Error())
	}
	return e
}
