package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dewpaas/dew/api/blob"
	"github.com/dewpaas/dew/api/broker"
	"github.com/dewpaas/dew/api/egress"
	"github.com/dewpaas/dew/api/logcache"
	"github.com/dewpaas/dew/api/uaa"
	"github.com/dewpaas/dew/cf"
)

// Version is the V3 API whose features are here.
const Version = "3.211.0"

const requestID = "X-Vcap-Request-Id"

// Config is what a server needs. Stager, Runtime, Droplets and Logs may be nil.
type Config struct {
	Store    cf.Store
	UAA      *uaa.Server
	Blobs    *blob.Store
	Stager   Stager
	Runtime  Runtime
	Droplets Droplets
	Logs     *logcache.Cache        // takes the lines that the API writes too, and answers cf logs
	Egress   egress.Guard           // where tenants may make the platform connect to
	Metrics  []prometheus.Collector // shown at /metrics beside the API's own
	Limited  func() uint64          // log lines of apps that were over a limit, of all cells; nil: there are no cells
	Upload   int64                  // bytes that an upload may have; DefaultUpload if 0
	Usage    time.Duration          // how long usage events are kept; DefaultKeepUsage if 0
	Kept     int64                  // bytes of packages and droplets for one organization; DefaultKept if 0
	Log      *slog.Logger
	Holder   string // its name among the APIs that share the ledger; "" if there is one
	URL      string // how clients reach the API, without a slash at the end
	Domain   string // the shared domain made at the first start
}

// Stager turns packages into droplets.
type Stager interface {
	// Stage starts a build that the ledger holds as STAGING and returns. The
	// stager writes its end (STAGED with a droplet, or FAILED) to the ledger.
	// After an error from Stage the build is failed by the caller.
	Stage(ctx context.Context, buildGUID string) error
}

// Runtime keeps guests.
type Runtime interface {
	// Changed says that what an app should be, or whom it may reach, has changed
	// in the ledger; "" stands for rules that concern many. It returns when the
	// instances that are wanted are known, not yet running.
	Changed(ctx context.Context, appGUID string) error
	// Instances tells what the instances of a process are.
	Instances(ctx context.Context, processGUID string) ([]cf.ActualLRP, error)
	// Stop ends one instance, whose place is then filled again.
	Stop(ctx context.Context, processGUID string, index int) error
}

// Server answers the API. It is safe for concurrent use.
type Server struct {
	store     cf.Store
	uaa       *uaa.Server
	blobs     *blob.Store
	stager    Stager
	runtime   Runtime
	droplets  Droplets
	logs      *logcache.Cache
	brokers   *broker.Worker
	metrics   metrics
	limited   func() uint64 // may be nil
	holder    string
	duty      duty
	log       *slog.Logger
	url       string
	domain    string
	hosts     map[string]bool // of the API itself: no tenant gets them
	maxUpload int64
	keepUsage time.Duration
	maxKept   int64
	intake    intake
	tickets   [32]byte // key of download tickets
	now       func() time.Time
	clock     cf.ClockWatch // the sweeper's
}

// New makes a server, and on an empty ledger the quota, domain, stacks, groups
// that every foundation has.
func New(ctx context.Context, c Config) (*Server, error) {
	s := &Server{store: c.Store, uaa: c.UAA, blobs: c.Blobs, stager: c.Stager, runtime: c.Runtime, droplets: c.Droplets, logs: c.Logs, log: c.Log,
		url: strings.TrimSuffix(c.URL, "/"), domain: c.Domain, maxUpload: cmp.Or(c.Upload, DefaultUpload), maxKept: cmp.Or(c.Kept, DefaultKept), keepUsage: cmp.Or(c.Usage, DefaultKeepUsage), now: time.Now}
	if s.logs == nil {
		s.logs = logcache.New(logcache.DefaultBounds())
	}
	s.logs.SetGuard(c.Egress)
	s.hosts = map[string]bool{"api." + c.Domain: true}
	if u, err := url.Parse(s.url); err == nil {
		s.hosts[strings.ToLower(u.Hostname())] = true
	}
	s.duty.held = c.Holder == ""
	s.brokers = broker.New(c.Store, c.Egress, c.Log)
	rand.Read(s.tickets[:]) // never fails since Go 1.24
	s.metrics, s.limited, s.holder = s.newMetrics(c.Metrics), c.Limited, c.Holder
	return s, s.seed(ctx)
}

// Hosts are the names under which clients reach the API, in lower case. Whoever
// answered for one of them would be told every password: a router must let no
// route have them.
func (s *Server) Hosts() map[string]bool { return maps.Clone(s.hosts) }

// Handler is the whole HTTP surface: API and UAA on one host.
func (s *Server) Handler() http.Handler {
	r := chi.NewRouter()
	r.Use(s.metrics.watch, s.stamp, s.survive, oneSlash)
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, &refusal{404, 10000, "CF-NotFound", "Unknown request"})
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, &refusal{404, 10000, "CF-NotFound", "Unknown request"})
	})
	s.uaa.Mount(r)
	r.Get("/", s.root)
	r.Get("/v3", s.links)
	r.Get("/v3/info", s.info)
	r.Get("/blobs/{kind}/{sum}", s.redeem)
	s.logRoutes(table{s, r, nil})
	s.networkRoutes(table{s, r, nil})
	s.routes(table{s, r, nil})
	return r
}

