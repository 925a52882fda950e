package api

import (
	"fmt"
	"testing"
)

// BenchmarkApps is what `cf apps` asks of a space with 200 apps and 500
// instances: the apps, their processes with instances, their routes.
func BenchmarkApps(b *testing.B) {
	f := newRunning(b)
	ann, _, space, app := f.tenant(f.login("admin", "pw"), "ann")
	droplet := f.staged(ann, app)
	guids := ""
	for i := range 200 {
		manifest := fmt.Sprintf("applications:\n- name: app%d\n  memory: 16M\n  instances: %d\n  default-route: true\n", i, 2+i%2)
		f.do(202, ann, "POST", "/v3/spaces/"+space+"/actions/apply_manifest", manifest)
		one := at(f.do(200, ann, "GET", fmt.Sprintf("/v3/apps?names=app%d", i), ""), "resources.0.guid").(string)
		copied := guid(f.do(201, ann, "POST", "/v3/droplets?source_guid="+droplet, `{"relationships":{`+to("app", one)+`}}`))
		f.do(200, ann, "PATCH", "/v3/apps/"+one+"/relationships/current_droplet", `{"data":{"guid":"`+copied+`"}}`)
		f.do(200, ann, "POST", "/v3/apps/"+one+"/actions/start", "")
		guids += "," + one
	}
	for b.Loop() {
		f.do(200, ann, "GET", "/v3/apps?order_by=name&per_page=5000&space_guids="+space, "")
		f.do(200, ann, "GET", "/v3/processes?embed=process_instances&per_page=5000&space_guids="+space, "")
		f.do(200, ann, "GET", "/v3/routes?per_page=5000&app_guids="+guids[1:], "")
	}
}
