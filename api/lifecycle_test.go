package api

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// at digs into an answer: "status.reason", "resources.0.guid", "resources.#" for how many.
func at(v any, path string) any {
	for _, part := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[part]
		case []any:
			if part == "#" {
				return float64(len(x))
			}
			var i int
			if _, err := fmt.Sscan(part, &i); err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

func (f *foundation) want(v any, path string, want any) {
	f.t.Helper()
	if got := at(v, path); !reflect.DeepEqual(got, want) {
		f.t.Errorf("%s is %v, want %v", path, got, want)
	}
}

// staged uploads a package of the app, stages it and returns the droplet.
func (f *foundation) staged(token, app string) string {
	f.t.Helper()
	pack := guid(f.do(201, token, "POST", "/v3/packages", `{"type":"bits","relationships":{`+to("app", app)+`}}`))
	kind, body := bits(f.t, "main.go")
	if w := f.send("POST", "/v3/packages/"+pack+"/upload", token, kind, body); w.Code != 200 {
		f.t.Fatalf("upload: %d %s", w.Code, w.Body)
	}
	build := f.do(201, token, "POST", "/v3/builds", `{"package":{"guid":"`+pack+`"}}`)
	build = f.do(200, token, "GET", "/v3/builds/"+guid(build), "")
	f.want(build, "state", "STAGED")
	return at(build, "droplet.guid").(string)
}

// pushed is an app that runs its first droplet.
func (f *foundation) pushed(token, app string) (droplet string) {
	f.t.Helper()
	droplet = f.staged(token, app)
	f.do(200, token, "PATCH", "/v3/apps/"+app+"/relationships/current_droplet", `{"data":{"guid":"`+droplet+`"}}`)
	f.do(200, token, "POST", "/v3/apps/"+app+"/actions/start", "")
	return droplet
}

func TestPushScaleStop(t *testing.T) {
	f := newRunning(t)
	token, _, _, app := f.tenant(f.login("admin", "pw"), "ann")
	f.want(f.do(404, token, "GET", "/v3/apps/"+app+"/droplets/current", ""), "errors.0.detail", "Droplet not found")
	f.want(f.do(422, token, "POST", "/v3/apps/"+app+"/actions/start", ""), "errors.0.detail", "Assign a droplet before starting this app.")
	droplet := f.pushed(token, app)
	if !reflect.DeepEqual(f.cells.told, []string{app}) {
		t.Errorf("the runtime was told of %v", f.cells.told)
	}
	f.want(f.do(200, token, "GET", "/v3/apps/"+app+"/droplets/current", ""), "guid", droplet)
	f.do(202, token, "POST", "/v3/apps/"+app+"/processes/web/actions/scale", `{"instances":3}`)
	f.do(202, token, "POST", "/v3/apps/"+app+"/processes/web/actions/scale", `{"memory_in_mb":"512"}`)
	f.want(f.do(200, token, "GET", "/v3/apps/"+app+"/processes/web", ""), "memory_in_mb", 512.0)
	f.do(422, token, "POST", "/v3/apps/"+app+"/processes/web/actions/scale", `{"memory_in_mb":"many"}`)
	f.do(202, token, "POST", "/v3/apps/"+app+"/processes/web/actions/scale", `{"memory_in_mb":1024}`)
	stats := f.do(200, token, "GET", "/v3/apps/"+app+"/processes/web/stats", "")
	f.want(stats, "resources.2.state", "RUNNING")
	f.want(stats, "resources.0.mem_quota", float64(1<<30))
	f.want(stats, "resources.0.instance_internal_ip", "10.255.0.2")
	f.want(stats, "resources.0.instance_ports.0.external", 8080.0)
	list := f.do(200, token, "GET", "/v3/processes?embed=process_instances&types=web", "")
	f.want(list, "resources.0.process_instances.2.index", 2.0)
	f.do(400, token, "GET", "/v3/processes?embed=secrets", "")
	f.do(204, token, "DELETE", "/v3/apps/"+app+"/processes/web/instances/2", "")
	f.want(f.do(404, token, "DELETE", "/v3/apps/"+app+"/processes/web/instances/3", ""), "errors.0.detail", "Instance not found")
	f.do(200, token, "POST", "/v3/apps/"+app+"/actions/stop", "")
	if got := f.do(200, token, "GET", "/v3/apps/"+app+"/processes/web/stats", "")["resources"]; len(got.([]any)) != 0 {
		t.Errorf("a stopped app has instances: %v", got)
	}
	f.do(422, token, "DELETE", "/v3/droplets/"+droplet, "")
}

// TestLaunchIsFrozen: what is changed after a start waits for the next one.
func TestLaunchIsFrozen(t *testing.T) {
	f := newRunning(t)
	token, _, _, app := f.tenant(f.login("admin", "pw"), "ann")
	f.pushed(token, app)
	version := func() any { return f.do(200, token, "GET", "/v3/apps/"+app+"/processes/web", "")["version"] }
	first := version()
	f.do(200, token, "PATCH", "/v3/apps/"+app+"/environment_variables", `{"var":{"A":"1"}}`)
	f.do(202, token, "POST", "/v3/apps/"+app+"/processes/web/actions/scale", `{"instances":2}`)
	f.do(200, token, "POST", "/v3/apps/"+app+"/actions/start", "") // started already
	if version() != first {
		t.Error("instances were replaced without a restart")
	}
	f.do(200, token, "POST", "/v3/apps/"+app+"/actions/restart", "")
	if version() == first {
		t.Error("a restart kept the version")
	}
	list := f.do(200, token, "GET", "/v3/apps/"+app+"/revisions?order_by=-version", "")
	f.want(list, "resources.0.description", "New environment variables deployed.")
	f.want(list, "resources.1.description", "Initial revision.")
	deployed := f.do(200, token, "GET", "/v3/apps/"+app+"/revisions/deployed", "")
	f.want(deployed, "pagination.total_results", 1.0)
	f.want(deployed, "resources.0.version", 2.0)
}

func (f *foundation) deploy(want int, token, app, more string) map[string]any {
	f.t.Helper()
	return f.do(want, token, "POST", "/v3/deployments", `{`+more+`"relationships":{`+to("app", app)+`}}`)
}

func TestRollingDeployment(t *testing.T) {
	f := newRunning(t)
	token, _, _, app := f.tenant(f.login("admin", "pw"), "ann")
	old := f.pushed(token, app)
	f.do(202, token, "POST", "/v3/apps/"+app+"/processes/web/actions/scale", `{"instances":4}`)
	next := f.staged(token, app)
	d := f.deploy(201, token, app, `"droplet":{"guid":"`+next+`"},"strategy":"rolling","options":{"max_in_flight":2,"web_instances":null,"memory_in_mb":64,"disk_in_mb":null,"log_rate_limit_in_bytes_per_second":null},`)
	f.want(d, "status.value", "ACTIVE")
	f.want(d, "status.reason", "DEPLOYING")
	f.want(d, "previous_droplet.guid", old)
	process := at(d, "new_processes.0.guid").(string)
	f.want(f.do(200, token, "GET", "/v3/processes/"+process, ""), "instances", 2.0)
	f.want(f.do(200, token, "GET", "/v3/processes/"+process, ""), "memory_in_mb", 64.0)
	for _, change := range []string{"POST /v3/apps/" + app + "/processes/web/actions/scale", "PATCH /v3/apps/" + app + "/processes/web", "PATCH /v3/apps/" + app + "/relationships/current_droplet"} {
		method, path, _ := strings.Cut(change, " ")
		answer := f.do(422, token, method, path, `{"data":{"guid":"`+old+`"}}`)
		if detail, _ := at(answer, "errors.0.detail").(string); !strings.Contains(detail, "while a deployment is in flight") {
			t.Errorf("%s: %s", change, detail)
		}
	}
	second := f.deploy(201, token, app, "")
	f.want(f.do(200, token, "GET", "/v3/deployments/"+guid(d), ""), "status.reason", "SUPERSEDED")
	f.want(f.do(200, token, "GET", "/v3/deployments?status_values=ACTIVE&app_guids="+app, ""), "resources.0.guid", guid(second))
	if err := f.cells.step(context.Background(), guid(second)); err != nil {
		t.Fatal(err)
	}
	webs := f.do(200, token, "GET", "/v3/apps/"+app+"/processes?types=web", "")
	f.want(webs, "pagination.total_results", 1.0)
	f.want(webs, "resources.0.instances", 4.0)
	f.do(422, token, "POST", "/v3/deployments/"+guid(second)+"/actions/cancel", "")
}

func TestCanaryThenCancel(t *testing.T) {
	f := newRunning(t)
	token, _, _, app := f.tenant(f.login("admin", "pw"), "ann")
	old := f.pushed(token, app)
	next := f.staged(token, app)
	steps := `"options":{"canary":{"steps":[{"instance_weight":20},{"instance_weight":60}]}},`
	f.deploy(422, token, app, steps)
	f.deploy(422, token, app, `"strategy":"canary","options":{"canary":{"steps":[{"instance_weight":60},{"instance_weight":20}]}},`)
	f.deploy(422, token, app, `"strategy":"blue-green",`)
	f.deploy(422, token, app, `"options":{"colour":1},`)
	d := f.deploy(201, token, app, `"strategy":"canary","droplet":{"guid":"`+next+`"},`+steps)
	f.want(d, "state", "PREPAUSED")
	path := "/v3/deployments/" + guid(d)
	f.do(422, token, "POST", path+"/actions/continue", "")
	for step := 1; step <= 2; step++ {
		if err := f.cells.step(context.Background(), guid(d)); err != nil {
			t.Fatal(err)
		}
		paused := f.do(200, token, "GET", path, "")
		f.want(paused, "status.reason", "PAUSED")
		f.want(paused, "status.canary.steps.current", float64(step))
		f.want(paused, "status.canary.steps.total", 2.0)
		f.do(200, token, "POST", path+"/actions/continue", "")
	}
	f.want(f.do(200, token, "GET", path, ""), "state", "DEPLOYING")
	f.do(200, token, "POST", path+"/actions/cancel", "")
	f.want(f.do(200, token, "GET", "/v3/apps/"+app+"/relationships/current_droplet", ""), "data.guid", old)
	if err := f.cells.step(context.Background(), guid(d)); err != nil {
		t.Fatal(err)
	}
	f.want(f.do(200, token, "GET", path, ""), "status.reason", "CANCELED")
}

func TestStopEndsADeployment(t *testing.T) {
	f := newRunning(t)
	token, _, _, app := f.tenant(f.login("admin", "pw"), "ann")
	f.pushed(token, app)
	web := guid(f.do(200, token, "GET", "/v3/apps/"+app+"/processes/web", ""))
	d := f.deploy(201, token, app, "")
	f.do(200, token, "POST", "/v3/apps/"+app+"/actions/stop", "")
	f.want(f.do(200, token, "GET", "/v3/deployments/"+guid(d), ""), "status.reason", "CANCELED")
	f.want(f.do(200, token, "GET", "/v3/apps/"+app+"/processes/web", ""), "guid", web)
	// A deployment of a stopped app only starts it.
	d = f.deploy(201, token, app, "")
	f.want(d, "status.value", "FINALIZED")
	f.want(f.do(200, token, "GET", "/v3/apps/"+app, ""), "state", "STARTED")
}

func TestRollBack(t *testing.T) {
	f := newRunning(t)
	token, _, _, app := f.tenant(f.login("admin", "pw"), "ann")
	f.do(200, token, "PATCH", "/v3/apps/"+app+"/environment_variables", `{"var":{"A":"old"}}`)
	old := f.pushed(token, app)
	f.do(200, token, "PATCH", "/v3/apps/"+app+"/environment_variables", `{"var":{"A":"new"}}`)
	f.do(200, token, "PATCH", "/v3/apps/"+app+"/processes/web", `{"command":"./app -x"}`)
	next := f.staged(token, app)
	d := f.deploy(201, token, app, `"droplet":{"guid":"`+next+`"},`)
	if err := f.cells.step(context.Background(), guid(d)); err != nil {
		t.Fatal(err)
	}
	list := f.do(200, token, "GET", "/v3/apps/"+app+"/revisions?order_by=version", "")
	f.want(list, "resources.1.description", "Custom start command added for 'web' process. New droplet deployed. New environment variables deployed.")
	first := at(list, "resources.0.guid").(string)
	f.want(f.do(200, token, "GET", "/v3/revisions/"+first+"/environment_variables", ""), "var.A", "old")
	d = f.deploy(201, token, app, `"revision":{"guid":"`+first+`"},"strategy":"rolling",`)
	f.want(d, "droplet.guid", old)
	f.want(d, "revision.version", 3.0)
	f.want(f.do(200, token, "GET", "/v3/apps/"+app+"/environment_variables", ""), "var.A", "old")
	last := f.do(200, token, "GET", "/v3/apps/"+app+"/revisions?versions=3", "")
	if text, _ := at(last, "resources.0.description").(string); !strings.Contains(text, "Rolled back to revision 1.") {
		t.Errorf("described as %q", text)
	}
	if err := f.cells.step(context.Background(), guid(d)); err != nil {
		t.Fatal(err)
	}
	f.deploy(422, token, app, `"revision":{"guid":"`+first+`"},`) // it is like that already
}

func TestTasks(t *testing.T) {
	f := newRunning(t)
	admin := f.login("admin", "pw")
	token, org, _, app := f.tenant(admin, "ann")
	path := "/v3/apps/" + app + "/tasks"
	f.want(f.do(422, token, "POST", path, `{"command":"./app x"}`), "errors.0.detail", "Task must have a droplet. Assign current droplet to app.")
	f.pushed(token, app)
	f.do(422, token, "POST", path, `{}`)
	first := f.do(202, token, "POST", path, `{"command":"./app x","name":"migrate","memory_in_mb":64}`)
	f.want(first, "state", "PENDING")
	f.want(first, "sequence_id", 1.0)
	web := guid(f.do(200, token, "GET", "/v3/apps/"+app+"/processes/web", ""))
	f.want(f.do(202, token, "POST", path, `{"template":{"process":{"guid":"`+web+`"}}}`), "command", "./app")
	f.want(f.do(200, token, "GET", path+"?sequence_ids=1", ""), "resources.0.guid", guid(first))
	f.want(f.do(202, token, "PUT", "/v3/tasks/"+guid(first)+"/cancel", ""), "state", "CANCELING")
	quota := guid(f.do(201, admin, "POST", "/v3/organization_quotas", `{"name":"q","apps":{"per_app_tasks":2,"per_process_memory_in_mb":1024}}`))
	f.do(200, admin, "POST", "/v3/organization_quotas/"+quota+"/relationships/organizations", `{"data":[{"guid":"`+org+`"}]}`)
	f.do(422, token, "POST", path, `{"command":"third"}`)
	f.do(200, admin, "PATCH", "/v3/feature_flags/task_creation", `{"enabled":false}`)
	f.want(f.do(403, token, "POST", path, `{"command":"x"}`), "errors.0.detail", "Feature Disabled: task_creation")
}
