package api

import (
	"strings"
	"testing"
)

// TestFlagsAreEnforced: what an admin turns off is off, but not for admins.
func TestFlagsAreEnforced(t *testing.T) {
	f := newRunning(t)
	admin := f.login("admin", "pw")
	ann, org, space, app := f.tenant(admin, "ann")
	domain := f.domain(ann, org)
	f.pushed(ann, app)
	at := map[string]struct{ method, path, body string }{
		"app_scaling":                        {"POST", "/v3/apps/" + app + "/processes/web/actions/scale", `{"instances":1}`},
		"task_creation":                      {"POST", "/v3/apps/" + app + "/tasks", `{"command":"x"}`},
		"route_creation":                     {"POST", "/v3/routes", `{"host":"flag","relationships":{` + to("space", space) + `,` + to("domain", domain) + `}}`},
		"service_instance_creation":          {"POST", "/v3/service_instances", `{"type":"user-provided","name":"flag","relationships":{` + to("space", space) + `}}`},
		"env_var_visibility":                 {"GET", "/v3/apps/" + app + "/env", ""},
		"space_developer_env_var_visibility": {"GET", "/v3/apps/" + app + "/environment_variables", ""},
		"user_org_creation":                  {"POST", "/v3/organizations", `{"name":"flag"}`},
	}
	for flag, r := range at {
		f.do(200, admin, "PATCH", "/v3/feature_flags/"+flag, `{"enabled":false}`)
		refused := f.send(r.method, r.path, ann, "application/json", []byte(r.body))
		if refused.Code != 403 {
			t.Errorf("%s is off, and the answer is %d %s", flag, refused.Code, refused.Body)
		}
		f.do(200, admin, "PATCH", "/v3/feature_flags/"+flag, `{"enabled":true}`)
		if got := f.send(r.method, r.path, ann, "application/json", []byte(r.body)); got.Code/100 != 2 {
			t.Errorf("%s is on, and the answer is %d %s", flag, got.Code, got.Body)
		}
	}
	f.do(200, admin, "PATCH", "/v3/feature_flags/app_bits_upload", `{"enabled":false}`)
	kind, body := form(t, "", zipOf(t, map[string]string{"a": "b"}))
	if got := f.send("POST", "/v3/packages/"+f.pack(ann, app)+"/upload", ann, kind, body); got.Code != 403 {
		t.Errorf("uploads are off, and the answer is %d %s", got.Code, got.Body)
	}
	if got := f.send("POST", "/v3/packages/"+f.pack(ann, app)+"/upload", admin, kind, body); got.Code != 200 {
		t.Errorf("an admin uploads all the same, not: %d %s", got.Code, got.Body)
	}
	f.do(404, admin, "PATCH", "/v3/feature_flags/colour", `{"enabled":true}`)
	f.do(422, admin, "PATCH", "/v3/feature_flags/app_scaling", `{}`)
}

// TestWordsOfAFlag: who turns something off can say why, until it is said otherwise.
func TestWordsOfAFlag(t *testing.T) {
	f := newRunning(t)
	admin := f.login("admin", "pw")
	ann, _, _, app := f.tenant(admin, "ann")
	const flag = "/v3/feature_flags/task_creation"
	f.want(f.do(200, ann, "GET", flag, ""), "updated_at", nil)
	set := f.do(200, admin, "PATCH", flag, `{"enabled":false,"custom_error_message":"no tasks this week"}`)
	f.want(set, "custom_error_message", "no tasks this week")
	if set["updated_at"] == nil {
		t.Error("a flag that was set does not say when")
	}
	refused := func(want string) {
		t.Helper()
		f.want(f.do(403, ann, "POST", "/v3/apps/"+app+"/tasks", `{"command":"x"}`), "errors.0.detail", want)
	}
	refused("Feature Disabled: no tasks this week")
	f.do(200, admin, "PATCH", flag, `{"enabled":false}`)
	refused("Feature Disabled: no tasks this week")
	f.do(422, admin, "PATCH", flag, `{"enabled":false,"custom_error_message":"`+strings.Repeat("ä", 251)+`"}`)
	f.do(200, admin, "PATCH", flag, `{"enabled":false,"custom_error_message":""}`)
	refused("Feature Disabled: task_creation")
}

// TestSuspendedOrganization: only admins change anything in it; all may look.
func TestSuspendedOrganization(t *testing.T) {
	f := newRunning(t)
	admin := f.login("admin", "pw")
	ann, org, space, app := f.tenant(admin, "ann")
	f.do(403, ann, "PATCH", "/v3/organizations/"+org, `{"suspended":true}`)
	f.do(200, admin, "PATCH", "/v3/organizations/"+org, `{"suspended":true}`)
	f.want(f.do(403, ann, "PATCH", "/v3/apps/"+app, `{}`), "errors.0.title", "CF-OrgSuspended")
	f.do(403, ann, "POST", "/v3/apps", `{"name":"x","relationships":{`+to("space", space)+`}}`)
	f.do(200, ann, "GET", "/v3/apps/"+app, "")
	f.do(200, ann, "GET", "/v3/apps/"+app+"/env", "")
	f.do(200, admin, "PATCH", "/v3/apps/"+app, `{}`)
	f.do(200, admin, "PATCH", "/v3/organizations/"+org, `{"suspended":false}`)
	f.do(200, ann, "PATCH", "/v3/apps/"+app, `{}`)
}
