package api

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestQuotasLimitWhatIsAskedFor: too much memory is no reason to refuse a route,
// and who is over a quota may become smaller. Spaces survive their quota.
func TestQuotasLimitWhatIsAskedFor(t *testing.T) {
	f := newRunning(t)
	admin := f.login("admin", "pw")
	token, org, space, app := f.tenant(admin, "ann")
	apply := "/v3/spaces/" + space + "/actions/apply_manifest"
	f.do(202, token, "POST", apply, "applications: [{name: app, instances: 4, memory: 64M}]")
	f.pushed(token, app)
	quota := guid(f.do(201, admin, "POST", "/v3/space_quotas", `{"name":"q","apps":{"total_memory_in_mb":0},"routes":{"total_routes":1},"relationships":{`+to("organization", org)+`,"spaces":{"data":[{"guid":"`+space+`"}]}}}`))
	domain := f.domain(token, org)
	route := func(host string) string {
		return `{"host":"` + host + `","relationships":{` + to("space", space) + `,` + to("domain", domain) + `}}`
	}
	f.do(201, token, "POST", "/v3/routes", route("one"))
	refused := func(path, body, want string) {
		t.Helper()
		got, err := json.Marshal(f.do(422, token, "POST", path, body)["errors"])
		if err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s %s: %s, want %q", path, body, got, want)
		}
	}
	refused("/v3/routes", route("two"), "Routes quota exceeded for space 'dev'.")
	scale := "/v3/apps/" + app + "/processes/web/actions/scale"
	f.do(202, token, "POST", scale, `{"instances":3}`)
	refused(scale, `{"instances":4}`, "In space 'dev' 256 MB of memory would be used, 0 may be: ask for less, stop something, or have the quota raised. memory space_quota_exceeded")
	f.do(202, token, "POST", apply, "applications: [{name: app, instances: 2, env: {A: b}}]")
	refused(apply, "applications: [{name: app, memory: 65M}]", "memory space_quota_exceeded")
	f.do(202, admin, "DELETE", "/v3/space_quotas/"+quota, "")
	f.do(202, token, "POST", scale, `{"instances":4}`)
	f.do(200, token, "GET", "/v3/spaces/"+space, "")
}
