package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/dewpaas/dew/cf"
)

// amnesia is a ledger that forgets every update while it is on, so that the same
// request can be made by everybody.
type amnesia struct {
	cf.Store
	on     bool
	events int // that were recorded and forgotten
}

// counting counts the audit events of a transaction.
type counting struct {
	cf.Tx
	events *int
}

func (c counting) Insert(r cf.Record) error {
	if r.Noun() == new(cf.AuditEvent).Noun() {
		*c.events++
	}
	return c.Tx.Insert(r)
}

var errForget = errors.New("forget")

func (a *amnesia) Update(ctx context.Context, f func(cf.Tx) error) error {
	if !a.on {
		return a.Store.Update(ctx, f)
	}
	err := a.Store.Update(ctx, func(tx cf.Tx) error {
		if err := f(counting{tx, &a.events}); err != nil {
			return err
		}
		return errForget
	})
	if errors.Is(err, errForget) {
		return nil
	}
	return err
}

// idleCells take everything and do nothing.
type idleCells struct{}

func (idleCells) Changed(context.Context, string) error                     { return nil }
func (idleCells) Instances(context.Context, string) ([]cf.ActualLRP, error) { return nil, nil }
func (idleCells) Stop(context.Context, string, int) error                   { return nil }
func (idleCells) Stage(context.Context, string) error                       { return nil }

// everyRole are the columns of the table, in CF's order of might.
var everyRole = []string{"admin", "org_manager", "org_auditor", "org_billing_manager", "org_user", "space_manager", "space_developer", "space_supporter", "space_auditor", "other_tenant", "nobody"}

// world is one of everything, and a token for each role.
type world struct {
	*foundation
	tokens map[string]string
	guids  map[string]string // of the noun in a path
	space  string
	annex  string // another space of the tenant, where only the developer has a role
	org    string
	suffix string // of the names of what it is filled with
	second *world // another tenant's, which is empty until somebody fills it
}

func newWorld(t *testing.T) (*world, *amnesia) {
	forget := new(amnesia)
	f := foundationWith(t, func(c *Config) {
		forget.Store = c.Store
		c.Store = forget
		c.Stager, c.Runtime, c.Droplets = idleCells{}, idleCells{}, noDroplets{}
	})
	admin := f.login("admin", "pw")
	w := &world{foundation: f, tokens: map[string]string{"admin": admin}, guids: map[string]string{}}
	developer, org, space, app := f.tenant(admin, "dev")
	other, otherOrg, otherSpace, otherApp := f.tenant(admin, "other")
	w.org, w.space = org, space
	w.second = &world{foundation: f, tokens: w.tokens, guids: map[string]string{"apps": otherApp}, space: otherSpace, org: otherOrg, suffix: "2"}
	w.tokens["space_developer"], w.tokens["other_tenant"] = developer, other
	for _, role := range everyRole[1:9] {
		if role == "space_developer" {
			continue
		}
		user := f.do(201, admin, "POST", "/Users", `{"userName":"`+role+`","password":"pw"}`)["id"].(string)
		f.do(201, admin, "POST", "/v3/users", `{"guid":"`+user+`"}`)
		kind := strings.Replace(role, "org_", "organization_", 1)
		if kind != cf.OrgUser {
			f.do(201, admin, "POST", "/v3/roles", `{"type":"organization_user","relationships":{`+to("user", user)+`,`+to("organization", org)+`}}`)
		}
		where := to("organization", org)
		if strings.HasPrefix(kind, "space") {
			where = to("space", space)
		}
		r := f.do(201, admin, "POST", "/v3/roles", `{"type":"`+kind+`","relationships":{`+to("user", user)+`,`+where+`}}`)
		if role == "space_auditor" {
			w.guids["roles"], w.guids["users"] = guid(r), user
		}
		w.tokens[role] = f.login(role, "pw")
	}
	w.annex = guid(f.do(201, admin, "POST", "/v3/spaces", `{"name":"annex","relationships":{`+to("organization", org)+`}}`))
	f.grant(admin, "dev", "space_developer", org, w.annex)
	for _, flag := range []string{"route_sharing", "service_instance_sharing"} {
		f.do(200, admin, "PATCH", "/v3/feature_flags/"+flag, `{"enabled":true}`)
	}
	w.fill(app)
	return w, forget
}

