package brokertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// The account that the broker wants.
const (
	User     = "broker"
	Password = "secret"
)

// Catalog offers two services: postgres with a fast plan, a plan that is worked
// on and a plan that costs; and keyless, which cannot be bound.
const Catalog = `{"services":[
 {"id":"s1","name":"postgres","description":"databases","bindable":true,"tags":["sql"],"plan_updateable":true,"instances_retrievable":true,"bindings_retrievable":true,
  "metadata":{"documentationUrl":"http://docs","shareable":true},
  "plans":[{"id":"p1","name":"small","description":"one"},{"id":"p2","name":"slow","description":"two","maintenance_info":{"version":"1.0.0"}},
           {"id":"p3","name":"costly","description":"three","free":false,"metadata":{"costs":[{"amount":{"eur":9.5},"unit":"MONTHLY"}]}}]},
 {"id":"s2","name":"keyless","description":"nothing to bind","bindable":false,"plans":[{"id":"p4","name":"only","description":"four"}]}]}`

// Broker is a broker that runs.
type Broker struct {
	URL string
	t   testing.TB

	mu        sync.Mutex // guards the rest
	catalog   string
	instances map[string]map[string]any // bodies of requests by guid
	bindings  map[string]map[string]any
	polls     map[string]int // of slow work, how often it was asked for
	answer    func(w http.ResponseWriter, r *http.Request) bool
	requests  []string
}

// New starts a broker.
func New(t testing.TB) *Broker {
	b := &Broker{t: t, catalog: Catalog, instances: map[string]map[string]any{}, bindings: map[string]map[string]any{}, polls: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/catalog", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, b.catalog) })
	mux.HandleFunc("PUT /v2/service_instances/{i}", func(w http.ResponseWriter, r *http.Request) { b.put(w, r, b.instances, r.PathValue("i")) })
	mux.HandleFunc("PATCH /v2/service_instances/{i}", func(w http.ResponseWriter, r *http.Request) { b.put(w, r, b.instances, r.PathValue("i")) })
	mux.HandleFunc("DELETE /v2/service_instances/{i}", func(w http.ResponseWriter, r *http.Request) { b.remove(w, r, b.instances, r.PathValue("i")) })
	mux.HandleFunc("GET /v2/service_instances/{i}", func(w http.ResponseWriter, r *http.Request) { b.get(w, b.instances[r.PathValue("i")]) })
	mux.HandleFunc("GET /v2/service_instances/{i}/last_operation", b.progress)
	const binding = "/v2/service_instances/{i}/service_bindings/{b}"
	mux.HandleFunc("PUT "+binding, func(w http.ResponseWriter, r *http.Request) { b.put(w, r, b.bindings, r.PathValue("b")) })
	mux.HandleFunc("DELETE "+binding, func(w http.ResponseWriter, r *http.Request) { b.remove(w, r, b.bindings, r.PathValue("b")) })
	mux.HandleFunc("GET "+binding, func(w http.ResponseWriter, r *http.Request) { b.get(w, b.bindings[r.PathValue("b")]) })
	mux.HandleFunc("GET "+binding+"/last_operation", b.progress)
	s := httptest.NewServer(b.guard(mux))
	t.Cleanup(s.Close)
	b.URL = s.URL
	return b
}

// guard refuses what a real broker would, notes requests, and lets Answer go
// first.
func (b *Broker) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.requests = append(b.requests, r.Method+" "+r.URL.Path)
		user, password, _ := r.BasicAuth()
		switch {
		case user != User || password != Password:
			say(w, http.StatusUnauthorized, map[string]any{})
		case r.Header.Get("X-Broker-API-Version") != "2.17":
			say(w, http.StatusPreconditionFailed, map[string]any{"description": "version"})
		case b.answer != nil && b.answer(w, r):
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// Answer lets f answer requests before the broker does; f returns false for
// those that it leaves.
func (b *Broker) Answer(f func(w http.ResponseWriter, r *http.Request) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = f
}

// SetCatalog changes the catalog.
func (b *Broker) SetCatalog(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.catalog = text
}

// Instances are the guids of the instances that it has.
func (b *Broker) Instances() []string { return b.keys(b.instances) }

// Bindings are the guids of the bindings that it has.
func (b *Broker) Bindings() []string { return b.keys(b.bindings) }

// Instance is the last request about an instance.
func (b *Broker) Instance(guid string) map[string]any {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.instances[guid]
}

// Binding is the body of the newest request about a binding.
func (b *Broker) Binding(guid string) map[string]any {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bindings[guid]
}

func (b *Broker) keys(of map[string]map[string]any) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []string{}
	for k := range of {
		out = append(out, k)
	}
	return out
}

// Wait waits until done is true.
func (b *Broker) Wait(what string, done func() bool) {
	b.t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			b.mu.Lock()
			defer b.mu.Unlock()
			b.t.Fatalf("%s: not in a minute; the broker was asked %q", what, b.requests)
		case <-tick.C:
		}
	}
}

func say(w http.ResponseWriter, status int, body any) {
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // the client is gone if this fails
}

// slow is the plan that is worked on.
const slow = "p2"

func (b *Broker) put(w http.ResponseWriter, r *http.Request, into map[string]map[string]any, guid string) {
	body := map[string]any{}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body["service_id"] == nil || body["plan_id"] == nil || body["context"] == nil {
		say(w, http.StatusBadRequest, map[string]any{"description": "incomplete request"})
		return
	}
	into[guid] = body
	if body["plan_id"] == slow {
		b.polls[guid] = 0
		say(w, http.StatusAccepted, map[string]any{"operation": "op-" + guid})
		return
	}
	say(w, http.StatusCreated, made(guid))
}

func made(guid string) map[string]any {
	return map[string]any{"dashboard_url": "http://dashboard/" + guid, "credentials": map[string]any{"uri": "postgres://u:p@db/" + guid}}
}

func (b *Broker) remove(w http.ResponseWriter, r *http.Request, from map[string]map[string]any, guid string) {
	if from[guid] == nil {
		say(w, http.StatusGone, map[string]any{})
		return
	}
	delete(from, guid)
	if r.URL.Query().Get("plan_id") == slow {
		b.polls[guid] = 0
		say(w, http.StatusAccepted, map[string]any{"operation": "op-" + guid})
		return
	}
	say(w, http.StatusOK, map[string]any{})
}

func (b *Broker) get(w http.ResponseWriter, one map[string]any) {
	if one == nil {
		say(w, http.StatusNotFound, map[string]any{})
		return
	}
	body := made("read")
	body["parameters"] = one["parameters"]
	say(w, http.StatusOK, body)
}

// progress says once that it is not ready yet.
func (b *Broker) progress(w http.ResponseWriter, r *http.Request) {
	guid := r.PathValue("b")
	if guid == "" {
		guid = r.PathValue("i")
	}
	if r.URL.Query().Get("operation") != "op-"+guid {
		say(w, http.StatusBadRequest, map[string]any{"description": "unknown operation"})
		return
	}
	if b.polls[guid]++; b.polls[guid] < 2 {
		say(w, http.StatusOK, map[string]any{"state": "in progress", "description": "half way"})
		return
	}
	say(w, http.StatusOK, map[string]any{"state": "succeeded"})
}
