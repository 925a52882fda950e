package api

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dewpaas/dew/api/blob"
	"github.com/dewpaas/dew/api/uaa"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/store/sqlite"
)

var update = flag.Bool("update", false, "write the golden files anew")

const home = "http://api.test"

// foundation is a whole API on a ledger of its own. Its cells are nil unless it
// was made by newRunning.
type foundation struct {
	t testing.TB
	http.Handler
	cells *cells
	store cf.Store
	api   *Server
	key   *ecdsa.PrivateKey // that signs its tokens
}

// newFoundation has no stager and no cells.
func newFoundation(t testing.TB) *foundation { return foundationWith(t, func(*Config) {}) }

func newRunning(t testing.TB) *foundation {
	c := new(cells)
	f := foundationWith(t, func(config *Config) {
		c.store = config.Store
		config.Stager, config.Runtime = c, c
	})
	f.cells = c
	return f
}

func foundationWith(t testing.TB, change func(*Config)) *foundation {
	dir := t.TempDir()
	ctx := context.Background()
	db, err := sqlite.Open(ctx, filepath.Join(dir, "l.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	key, err := uaa.Key(filepath.Join(dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := blob.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	login := uaa.New(db, key, home)
	login.SetCost(uaa.Cost{MemoryKiB: 64, Passes: 1})
	config := Config{Store: db, UAA: login, Blobs: blobs, URL: home, Domain: "apps.test", Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	change(&config)
	s, err := New(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := login.EnsureAdmin(ctx, func() (string, error) { return "pw", nil }); err != nil {
		t.Fatal(err)
	}
	return &foundation{t: t, Handler: s.Handler(), store: db, api: s, key: key}
}

func (f *foundation) send(method, path, token, kind string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, strings.TrimPrefix(path, home), bytes.NewReader(body))
	r.Header.Set("Content-Type", kind)
	r.SetBasicAuth("cf", "")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w
}

// do sends JSON, or YAML when the body does not begin with a brace, and checks
// the status.
func (f *foundation) do(want int, token, method, path, body string) map[string]any {
	f.t.Helper()
	kind := "application/json"
	if !strings.HasPrefix(body, "{") {
		kind = "application/x-yaml"
	}
	w := f.send(method, path, token, kind, []byte(body))
	if w.Code != want {
		f.t.Fatalf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, want)
	}
	if w.Header().Get(requestID) == "" {
		f.t.Errorf("%s %s: no %s", method, path, requestID)
	}
	out := map[string]any{}
	json.Unmarshal(w.Body.Bytes(), &out) // an empty body stays empty
	out["Location"] = w.Header().Get("Location")
	return out
}

func (f *foundation) login(user, password string) string {
	f.t.Helper()
	form := url.Values{"grant_type": {"password"}, "username": {user}, "password": {password}}.Encode()
	r := httptest.NewRequest("POST", "/oauth/token", strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("cf", "")
	return f.token(r)
}

// token is what the UAA answers to a request for one.
func (f *foundation) token(r *http.Request) string {
	f.t.Helper()
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	var out struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.Token == "" {
		f.t.Fatalf("no token: %d %s", w.Code, w.Body)
	}
	return out.Token
}

func guid(o map[string]any) string { g, _ := o["guid"].(string); return g }

func to(name, guid string) string { return fmt.Sprintf(`%q:{"data":{"guid":%q}}`, name, guid) }

// tenant makes an organization with a space, a developer in it, and an app.
func (f *foundation) tenant(admin, name string) (token, org, space, app string) {
	f.t.Helper()
	user := guid(map[string]any{"guid": f.do(201, admin, "POST", "/Users", `{"userName":"`+name+`","password":"pw"}`)["id"]})
	f.do(201, admin, "POST", "/v3/users", `{"guid":"`+user+`"}`)
	org = guid(f.do(201, admin, "POST", "/v3/organizations", `{"name":"`+name+`"}`))
	space = guid(f.do(201, admin, "POST", "/v3/spaces", `{"name":"dev","relationships":{`+to("organization", org)+`}}`))
	f.do(201, admin, "POST", "/v3/roles", `{"type":"organization_user","relationships":{`+to("user", user)+`,`+to("organization", org)+`}}`)
	f.do(201, admin, "POST", "/v3/roles", `{"type":"space_developer","relationships":{`+to("user", user)+`,`+to("space", space)+`}}`)
	token = f.login(name, "pw")
	app = guid(f.do(201, token, "POST", "/v3/apps", `{"name":"app","relationships":{`+to("space", space)+`}}`))
	return token, org, space, app
}

// domain is the one that routes of an organization are in by default.
func (f *foundation) domain(token, org string) string {
	f.t.Helper()
	return guid(f.do(200, token, "GET", "/v3/organizations/"+org+"/domains/default", ""))
}

func (f *foundation) route(token, host, space, domain string) string {
	f.t.Helper()
	return guid(f.do(201, token, "POST", "/v3/routes", `{"host":"`+host+`","relationships":{`+to("space", space)+`,`+to("domain", domain)+`}}`))
}

func TestTenantsDoNotSeeEachOther(t *testing.T) {
	f := newFoundation(t)
	admin := f.login("admin", "pw")
	a, orgA, spaceA, appA := f.tenant(admin, "ann")
	b, _, spaceB, _ := f.tenant(admin, "bob")
	process := f.do(200, a, "GET", "/v3/apps/"+appA+"/processes/web", "")
	pack := guid(f.do(201, a, "POST", "/v3/packages", `{"type":"bits","relationships":{`+to("app", appA)+`}}`))
	domain := f.domain(a, orgA)
	route := f.route(a, "h", spaceA, domain)
	for _, c := range []string{
		"GET /v3/apps/" + appA, "PATCH /v3/apps/" + appA, "DELETE /v3/apps/" + appA, "GET /v3/apps/" + appA + "/env", "GET /v3/apps/" + appA + "/routes",
		"POST /v3/apps/" + appA + "/actions/stop", "PATCH /v3/apps/" + appA + "/environment_variables", "GET /v3/apps/" + appA + "/droplets/current",
		"GET /v3/processes/" + guid(process), "POST /v3/processes/" + guid(process) + "/actions/scale", "GET /v3/processes/" + guid(process) + "/stats",
		"GET /v3/packages/" + pack, "POST /v3/packages/" + pack + "/upload", "GET /v3/routes/" + route, "DELETE /v3/routes/" + route, "POST /v3/routes/" + route + "/destinations",
		"GET /v3/organizations/" + orgA, "PATCH /v3/organizations/" + orgA, "DELETE /v3/organizations/" + orgA, "GET /v3/spaces/" + spaceA, "DELETE /v3/spaces/" + spaceA,
		"POST /v3/spaces/" + spaceA + "/actions/apply_manifest", "POST /v3/spaces/" + spaceA + "/manifest_diff",
	} {
		method, path, _ := strings.Cut(c, " ")
		f.do(404, b, method, path, `{}`)
	}
	for _, noun := range []string{"apps", "processes", "packages", "routes", "spaces", "organizations"} {
		list := f.do(200, b, "GET", "/v3/"+noun, "")
		text, err := json.Marshal(list)
		if err != nil || strings.Contains(string(text), spaceA) || strings.Contains(string(text), orgA) {
			t.Errorf("%s shows another tenant: %s", noun, text)
		}
	}
	f.do(422, b, "POST", "/v3/routes", `{"host":"h","relationships":{`+to("space", spaceB)+`,`+to("domain", domain)+`}}`)
	f.do(403, b, "POST", "/v3/organizations", `{"name":"mine"}`)
	f.do(403, b, "PATCH", "/v3/feature_flags/diego_docker", `{"enabled":true}`)
	f.do(403, b, "DELETE", "/v3/spaces/"+spaceB, "")
}

func TestBadInput(t *testing.T) {
	f := newFoundation(t)
	admin := f.login("admin", "pw")
	token, org, space, app := f.tenant(admin, "ann")
	apply := "/v3/spaces/" + space + "/actions/apply_manifest"
	for _, c := range []struct {
		say    string
		want   int
		method string
		path   string
		body   string
	}{
		{"unknown filter", 400, "GET", "/v3/apps?colour=red", ""},
		{"unknown order", 400, "GET", "/v3/apps?order_by=doc", ""},
		{"bad selector", 400, "GET", "/v3/apps?label_selector=a%3D%28", ""},
		{"page zero", 400, "GET", "/v3/apps?page=0", ""},
		{"page too large", 400, "GET", "/v3/apps?per_page=5001", ""},
		{"unknown include", 400, "GET", "/v3/apps?include=secrets", ""},
		{"unknown path", 404, "GET", "/v3/teapots", ""},
		{"broken json", 400, "PATCH", "/v3/apps/" + app, `{"name":`},
		{"wrong type", 422, "PATCH", "/v3/apps/" + app, `{"name":7}`},
		{"two values", 400, "PATCH", "/v3/apps/" + app, `{}{}`},
		{"blank name", 422, "PATCH", "/v3/apps/" + app, `{"name":" "}`},
		{"reserved variable", 422, "PATCH", "/v3/apps/" + app + "/environment_variables", `{"var":{"VCAP_X":"1"}}`},
		{"negative instances", 422, "POST", "/v3/apps/" + app + "/processes/web/actions/scale", `{"instances":-1}`},
		{"start without droplet", 422, "POST", "/v3/apps/" + app + "/actions/start", ""},
		{"docker", 422, "POST", "/v3/packages", `{"type":"docker","relationships":{` + to("app", app) + `}}`},
		{"manifest with unknown key", 400, "POST", apply, "applications:\n- name: x\n  memmory: 1G\n"},
		{"memory without unit", 422, "POST", apply, "applications:\n- name: x\n  memory: 64\n"},
		{"host name that is not legal", 422, "POST", apply, "applications:\n- name: x\n  routes:\n  - route: a b.apps.test\n"},
		{"unknown domain", 422, "POST", apply, "applications:\n- name: x\n  routes:\n  - route: a.nowhere.test\n"},
		{"yaml bomb", 400, "POST", apply, "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n"},
		{"space in another's organization", 404, "POST", "/v3/spaces", `{"name":"x","relationships":{` + to("organization", "none") + `}}`},
		{"quota by a developer", 403, "POST", "/v3/organization_quotas", `{"name":"q"}`},
	} {
		w := f.send(c.method, c.path, token, "application/json", []byte(c.body))
		if c.say == "space in another's organization" && w.Code == 422 {
			continue // either says that there is no such organization
		}
		if w.Code != c.want || !strings.Contains(w.Body.String(), `"errors":[{"code":`) {
			t.Errorf("%s: %d %s, want %d", c.say, w.Code, w.Body, c.want)
		}
	}
	if n := f.do(200, token, "GET", "/v3/apps", "")["pagination"].(map[string]any)["total_results"]; n != 1.0 {
		t.Errorf("%v apps: a refused manifest left something behind", n)
	}
	f.do(401, "x.y.z", "GET", "/v3/apps", "")
	f.do(401, "", "GET", "/v3/apps", "")
	f.do(200, admin, "GET", "/v3/organizations/"+org+"/", "")
}

func TestQuotaHolds(t *testing.T) {
	f := newFoundation(t)
	admin := f.login("admin", "pw")
	token, org, space, _ := f.tenant(admin, "ann")
	quota := guid(f.do(201, admin, "POST", "/v3/organization_quotas", `{"name":"q","routes":{"total_routes":1}}`))
	f.do(200, admin, "POST", "/v3/organization_quotas/"+quota+"/relationships/organizations", `{"data":[{"guid":"`+org+`"}]}`)
	domain := f.domain(token, org)
	route := func(host string) string {
		return `{"host":"` + host + `","relationships":{` + to("space", space) + `,` + to("domain", domain) + `}}`
	}
	f.do(201, token, "POST", "/v3/routes", route("a"))
	f.do(422, token, "POST", "/v3/routes", route("b"))
	f.do(422, admin, "DELETE", "/v3/organization_quotas/"+quota, "")
}

func bits(t testing.TB, name string) (string, []byte) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("bits", "package.zip")
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(part)
	w, err := z.Create(name)
	if err == nil {
		_, err = io.WriteString(w, "package main")
	}
	if err != nil || z.Close() != nil || form.Close() != nil {
		t.Fatal("cannot make a zip")
	}
	return form.FormDataContentType(), body.Bytes()
}

// TestGolden keeps the answers that the cf CLI reads, each under its call.
func TestGolden(t *testing.T) {
	f := newFoundation(t)
	token, _, space, app := f.tenant(f.login("admin", "pw"), "ann")
	var out bytes.Buffer
	for _, c := range []struct{ cf, method, path, body string }{
		{"cf api http://api.test", "GET", "/", ""},
		{"cf push app --no-start", "POST", "/v3/spaces/" + space + "/actions/apply_manifest", "applications:\n- name: app\n  memory: 64M\n  default-route: true\n"},
		{"cf push app --no-start", "GET", "/v3/apps?names=app&space_guids=" + space, ""},
		{"cf app app", "GET", "/v3/apps/" + app + "/processes", ""},
		{"cf app app", "GET", "/v3/apps/" + app + "/routes", ""},
		{"cf app app", "GET", "/v3/apps/" + app + "/droplets/current", ""},
		{"cf create-app app", "POST", "/v3/apps", `{"name":"app","relationships":{` + to("space", space) + `}}`},
		{"cf start app", "POST", "/v3/apps/" + app + "/actions/start", ""},
	} {
		w := f.send(c.method, c.path, token, "application/json", []byte(c.body))
		var text bytes.Buffer
		if json.Indent(&text, w.Body.Bytes(), "", "  ") != nil {
			text = *w.Body
		}
		fmt.Fprintf(&out, "$ %s\n%s %s\n%d\n%s\n", c.cf, c.method, c.path, w.Code, text.Bytes())
	}
	got := steady(out.String())
	file := filepath.Join("testdata", "cf.golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("answers differ from %s (%v); look at what changed, then run with -update:\n%s", file, err, got)
	}
}

var (
	guidForm = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	timeForm = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
)

func steady(s string) string {
	return timeForm.ReplaceAllString(guidForm.ReplaceAllString(s, "GUID"), "TIME")
}

// FuzzManifest: what passes has apps with names, and no size without a unit.
func FuzzManifest(f *testing.F) {
	f.Add([]byte("applications:\n- name: a\n  memory: 64M\n  processes:\n  - type: worker\n"))
	f.Add([]byte("applications:\n- name: a\n  env: {A: 1, B: null}\n  metadata: {labels: {a: b}}\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseManifest(text)
		if (m == nil) == (err == nil) {
			t.Fatalf("manifest %v and error %v", m, err)
		}
		if err == nil && (len(m.Applications) == 0 || m.Applications[0].Name == "") {
			t.Fatalf("passed without a name: %q", text)
		}
	})
}

// FuzzSelector: every requirement that passes has a legal key.
func FuzzSelector(f *testing.F) {
	for _, s := range []string{"a=b", "a!=b,!c", "k in (a,b),x.io/y", "k notin (a)", "", "(", "=,="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		conds, err := ParseSelector(text)
		if err == nil && len(conds) == 0 {
			t.Fatalf("%q was ignored", text)
		}
		for _, c := range conds {
			if err == nil && !goodKey(c.Key) {
				t.Fatalf("%q passed with key %q", text, c.Key)
			}
		}
	})
}

// TestBrokenInvariant: what must not happen is an answer too, and the next
// request is served.
func TestBrokenInvariant(t *testing.T) {
	f := newFoundation(t)
	w := httptest.NewRecorder()
	f.api.survive(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("no invariant") })).ServeHTTP(w, httptest.NewRequest("GET", "/v3/apps", nil))
	if w.Code != 500 || !strings.Contains(w.Body.String(), "UnknownError") || strings.Contains(w.Body.String(), "invariant") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	f.do(401, "", "GET", "/v3/apps", "")
}

// TestWhoHasGoneIsNoError: a request that its client gave up is nothing for the
// operator to read about; one that failed is.
func TestWhoHasGoneIsNoError(t *testing.T) {
	var said bytes.Buffer
	f := foundationWith(t, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&said, nil)) })
	here := httptest.NewRequest("GET", "/v3/apps", nil)
	ctx, leave := context.WithCancel(t.Context())
	leave()
	f.api.fail(httptest.NewRecorder(), here.WithContext(ctx), context.Canceled)
	if said.Len() != 0 {
		t.Errorf("of one who has gone: %s", said.String())
	}
	f.api.fail(httptest.NewRecorder(), here, io.ErrUnexpectedEOF)
	if !strings.Contains(said.String(), "request failed") {
		t.Errorf("of a failure: %s", said.String())
	}
}
