package api

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/dewpaas/dew/cf"
)

func policy(source, destination, more string) string {
	return `{"policies":[{"source":{"id":"` + source + `"},"destination":{"id":"` + destination + `",` + more + `}}]}`
}

func TestNetworkPolicies(t *testing.T) {
	f := newRunning(t)
	admin := f.login("admin", "pw")
	ann, _, space, a := f.tenant(admin, "ann")
	bob, _, _, b := f.tenant(admin, "bob")
	second := guid(f.do(201, ann, "POST", "/v3/apps", `{"name":"second","relationships":{`+to("space", space)+`}}`))
	const path = "/networking/v1/external/policies"
	const web = `"protocol":"tcp","ports":{"start":8080,"end":8080}`
	for range 2 { // twice is no error
		f.do(200, ann, "POST", path, policy(a, second, web))
	}
	got := f.do(200, ann, "GET", path+"?id="+a, "")
	f.want(got, "total_policies", 1.0)
	f.want(got, "policies.0.destination.ports.end", 8080.0)
	if got := f.do(200, bob, "GET", path, ""); got["total_policies"] != 0.0 {
		t.Errorf("another tenant sees %v", got)
	}
	for what, body := range map[string]string{
		"another tenant's source": policy(b, a, web), "another tenant's destination": policy(a, b, web), "no such app": policy(a, "none", web),
	} {
		if got := f.do(403, ann, "POST", path, body); got["error"] == "" {
			t.Errorf("%s: %v", what, got)
		}
	}
	for _, more := range []string{`"protocol":"icmp","ports":{"start":1,"end":1}`, `"protocol":"tcp"`, `"protocol":"tcp","ports":{"start":9,"end":8}`, `"protocol":"udp","ports":{"start":1,"end":70000}`} {
		f.do(400, ann, "POST", path, policy(a, second, more))
	}
	f.do(400, ann, "POST", path, `{`)
	f.do(400, ann, "GET", path+"?colour=red", "")
	f.do(200, admin, "POST", path, policy(a, b, web))
	f.do(200, ann, "POST", path+"/delete", policy(a, second, web))
	f.do(200, ann, "POST", path+"/delete", policy(a, second, web))
	if got := f.do(200, admin, "GET", path, ""); got["total_policies"] != 1.0 {
		t.Errorf("left: %v", got)
	}
	f.do(202, bob, "DELETE", "/v3/apps/"+b, "")
	if got := f.do(200, admin, "GET", path, ""); got["total_policies"] != 0.0 {
		t.Errorf("a policy outlived its app: %v", got)
	}
}

func TestSecurityGroups(t *testing.T) {
	f := newRunning(t)
	admin := f.login("admin", "pw")
	ann, _, space, _ := f.tenant(admin, "ann")
	_, _, other, _ := f.tenant(admin, "bob")
	const path = "/v3/security_groups"
	rules := `"rules":[{"protocol":"tcp","destination":"10.0.0.0/24","ports":"5432","log":true},{"protocol":"icmp","destination":"0.0.0.0/0","type":8,"code":0}]`
	f.do(403, ann, "POST", path, `{"name":"db",`+rules+`}`)
	g := guid(f.do(201, admin, "POST", path, `{"name":"db",`+rules+`}`))
	f.want(f.do(422, admin, "POST", path, `{"name":"db"}`), "errors.0.detail", "Security group with name 'db' already exists.")
	for _, bad := range []string{`{"protocol":"tcp","destination":"10.0.0.0/24"}`, `{"protocol":"gre","destination":"10.0.0.0/24"}`, `{"protocol":"tcp","destination":"nowhere","ports":"1"}`, `{"protocol":"icmp","destination":"1.1.1.1"}`} {
		f.do(422, admin, "POST", path, `{"name":"bad","rules":[`+bad+`]}`)
	}
	f.do(404, ann, "GET", path+"/"+g, "")
	f.want(f.do(200, ann, "GET", path+"?names=db", ""), "pagination.total_results", 0.0)
	bound := f.do(200, admin, "POST", path+"/"+g+"/relationships/running_spaces", `{"data":[{"guid":"`+space+`"}]}`)
	f.want(bound, "data.0.guid", space)
	f.do(422, admin, "POST", path+"/"+g+"/relationships/running_spaces", `{"data":[{"guid":"none"}]}`)
	f.want(f.do(200, ann, "GET", path+"/"+g, ""), "relationships.running_spaces.data.0.guid", space)
	f.want(f.do(200, ann, "GET", "/v3/spaces/"+space+"/running_security_groups?names=db", ""), "pagination.total_results", 1.0)
	f.want(f.do(200, ann, "GET", "/v3/spaces/"+space+"/staging_security_groups", ""), "pagination.total_results", 2.0)
	f.do(403, ann, "DELETE", path+"/"+g+"/relationships/running_spaces/"+space, "")
	unbind := f.do(422, admin, "DELETE", path+"/"+g+"/relationships/running_spaces/"+other, "")
	if detail, _ := at(unbind, "errors.0.detail").(string); !strings.Contains(detail, "Ensure the space is bound to this security group.") {
		t.Errorf("got %q", detail)
	}
	f.do(204, admin, "DELETE", path+"/"+g+"/relationships/running_spaces/"+space, "")
	f.want(f.do(200, admin, "PATCH", path+"/"+g, `{"globally_enabled":{"running":true}}`), "globally_enabled.running", true)
	f.want(f.do(200, ann, "GET", path+"?globally_enabled_running=true", ""), "pagination.total_results", 3.0)
	f.do(202, admin, "DELETE", path+"/"+g, "")
	f.do(404, admin, "GET", path+"/"+g, "")
}

func TestLogs(t *testing.T) {
	f := newRunning(t)
	admin := f.login("admin", "pw")
	ann, _, _, app := f.tenant(admin, "ann")
	bob, _, _, _ := f.tenant(admin, "bob")
	f.do(200, "", "GET", "/api/v1/info", "")
	f.api.logs.Log(cf.LogLine{AppGUID: app, Source: "APP/PROC/WEB", Instance: "1", Text: []byte("hello")})
	recent := f.do(200, ann, "GET", "/api/v1/read/"+app+"?descending=true&envelope_types=LOG&limit=1000&start_time=-6795364578871345152", "")
	f.want(recent, "envelopes.batch.0.log.payload", base64.StdEncoding.EncodeToString([]byte("hello")))
	f.want(recent, "envelopes.batch.0.tags.app_name", "app")
	f.want(recent, "envelopes.batch.1.log.payload", base64.StdEncoding.EncodeToString([]byte("Created app with guid "+app)))
	f.do(404, bob, "GET", "/api/v1/read/"+app, "")
	f.do(401, "", "GET", "/api/v1/read/"+app, "")
	f.do(400, ann, "GET", "/api/v1/read/"+app+"?limit=1001", "")
	f.pushed(ann, app)
	gauges := f.do(200, ann, "GET", "/api/v1/read/"+app+"?envelope_types=GAUGE", "")
	f.want(gauges, "envelopes.batch.0.gauge.metrics.memory.value", float64(1<<20))
	if meta := f.do(200, bob, "GET", "/api/v1/meta", ""); at(meta, "meta."+app) != nil {
		t.Errorf("another tenant is told of the log: %v", meta)
	}
	f.do(202, ann, "DELETE", "/v3/apps/"+app, "")
	f.do(404, ann, "GET", "/api/v1/read/"+app, "")
	f.do(200, admin, "GET", "/api/v1/read/"+app, "")
}
