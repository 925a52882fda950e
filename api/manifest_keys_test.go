package api

import (
	"fmt"
	"strings"
	"testing"
)

const everyKey = `applications:
- name: all
  path: ../all
  instances: 2
  memory: 64M
  disk-quota: 256M
  log-rate-limit-per-second: 16K
  command: ./app "$PORT"
  buildpacks: [go_buildpack]
  stack: cflinuxfs4
  lifecycle: buildpack
  health-check-type: http
  health-check-http-endpoint: /up
  health-check-invocation-timeout: 2
  health-check-interval: 5
  readiness-health-check-type: http
  readiness-health-check-http-endpoint: /ready
  readiness-health-check-invocation-timeout: 3
  readiness-health-check-interval: 7
  timeout: 90
  routes:
  - route: one.apps.test/path
    protocol: http2
    options: {loadbalancing: least-connection}
  - route: two.apps.test
  services:
  - plain
  - name: named
    binding_name: as-this
  env: {TEXT: x, NUMBER: 7, TRUTH: true}
  features: {ssh: true, revisions: false}
  metadata:
    labels: {tier: web}
    annotations: {contact: "a b"}
  processes:
  - type: worker
    instances: 3
    memory: 32M
    disk_quota: 128M
    command: ./work
    health-check-type: process
`

// TestEveryManifestKey: each key has its effect, what is exported makes the same
// app elsewhere, and what is not named stays.
func TestEveryManifestKey(t *testing.T) {
	f := newFoundation(t)
	admin := f.login("admin", "pw")
	token, _, space, _ := f.tenant(admin, "ann")
	for _, name := range []string{"plain", "named"} {
		f.do(201, token, "POST", "/v3/service_instances", `{"type":"user-provided","name":"`+name+`","relationships":{`+to("space", space)+`}}`)
	}
	apply := "/v3/spaces/" + space + "/actions/apply_manifest"
	f.do(202, token, "POST", apply, everyKey)
	app := at(f.do(200, token, "GET", "/v3/apps?names=all", ""), "resources.0.guid").(string)
	get := func(path string) map[string]any { return f.do(200, token, "GET", "/v3/apps/"+app+path, "") }
	check := func() {
		t.Helper()
		for path, want := range map[string]map[string]any{
			"": {"lifecycle.data.buildpacks.0": "go_buildpack", "lifecycle.data.stack": "cflinuxfs4", "lifecycle.type": "buildpack", "metadata.labels.tier": "web", "metadata.annotations.contact": "a b"},
			"/processes/web": {"instances": 2.0, "memory_in_mb": 64.0, "disk_in_mb": 256.0, "log_rate_limit_in_bytes_per_second": 16384.0, "command": `./app "$PORT"`,
				"health_check.type": "http", "health_check.data.endpoint": "/up", "health_check.data.invocation_timeout": 2.0, "health_check.data.interval": 5.0, "health_check.data.timeout": 90.0,
				"readiness_health_check.type": "http", "readiness_health_check.data.endpoint": "/ready", "readiness_health_check.data.invocation_timeout": 3.0, "readiness_health_check.data.interval": 7.0},
			"/processes/worker":           {"instances": 3.0, "memory_in_mb": 32.0, "disk_in_mb": 128.0, "command": "./work", "health_check.type": "process"},
			"/environment_variables":      {"var.TEXT": "x", "var.NUMBER": "7", "var.TRUTH": "true"},
			"/features/revisions":         {"enabled": false},
			"/features/ssh":               {"enabled": true},
			"/routes?hosts=one":           {"resources.0.path": "/path", "resources.0.options.loadbalancing": "least-connection", "resources.0.destinations.0.protocol": "http2"},
			"/routes?order_by=created_at": {"pagination.total_results": 2.0},
		} {
			got := get(path)
			for key, value := range want {
				f.want(got, key, value)
			}
		}
		bindings := f.do(200, token, "GET", "/v3/service_credential_bindings?app_guids="+app+"&order_by=name", "")
		f.want(bindings, "pagination.total_results", 2.0)
		if text := fmt.Sprint(bindings); !strings.Contains(text, "as-this") {
			t.Errorf("the binding has not its name: %s", text)
		}
	}
	check()
	f.do(202, token, "POST", apply, "applications: [{name: all}]")
	check() // nothing is named, so nothing changes
	exported := f.send("GET", "/v3/apps/"+app+"/manifest", token, "", nil).Body.String()
	f.do(202, token, "DELETE", "/v3/apps/"+app, "")
	f.do(202, token, "POST", apply, exported)
	app = at(f.do(200, token, "GET", "/v3/apps?names=all", ""), "resources.0.guid").(string)
	check()
	if again := f.send("GET", "/v3/apps/"+app+"/manifest", token, "", nil).Body.String(); again != exported {
		t.Errorf("exported\n%s\nand again\n%s", exported, again)
	}
}

// TestRoutesOfAManifest: which routes an app gets when its manifest says none,
// any, the default one or that it wants none.
func TestRoutesOfAManifest(t *testing.T) {
	f := newFoundation(t)
	token, _, space, _ := f.tenant(f.login("admin", "pw"), "ann")
	routes := func(keys string) []string {
		t.Helper()
		f.do(202, token, "POST", "/v3/spaces/"+space+"/actions/apply_manifest", "applications: [{name: My_App, "+keys+"}]")
		app := at(f.do(200, token, "GET", "/v3/apps?names=My_App", ""), "resources.0.guid").(string)
		var out []string
		for _, r := range f.do(200, token, "GET", "/v3/apps/"+app+"/routes", "")["resources"].([]any) {
			out = append(out, at(r, "url").(string))
		}
		return out
	}
	if got := routes("instances: 1"); len(got) != 0 {
		t.Errorf("without a word: %v", got)
	}
	if got := routes("default-route: true"); len(got) != 1 || got[0] != "my-app.apps.test" {
		t.Errorf("the default: %v", got)
	}
	if got := routes("random-route: true"); len(got) != 1 || got[0] != "my-app.apps.test" {
		t.Errorf("a random one beside one that it has: %v", got)
	}
	if got := routes("no-route: true"); len(got) != 0 {
		t.Errorf("none: %v", got)
	}
	first := routes("random-route: true")
	if len(first) != 1 || !strings.HasPrefix(first[0], "my-app-") || !strings.HasSuffix(first[0], ".apps.test") {
		t.Errorf("a random one: %v", first)
	}
	if got := routes("random-route: true"); fmt.Sprint(got) != fmt.Sprint(first) {
		t.Errorf("another random one: %v, it had %v", got, first)
	}
	if got := routes("routes: [{route: other.apps.test}]"); len(got) != 2 {
		t.Errorf("one more: %v", got)
	}
}