// fill makes one of every noun in the tenant's space.
func (w *world) fill(app string) {
	admin := w.tokens["admin"]
	g := w.guids
	g["apps"], g["spaces"], g["organizations"] = app, w.space, w.org
	post := func(noun, body string) { g[noun] = guid(w.do(201, admin, "POST", "/v3/"+noun, body)) }
	pack := w.do(201, admin, "POST", "/v3/packages", `{"type":"bits","relationships":{`+to("app", app)+`}}`)
	g["packages"] = guid(pack)
	post("domains", `{"name":"mine`+w.suffix+`.test","relationships":{`+to("organization", w.org)+`}}`)
	post("routes", `{"host":"h`+w.suffix+`","relationships":{`+to("space", w.space)+`,`+to("domain", g["domains"])+`}}`)
	d := w.do(200, admin, "POST", "/v3/routes/"+g["routes"]+"/destinations", `{"destinations":[{"app":{"guid":"`+app+`"}}]}`)
	g["destination"] = at(d, "destinations.0.guid").(string)
	post("security_groups", `{"name":"g`+w.suffix+`","relationships":{"running_spaces":{"data":[{"guid":"`+w.space+`"}]}}}`)
	post("organization_quotas", `{"name":"oq`+w.suffix+`"}`)
	post("space_quotas", `{"name":"sq`+w.suffix+`","relationships":{`+to("organization", w.org)+`,"spaces":{"data":[{"guid":"`+w.space+`"}]}}}`)
	post("service_instances", `{"type":"user-provided","name":"ups`+w.suffix+`","relationships":{`+to("space", w.space)+`}}`)
	post("service_credential_bindings", `{"type":"app","relationships":{`+to("app", app)+`,`+to("service_instance", g["service_instances"])+`}}`)
	w.insert(app)
	g["processes"] = guid(w.do(200, admin, "GET", "/v3/apps/"+app+"/processes/web", ""))
	g["audit_events"] = at(w.do(200, admin, "GET", "/v3/audit_events?target_guids="+app, ""), "resources.0.guid").(string)
	g["stacks"], g["buildpacks"], g["isolation_segments"] = "cflinuxfs4", "go_buildpack", "none"
	g["sidecars"], g["read"] = "none", app
	for _, noun := range []string{"app_usage_events", "service_usage_events"} {
		g[noun] = at0(w.do(200, admin, "GET", "/v3/"+noun, ""))
	}
	done := w.do(202, admin, "DELETE", "/v3/domains/"+guid(w.do(201, admin, "POST", "/v3/domains", `{"name":"gone.test"}`)), "")
	g["jobs"] = filepath.Base(done["Location"].(string))
}

