package api

import (
	"strings"
	"testing"
)

func TestMetrics(t *testing.T) {
	f := newRunning(t)
	f.api.limited = func() uint64 { return 7 }
	admin := f.login("admin", "pw")
	ann, _, _, app := f.tenant(admin, "ann")
	f.pushed(ann, app)
	f.do(202, ann, "POST", "/v3/apps/"+app+"/processes/web/actions/scale", `{"instances":2}`)
	text := f.send("GET", "/metrics", admin, "", nil).Body.String()
	of := `app="app",app_guid="` + app + `",index="1",organization="ann",process="web",space="dev"`
	for _, want := range []string{
		`dew_apps{state="STARTED"} 1`, `dew_app_instances_wanted{app="app",app_guid="` + app + `",organization="ann",process="web",space="dev"} 2`,
		`dew_app_instance_state{` + of + `,state="RUNNING"} 1`, `dew_app_memory_bytes{` + of + `} 1.048576e+06`, `dew_app_memory_limit_bytes{` + of + `} 1.073741824e+09`,
		`dew_builds{state="STAGED"} 1`, `dew_log_lines_total{what="received"} `, `dew_log_lines_total{what="limited"} 7`, `dew_api_request_seconds_count{code="202",method="POST"} `, "go_goroutines ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
	f.do(403, ann, "GET", "/metrics", "")
	f.do(401, "", "GET", "/metrics", "")
	f.send("BREW", "/v3/apps", admin, "", nil)
	if text := f.send("GET", "/metrics", admin, "", nil).Body.String(); strings.Contains(text, "BREW") {
		t.Error("a method that a client invented is a label")
	}
}
