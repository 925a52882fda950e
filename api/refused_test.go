package api

import (
	"strings"
	"testing"
)

// TestRefusalsNameTheRemedy: what a push is refused for, and what to do about it,
// is in the words that the CLI prints.
func TestRefusalsNameTheRemedy(t *testing.T) {
	f := foundationWith(t, func(c *Config) { c.Upload = 1 << 20 })
	admin := f.login("admin", "pw")
	token, org, space, app := f.tenant(admin, "ann")
	apply := "/v3/spaces/" + space + "/actions/apply_manifest"
	second := guid(f.do(201, admin, "POST", "/v3/spaces", `{"name":"second","relationships":{`+to("organization", org)+`}}`))
	f.do(202, admin, "POST", "/v3/spaces/"+second+"/actions/apply_manifest", "applications: [{name: other, routes: [{route: taken.apps.test}]}]")
	taken := at(f.do(200, admin, "GET", "/v3/routes?hosts=taken", ""), "resources.0.guid").(string)
	for _, c := range []struct{ say, method, path, body, problem, remedy string }{
		{"an unknown key", "POST", apply, "applications: [{name: x, memmory: 1G}]", "field memmory not found", "correct its spelling or take it out"},
		{"a route of another space", "POST", apply, "applications: [{name: x, routes: [{route: taken.apps.test}]}]", "Route already exists for 'taken.apps.test'", "push with --random-route"},
		{"an app of another space", "POST", "/v3/routes/" + taken + "/destinations", `{"destinations":[{"app":{"guid":"` + app + `"}}]}`, "either the route's space or the route's shared spaces", "Map another route"},
		{"an image", "POST", apply, "applications: [{name: x, docker: {image: y}}]", "Docker support is disabled", "Push the folder"},
		{"a domain that is none", "POST", apply, "applications: [{name: x, routes: [{route: a.nowhere.test}]}]", "its domain does not exist", "cf domains"},
		{"a size without unit", "POST", apply, "applications: [{name: x, memory: 64}]", "Memory must", "use a supported unit: B, K"},
		{"a host that is not legal", "POST", apply, "applications: [{name: x, routes: [{route: a b.apps.test}]}]", "Host must", "contain only alphanumeric"},
		{"a start without droplet", "POST", "/v3/apps/" + app + "/actions/start", "", "Assign a droplet", "before starting"},
	} {
		w := f.send(c.method, c.path, admin, "application/json", []byte(c.body))
		if w.Code/100 != 4 || !strings.Contains(w.Body.String(), c.problem) || !strings.Contains(w.Body.String(), c.remedy) {
			t.Errorf("%s: %d %s, want %q and %q", c.say, w.Code, w.Body, c.problem, c.remedy)
		}
	}
	kind, body := form(t, "", make([]byte, 3<<20))
	w := f.send("POST", "/v3/packages/"+f.pack(token, app)+"/upload", token, kind, body)
	if w.Code != 413 || !strings.Contains(w.Body.String(), "larger than 1048576 bytes") || !strings.Contains(w.Body.String(), ".cfignore") {
		t.Errorf("too large an upload: %d %s", w.Code, w.Body)
	}
}