// insert puts into the ledger what others would have made.
func (w *world) insert(app string) {
	g := w.guids
	build := &cf.Build{AppGUID: app, SpaceGUID: w.space, PackageGUID: g["packages"], State: "STAGED"}
	droplet := &cf.Droplet{AppGUID: app, SpaceGUID: w.space, PackageGUID: g["packages"], State: "STAGED", Checksum: strings.Repeat("0", 64), ProcessTypes: map[string]string{"web": "./app"}}
	crash := &cf.Crash{AppGUID: app, Type: "web", Reason: cf.CrashPanic, Console: "panic: x"}
	broker := &cf.ServiceBroker{Name: "sb" + w.suffix, URL: "http://192.0.2.1", Username: "u", Password: "p", SpaceGUID: w.space}
	records := map[string]cf.Record{"builds": build, "droplets": droplet, "crashes": crash, "service_brokers": broker}
	err := w.store.Update(context.Background(), func(tx cf.Tx) error {
		for noun, r := range records {
			if err := tx.Insert(r); err != nil {
				return err
			}
			g[noun] = r.Base().GUID
		}
		offering := &cf.ServiceOffering{BrokerGUID: broker.GUID, Name: "so" + w.suffix, CatalogID: "s" + w.suffix}
		if err := tx.Insert(offering); err != nil {
			return err
		}
		plan := &cf.ServicePlan{OfferingGUID: offering.GUID, Name: "sp" + w.suffix, CatalogID: "p" + w.suffix, Free: true, VisibilityType: cf.SpacePlan}
		if err := tx.Insert(plan); err != nil {
			return err
		}
		g["service_offerings"], g["service_plans"] = offering.GUID, plan.GUID
		a, err := cf.Get[cf.App](tx, app)
		if err != nil {
			return err
		}
		a.DropletGUID = droplet.GUID
		return tx.Save(a)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	admin := w.tokens["admin"]
	w.do(200, admin, "POST", "/v3/apps/"+app+"/actions/start", "")
	g["revisions"] = at(w.do(200, admin, "GET", "/v3/apps/"+app+"/revisions", ""), "resources.0.guid").(string)
	g["tasks"] = guid(w.do(202, admin, "POST", "/v3/apps/"+app+"/tasks", `{"command":"x"}`))
	g["deployments"] = guid(w.deploy(201, admin, app, ""))
	w.do(200, admin, "POST", "/v3/apps/"+app+"/actions/restart", "") // ends the deployment
}

// noDroplets keeps none.
type noDroplets struct{}

func (noDroplets) Import(io.Reader) (string, map[string]string, error) {
	return "", nil, errors.New("none")
}
func (noDroplets) Export(io.Writer, string) error { return errors.New("none") }

// bodies are what makes requests reach the question of who may.
func (w *world) bodies() map[string]string {
	app, space, org := to("app", w.guids["apps"]), to("space", w.space), to("organization", w.org)
	return map[string]string{
		"POST /v3/apps": `{"name":"n","relationships":{` + space + `}}`, "POST /v3/spaces": `{"name":"n","relationships":{` + org + `}}`,
		"POST /v3/organizations": `{"name":"n"}`, "POST /v3/packages": `{"type":"bits","relationships":{` + app + `}}`,
		"POST /v3/builds": `{"package":{"guid":"` + w.guids["packages"] + `"}}`, "POST /v3/droplets": `{"relationships":{` + app + `}}`,
		"POST /v3/deployments": `{"relationships":{` + app + `}}`, "POST /v3/domains": `{"name":"n.test","relationships":{` + org + `}}`,
		"POST /v3/routes":                               `{"host":"n","relationships":{` + space + `,` + to("domain", w.guids["domains"]) + `}}`,
		"POST /v3/space_quotas":                         `{"name":"n","relationships":{` + org + `}}`,
		"POST /v3/service_brokers":                      `{"name":"n","url":"http://h","authentication":{"type":"basic","credentials":{"username":"u","password":"p"}},"relationships":{` + space + `}}`,
		"POST /v3/service_instances":                    `{"type":"user-provided","name":"n","relationships":{` + space + `}}`,
		"POST /v3/service_credential_bindings":          `{"type":"app","relationships":{` + app + `,` + to("service_instance", w.guids["service_instances"]) + `}}`,
		"POST /v3/service_route_bindings":               `{"relationships":{` + to("service_instance", w.guids["service_instances"]) + `}}`,
		"POST /v3/roles":                                `{"type":"space_auditor","relationships":{` + space + `,` + to("user", w.guids["users"]) + `}}`,
		"POST /v3/spaces/{guid}/actions/apply_manifest": "applications: [{name: n}]", "POST /v3/spaces/{guid}/manifest_diff": "applications: [{name: n}]",
		"POST /networking/v1/external/policies":                        policy(w.guids["apps"], w.guids["apps"], `"protocol":"tcp","ports":{"start":1,"end":1}`),
		"POST /networking/v1/external/policies/delete":                 policy(w.guids["apps"], w.guids["apps"], `"protocol":"tcp","ports":{"start":1,"end":1}`),
		"POST /v3/security_groups/{guid}/relationships/running_spaces": `{"data":[{"guid":"` + w.space + `"}]}`,
		"POST /v3/security_groups/{guid}/relationships/staging_spaces": `{"data":[{"guid":"` + w.space + `"}]}`,
		"POST /v3/domains/{guid}/relationships/shared_organizations":   `{"data":[{"guid":"` + w.org + `"}]}`,
		"PATCH /v3/apps/{guid}/relationships/current_droplet":          `{"data":{"guid":"` + w.guids["droplets"] + `"}}`,
		"POST /v3/organization_quotas":                                 `{"name":"n"}`, "POST /v3/users": `{"guid":"n"}`, "POST /v3/security_groups": `{"name":"n"}`,
		"POST /v3/organization_quotas/{guid}/relationships/organizations": `{"data":[{"guid":"` + w.org + `"}]}`,
		"POST /v3/space_quotas/{guid}/relationships/spaces":               `{"data":[{"guid":"` + w.space + `"}]}`,
		"POST /v3/routes/{guid}/destinations":                             `{"destinations":[{"app":{"guid":"` + w.guids["apps"] + `"},"port":9}]}`,
		"POST /v3/routes/{guid}/relationships/shared_spaces":              `{"data":[{"guid":"` + w.annex + `"}]}`,
		"PATCH /v3/routes/{guid}/relationships/space":                     `{"data":{"guid":"` + w.annex + `"}}`,
		"POST /v3/service_instances/{guid}/relationships/shared_spaces":   `{"data":[{"guid":"` + w.annex + `"}]}`,
		"POST /v3/apps/{guid}/tasks":                                      `{"command":"x"}`,
		"PATCH /v3/feature_flags/{name}":                                  `{"enabled":true}`, "PATCH /v3/apps/{guid}/features/{feature}": `{"enabled":true}`,
		"PATCH /v3/environment_variable_groups/{name}":                           `{"var":{"A":"b"}}`,
		"PATCH /v3/organizations/{guid}/relationships/default_isolation_segment": `{"data":null}`,
	}
}

// endpoints are all that the router knows, in order of their paths.
func (s *Server) endpoints() []Endpoint {
	var list []Endpoint
	t := table{s, chi.NewRouter(), func(e Endpoint) { list = append(list, e) }}
	s.logRoutes(t)
	s.networkRoutes(t)
	s.routes(t)
	sort.SliceStable(list, func(i, j int) bool {
		if list[i].Path != list[j].Path {
			return list[i].Path < list[j].Path
		}
		return slices.Index(methods, list[i].Method) < slices.Index(methods, list[j].Method)
	})
	return list
}

var methods = []string{"GET", "POST", "PUT", "PATCH", "DELETE"}

// fillIn replaces what a path leaves open.
func (w *world) fillIn(path string) string {
	noun := strings.Split(strings.TrimPrefix(strings.TrimPrefix(path, "/v3/"), "/api/v1/"), "/")[0]
	return strings.NewReplacer("{guid}", w.guids[noun], "{type}", "web", "{index}", "0", "{feature}", map[bool]string{true: "ssh", false: "revisions"}[noun == "spaces"],
		"{name}", map[bool]string{true: "running", false: "app_scaling"}[noun == "environment_variable_groups"],
		"{org}", w.org, "{space}", w.space, "{destination}", w.guids["destination"]).Replace(path)
}

// outcome is the status, and of lists how many are seen; and whether the role was
// let through to what was wrong with the request, if anything was.
func (w *world) outcome(e Endpoint, role, body string) (text string, may bool) {
	path := w.fillIn(e.Path)
	if strings.HasSuffix(e.Path, "/spaces/{guid}/routes") {
		path += "?unmapped=true"
	}
	kind := "application/json"
	if !strings.HasPrefix(body, "{") {
		kind = "application/x-yaml"
	}
	if e.Method == http.MethodGet {
		body = ""
	}
	got := w.send(e.Method, path, w.tokens[role], kind, []byte(body))
	text = fmt.Sprint(got.Code)
	var answer map[string]any
	if json.Unmarshal(got.Body.Bytes(), &answer) == nil {
		if n, ok := at(answer, "pagination.total_results").(float64); ok {
			text += fmt.Sprintf("/%d", int(n))
		}
	}
	detail, _ := at(answer, "errors.0.detail").(string)
	hidden := strings.Contains(detail, "access to it") || strings.Contains(detail, "could not be found")
	return text, !hidden && !slices.Contains([]int{401, 403, 404}, got.Code)
}

// TestRoles keeps, for every endpoint and every role, what happens: whoever
// changes a right sees it in this table.
func TestRoles(t *testing.T) {
	w, forget := newWorld(t)
	forget.on = true
	bodies := w.bodies()
	var out bytes.Buffer
	fmt.Fprintf(&out, "%-6s %-84s", "", "")
	for _, role := range everyRole {
		fmt.Fprintf(&out, " %-7.7s", short(role))
	}
	out.WriteString("\n")
	mays := map[string][]string{}
	for _, e := range w.api.endpoints() {
		body := bodies[e.Method+" "+e.Path]
		if body == "" {
			body = "{}"
		}
		fmt.Fprintf(&out, "%-6s %-84s", e.Method, e.Path)
		for _, role := range everyRole {
			text, may := w.outcome(e, role, body)
			fmt.Fprintf(&out, " %-7s", text)
			if strings.HasPrefix(text, "5") && !strings.HasPrefix(text, "503") {
				t.Errorf("%s %s by %s: %s", e.Method, e.Path, role, text)
			}
			if may {
				mays[e.Method+" "+e.Path] = append(mays[e.Method+" "+e.Path], role)
			}
		}
		out.WriteString("\n")
	}
	lines := strings.Split(out.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	golden(t, filepath.Join("testdata", "roles.golden"), strings.Join(lines, "\n"))
	golden(t, filepath.Join("..", "docs", "api.md"), w.api.document(mays))
}

func short(role string) string {
	return strings.NewReplacer("org_", "o.", "space_", "s.", "billing_manager", "bill", "manager", "man", "developer", "dev", "supporter", "supp", "auditor", "aud", "other_tenant", "other").Replace(role)
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	a, b := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for i := range max(len(a), len(b)) {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			t.Errorf("%s:%d\nis  %s\nnow %s", file, i+1, x, y)
		}
	}
	t.Errorf("look at what changed, then run with -update")
}

// document is docs/api.md: the route table, and who may.
func (s *Server) document(mays map[string][]string) string {
	var b strings.Builder
	b.WriteString(`# The API, endpoint by endpoint

Generated from the route table and from what the tests saw each role get: ` + "`go test ./api -run TestRoles -update`" + `.
Everything else below /v3 is answered with 404 "Unknown request". A query parameter that is not listed is answered with 400.

Roles: **M** organization manager, **A** organization auditor, **B** billing manager, **U** organization user, **m** space manager,
**d** space developer, **s** space supporter, **a** space auditor, **o** somebody of another tenant, **-** without a token.
Parameters of all lists: guids, label_selector, order_by, page, per_page, and created_ats and updated_ats, alone or with [gt], [gte], [lt], [lte].
Only admins may where nobody is named. Who may see nothing of a thing is told that it is absent. Lists are open to everybody and show what he may see.

| | path | may | query parameters |
|---|---|---|---|
`)
	letters := map[string]string{"org_manager": "M", "org_auditor": "A", "org_billing_manager": "B", "org_user": "U", "space_manager": "m", "space_developer": "d", "space_supporter": "s", "space_auditor": "a", "other_tenant": "o", "nobody": "-"}
	for _, e := range s.endpoints() {
		who := ""
		for _, role := range mays[e.Method+" "+e.Path] {
			who += letters[role]
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", e.Method, e.Path, who, strings.ReplaceAll(strings.Join(plainParams(e.Params), " "), "|", "\\|"))
	}
	return b.String()
}

// plainParams leaves out what every list understands.
func plainParams(params []string) []string {
	var out []string
	all := slices.Contains(params, "page") || slices.Contains(params, "label_selector")
	for _, p := range params {
		switch {
		case all && p == "guids" || p == "page" || p == "per_page" || p == "order_by" || p == "label_selector" || strings.HasPrefix(p, "created_at") || strings.HasPrefix(p, "updated_at"):
		default:
			out = append(out, "`"+p+"`")
		}
	}
	slices.Sort(out)
	if all {
		out = append(out, "and those of lists")
	}
	return out
}

// TestEveryChangeIsRecorded: whoever changes something leaves an audit event.
func TestEveryChangeIsRecorded(t *testing.T) {
	w, forget := newWorld(t)
	forget.on = true
	bodies := w.bodies()
	changes := 0
	for _, e := range w.api.endpoints() {
		switch e.Method + " " + e.Path {
		case "POST /v3/resource_matches", "POST /v3/spaces/{guid}/manifest_diff", "POST /v3/apps/{guid}/actions/clear_buildpack_cache", "POST /v3/admin/actions/clear_buildpack_cache",
			"PATCH /v3/spaces/{guid}/features/{feature}", "PATCH /v3/spaces/{guid}/relationships/isolation_segment",
			"PATCH /v3/organizations/{guid}/relationships/default_isolation_segment":
			continue // nothing changes
		case "POST /v3/security_groups/{guid}/relationships/running_spaces", "DELETE /v3/spaces/{guid}/routes", "PATCH /v3/routes/{guid}/destinations":
			continue // not with this body: it is bound already, mapped, and stays as it was
		}
		if e.Method == http.MethodGet {
			continue
		}
		body := bodies[e.Method+" "+e.Path]
		if body == "" {
			body = "{}"
		}
		forget.events = 0
		text, _ := w.outcome(e, "admin", body)
		switch {
		case text[0] != '2':
			t.Logf("%s %s: %s, so it is not looked at", e.Method, e.Path, text)
		case forget.events == 0:
			t.Errorf("%s %s: %s and no audit event", e.Method, e.Path, text)
		default:
			changes++
		}
	}
	if changes < 60 {
		t.Errorf("only %d changes were looked at", changes)
	}
}
