package api

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
)

// documented is what CAPI's documentation says of an endpoint.
type documented struct {
	method, path string
	roles        string // letters of roleLetters, "*" where nothing is said
	params       []string
}

func (d documented) list() bool { return slices.Contains(d.params, "page") }

// roleLetters are the roles of testdata/capi.txt.
var roleLetters = map[string]string{"org_manager": "M", "org_auditor": "A", "org_billing_manager": "B", "org_user": "U", "space_manager": "m", "space_developer": "d",
	"space_supporter": "s", "space_auditor": "a", "read_only_admin": "R", "global_auditor": "G"}

func readCAPI(t *testing.T) []documented {
	text, err := os.ReadFile(filepath.Join("testdata", "capi.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var all []documented
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[0] != "#" {
			all = append(all, documented{f[0], f[1], f[2], f[3:]})
		}
	}
	if len(all) < 230 {
		t.Fatalf("only %d endpoints are listed", len(all))
	}
	return all
}

// client logs in a client of the UAA that has the authorities.
func (f *foundation) client(admin, name string, authorities ...string) string {
	f.t.Helper()
	list, err := json.Marshal(authorities)
	if err != nil {
		f.t.Fatal(err)
	}
	f.do(201, admin, "POST", "/oauth/clients", `{"client_id":"`+name+`","client_secret":"s","authorities":`+string(list)+`}`)
	form := url.Values{"grant_type": {"client_credentials"}}.Encode()
	r, err := http.NewRequest("POST", "/oauth/token", strings.NewReader(form))
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(name, "s")
	return f.token(r)
}

// TestEveryDocumentedEndpointIsThere asks the router for each, and each for the
// query parameters that it should know.
func TestEveryDocumentedEndpointIsThere(t *testing.T) {
	f := newFoundation(t)
	router := f.Handler.(chi.Routes)
	params := map[string][]string{}
	for _, e := range f.api.endpoints() {
		params[e.Method+" "+e.Path] = e.Params
	}
	for _, d := range readCAPI(t) {
		key := d.method + " " + d.path
		if !router.Match(chi.NewRouteContext(), d.method, d.path) {
			t.Errorf("%s: no such endpoint", key)
		}
		for _, p := range d.params {
			if !slices.Contains(params[key], p) {
				t.Errorf("%s does not know the parameter %s", key, p)
			}
		}
	}
}

// TestUnknownParametersAreRefused: nowhere is a filter ignored.
func TestUnknownParametersAreRefused(t *testing.T) {
	w, forget := newWorld(t)
	forget.on = true
	for _, e := range w.api.endpoints() {
		if !strings.HasPrefix(e.Path, "/v3/") {
			continue // the log cache and the policy server are no part of the V3 API
		}
		got := w.send(e.Method, w.fillIn(e.Path)+"?no_such_filter=1", w.tokens["admin"], "application/json", []byte("{}"))
		if got.Code != 400 || !strings.Contains(got.Body.String(), "CF-BadQueryParameter") || !strings.Contains(got.Body.String(), "'no_such_filter'") {
			t.Errorf("%s %s: %d %s", e.Method, e.Path, got.Code, got.Body)
		}
	}
}

// deviations are where somebody else may than CAPI's documentation says.
var deviations = map[string]string{
	"GET /v3/jobs/{guid}":                                                "a job is its creator's and the admins' business",
	"GET /v3/isolation_segments/{guid}":                                  "there are none",
	"POST /v3/isolation_segments":                                        "refused to admins too",
	"PATCH /v3/isolation_segments/{guid}":                                "refused to admins too",
	"DELETE /v3/isolation_segments/{guid}":                               "refused to admins too",
	"POST /v3/organizations":                                             "only while user_org_creation is on",
	"POST /v3/users":                                                     "organization managers only where an operator of CAPI allows it",
	"GET /v3/security_groups/{guid}":                                     "the group is a space's, and auditors and billing managers see global ones",
	"GET /v3/roles/{guid}":                                               "the role is a space's, and auditors and billing managers see those of organizations",
	"GET /v3/service_offerings/{guid}":                                   "the offering is of a space's broker: nobody else sees it",
	"GET /v3/service_plans/{guid}":                                       "the plan is of a space's broker: nobody else sees it",
	"GET /v3/service_plans/{guid}/visibility":                            "the plan is of a space's broker: nobody else sees it",
	"GET /v3/service_instances/{guid}/parameters":                        "CAPI lets supporters too, whatever its documentation says",
	"GET /v3/domains/{guid}":                                             "whoever sees the list sees its entries: organization users too",
	"GET /v3/domains/{guid}/route_reservations":                          "whoever sees the domain may ask",
	"GET /v3/organizations/{guid}/domains/default":                       "whoever sees the list sees its entries: organization users too",
	"GET /v3/organization_quotas/{guid}":                                 "organization users see their organization, which names its quota",
	"GET /v3/users/{guid}":                                               "organization users see the users of their organization in its list",
	"DELETE /v3/domains/{guid}/relationships/shared_organizations/{org}": "it is not shared with that organization",
	"POST /v3/service_instances/{guid}/relationships/shared_spaces":      "only while service_instance_sharing is on",
	"POST /v3/routes/{guid}/relationships/shared_spaces":                 "only while route_sharing is on",
	"GET /v3/packages/{guid}/download":                                   "CAPI lets read-only admins too, whatever its documentation says",
	"POST /v3/resource_matches":                                          "whoever may only read pushes nothing",
	"GET /v3/sidecars/{guid}":                                            "there are none",
	"PATCH /v3/sidecars/{guid}":                                          "there are none",
	"DELETE /v3/sidecars/{guid}":                                         "there are none",
}

// TestDocumentedRoles: whoever may by CAPI's documentation, may here; others may
// not. Lists are open to all, and tell apart what they show.
func TestDocumentedRoles(t *testing.T) {
	w, forget := newWorld(t)
	admin := w.tokens["admin"]
	w.tokens["read_only_admin"] = w.client(admin, "ro", "cloud_controller.read", "cloud_controller.admin_read_only")
	w.tokens["global_auditor"] = w.client(admin, "ga", "cloud_controller.read", "cloud_controller.global_auditor")
	forget.on = true
	known := map[string]Endpoint{}
	for _, e := range w.api.endpoints() {
		known[e.Method+" "+e.Path] = e
	}
	bodies := w.bodies()
	// With a new role, a new binding: what is there already is refused to all.
	bodies["POST /v3/roles"] = strings.Replace(bodies["POST /v3/roles"], "space_auditor", "space_supporter", 1)
	for _, d := range readCAPI(t) {
		key := d.method + " " + d.path
		e, ours := known[key]
		if d.roles == "*" || d.list() || !ours || deviations[key] != "" {
			continue
		}
		body := bodies[key]
		if body == "" {
			body = "{}"
		}
		for role, letter := range roleLetters {
			text, may := w.outcome(e, role, body)
			if should := strings.Contains(d.roles, letter); may != should {
				t.Errorf("%s by %s: %s, and it should be allowed: %v", key, role, text, should)
			}
		}
		if text, may := w.outcome(e, "admin", body); !may {
			t.Errorf("%s by an admin: %s", key, text)
		}
	}
}

// TestAnotherTenantsGuids: for everything in a tenant's reach, with every verb,
// others are told that it is absent.
func TestAnotherTenantsGuids(t *testing.T) {
	w, forget := newWorld(t)
	forget.on = true
	ofAll := []string{"organization_quotas", "stacks", "buildpacks", "isolation_segments", "environment_variable_groups", "feature_flags", "app_usage_events", "service_usage_events"}
	bodies := w.bodies()
	looked := 0
	for _, e := range w.api.endpoints() {
		noun := strings.Split(strings.TrimPrefix(e.Path, "/v3/"), "/")[0]
		if !strings.Contains(e.Path, "{guid}") || slices.Contains(ofAll, noun) {
			continue
		}
		if e.Path == "/v3/service_instances/{guid}/permissions" {
			continue // which says, as CAPI does, that nothing is permitted
		}
		body := bodies[e.Method+" "+e.Path]
		if body == "" {
			body = "{}"
		}
		looked++
		if text, _ := w.outcome(e, "other_tenant", body); text != "404" {
			t.Errorf("%s %s: %s, want 404", e.Method, e.Path, text)
		}
	}
	if looked < 130 {
		t.Errorf("only %d endpoints were looked at", looked)
	}
}
