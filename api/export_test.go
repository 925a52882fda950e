package api

import "testing"

// TestExportAppliesAgain: what is exported says the same when it is applied.
func TestExportAppliesAgain(t *testing.T) {
	f := newFoundation(t)
	token, _, space, app := f.tenant(f.login("admin", "pw"), "ann")
	apply := "/v3/spaces/" + space + "/actions/apply_manifest"
	f.do(202, token, "POST", apply, `applications:
- name: app
  memory: 64M
  instances: 0
  command: ./app $PORT
  env: {A: "1", B: two}
  health-check-type: http
  health-check-http-endpoint: /up
  log-rate-limit-per-second: 16K
  metadata: {labels: {tier: x}}
  routes:
  - route: a.apps.test/path
    protocol: http2
    options: {loadbalancing: least-connection}
  processes:
  - type: worker
    instances: 3
    disk-quota: 1G
`)
	first := f.send("GET", "/v3/apps/"+app+"/manifest", token, "", nil).Body.String()
	f.do(202, token, "POST", apply, first)
	again := f.send("GET", "/v3/apps/"+app+"/manifest", token, "", nil).Body.String()
	f.do(202, token, "POST", apply, "applications:\n- name: app\n  command: null\n")
	if c := f.do(200, token, "GET", "/v3/apps/"+app+"/processes/web", "")["command"]; c != nil {
		t.Errorf("command: null left %v", c)
	}
	f.do(422, token, "POST", apply, "applications:\n- name: app\n  command: [a, b]\n")
	if first != again || len(first) < 300 {
		t.Errorf("first:\n%s\nagain:\n%s", first, again)
	}
}