// stamp names the request, so that a user can tell the operator which failed.
func (s *Server) stamp(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(requestID, cf.NewGUID())
		next.ServeHTTP(w, r)
	})
}

// survive answers a request that broke an invariant, and tells the operator.
func (s *Server) survive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p)
			default:
				s.fail(w, r, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// oneSlash treats a slash at the end as if it were not there.
func oneSlash(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := r.URL.Path; len(p) > 1 && strings.HasSuffix(p, "/") {
			copied := *r
			u := *r.URL
			u.Path, u.RawPath = strings.TrimRight(p, "/"), ""
			copied.URL = &u
			r = &copied
		}
		next.ServeHTTP(w, r)
	})
}

// Endpoint is one entry of the route table.
type Endpoint struct {
	Method, Path string
	Params       []string // query parameters that it knows; others are refused
}

// table adds endpoints to the router: each with the query parameters it knows.
type table struct {
	s    *Server
	r    chi.Router
	note func(Endpoint) // told of every endpoint, unless nil
}

func (t table) add(method, path string, h http.HandlerFunc, params []string) {
	if t.note != nil {
		t.note(Endpoint{method, path, params})
	}
	t.r.Method(method, path, h)
}

func (t table) get(path string, f endpoint, params ...string) {
	t.add(http.MethodGet, path, t.s.serve(http.StatusOK, false, f, params), params)
}

// getAndNote is get for what is so secret that looking at it is recorded.
func (t table) getAndNote(path string, f endpoint) {
	t.add(http.MethodGet, path, t.s.serve(http.StatusOK, true, f, nil), nil)
}

func (t table) post(path string, status int, f endpoint, params ...string) {
	t.add(http.MethodPost, path, t.s.serve(status, true, f, params), params)
}

func (t table) put(path string, status int, f endpoint) {
	t.add(http.MethodPut, path, t.s.serve(status, true, f, nil), nil)
}

func (t table) patch(path string, f endpoint) {
	t.add(http.MethodPatch, path, t.s.serve(http.StatusOK, true, f, nil), nil)
}

func (t table) delete(path string, status int, f endpoint, params ...string) {
	t.add(http.MethodDelete, path, t.s.serve(status, true, f, params), params)
}

func (s *Server) root(w http.ResponseWriter, _ *http.Request) {
	here := obj{"href": s.url}
	reply(w, http.StatusOK, obj{"links": obj{
		"self": here, "login": here, "uaa": here, "log_cache": here, "network_policy_v1": obj{"href": s.url + "/networking/v1/external"}, "routing": obj{"href": s.url + "/routing"}, "logging": nil,
		"app_ssh": nil, "credhub": nil, "log_stream": nil, "cloud_controller_v2": nil,
		"cloud_controller_v3": obj{"href": s.url + "/v3", "meta": obj{"version": Version}},
	}})
}

func (s *Server) links(w http.ResponseWriter, _ *http.Request) {
	links := obj{"self": obj{"href": s.url + "/v3"}}
	for _, name := range strings.Fields("apps processes packages builds droplets deployments tasks routes domains organizations spaces roles users buildpacks stacks audit_events jobs feature_flags security_groups organization_quotas space_quotas service_instances service_credential_bindings resource_matches app_usage_events service_usage_events") {
		links[name] = obj{"href": s.url + "/v3/" + name}
	}
	reply(w, http.StatusOK, obj{"links": links})
}

func (s *Server) info(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, obj{"name": "Dew", "build": "", "version": 0, "description": "Cloud Foundry on unikernels", "custom": obj{},
		"osbapi_version": "2.17", "cli_version": obj{"minimum": "", "recommended": ""}, "links": obj{"self": obj{"href": s.url + "/v3/info"}, "support": obj{"href": ""}}})
}

// link is an absolute URL, which is what the CLI follows.
func (s *Server) link(parts ...string) obj {
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return obj{"href": s.url + "/v3/" + strings.Join(parts, "/")}
}

// raw is an endpoint that streams: it reads and writes the connection itself.
func (t table) raw(method, path string, f func(c *call, w http.ResponseWriter) error) {
	t.stream(method, path, func(c *call, w http.ResponseWriter) error {
		if err := checkParams(c.r, nil); err != nil {
			return err
		}
		return f(c, w)
	})
}

// stream is raw for endpoints that look at query parameters themselves.
func (t table) stream(method, path string, f func(c *call, w http.ResponseWriter) error) {
	t.add(method, path, func(w http.ResponseWriter, r *http.Request) {
		c, err := t.s.open(r)
		if err == nil {
			err = f(c, w)
		}
		if err != nil {
			io.CopyN(io.Discard, r.Body, 1<<20) // so a client that still sends reads the answer
			t.s.fail(w, r, err)
		}
	}, nil)
}
