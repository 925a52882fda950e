package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/dewpaas/dew/cf"
)

// What a parameter of a list looks at, as a path into the resource. "a.*.b" goes
// into lists, and "path>noun.rest" goes on in the resource whose guid is there.
const (
	spaceOf     = "relationships.space.data.guid"
	orgOf       = "relationships.organization.data.guid"
	appOf       = "relationships.app.data.guid"
	orgOfSpace  = spaceOf + ">spaces." + orgOf
	offeringOf  = "relationships.service_offering.data.guid"
	brokerOf    = "relationships.service_broker.data.guid"
	theInstance = "relationships.service_instance.data.guid"
	planOf      = "relationships.service_plan.data.guid"
)

// looksAt are the paths of parameters by "list parameter", or by the parameter
// alone where it is the same for all.
var looksAt = map[string]string{
	"guids": "guid", "names": "name", "states": "state", "types": "type", "type": "type", "hosts": "host", "paths": "path", "stacks": "lifecycle.data.stack",
	"space_guids": spaceOf, "organization_guids": orgOfSpace, "app_guids": appOf, "lifecycle_type": "lifecycle.type", "package_guids": "package.guid",
	"status_values": "status.value", "status_reasons": "status.reason", "versions": "version", "sequence_ids": "sequence_id",
	"domain_guids": "relationships.domain.data.guid", "user_guids": "relationships.user.data.guid", "usernames": "username", "origins": "origin",
	"target_guids": "target.guid", "broker_catalog_ids": "broker_catalog.id", "available": "available",
	"globally_enabled_running": "globally_enabled.running", "globally_enabled_staging": "globally_enabled.staging",
	"running_space_guids": "relationships.running_spaces.data.*.guid", "staging_space_guids": "relationships.staging_spaces.data.*.guid",
	"service_instance_guids": theInstance, "service_instance_names": theInstance + ">service_instances.name", "app_names": appOf + ">apps.name",
	"service_offering_guids": offeringOf, "service_offering_names": offeringOf + ">service_offerings.name", "service_broker_guids": brokerOf,
	"service_broker_names": brokerOf + ">service_brokers.name", "service_plan_guids": planOf, "service_plan_names": planOf + ">service_plans.name",

	"service_instance_types": "service_instance.type", "/v3/service_usage_events service_offering_guids": "service_offering.guid",

	"/v3/spaces organization_guids": orgOf, "/v3/roles organization_guids": orgOf, "/v3/domains organization_guids": orgOf,
	"/v3/organizations/{guid}/domains organization_guids": orgOf, "/v3/space_quotas organization_guids": orgOf,
	"/v3/space_quotas space_guids":               "relationships.spaces.data.*.guid",
	"/v3/organization_quotas organization_guids": "relationships.organizations.data.*.guid",
	"/v3/packages organization_guids":            appOf + ">apps." + orgOfSpace, "/v3/packages space_guids": appOf + ">apps." + spaceOf,
	"/v3/droplets organization_guids": appOf + ">apps." + orgOfSpace, "/v3/droplets space_guids": appOf + ">apps." + spaceOf,
	"/v3/processes organization_guids": appOf + ">apps." + orgOfSpace, "/v3/processes space_guids": appOf + ">apps." + spaceOf,
	"/v3/tasks organization_guids": appOf + ">apps." + orgOfSpace, "/v3/tasks space_guids": appOf + ">apps." + spaceOf,
	"/v3/audit_events organization_guids": "organization.guid", "/v3/audit_events space_guids": "space.guid",
	"/v3/routes app_guids": "destinations.*.app.guid", "/v3/buildpacks stacks": "stack", "/v3/buildpacks lifecycle": "lifecycle", "/v3/stacks default": "default",
	"/v3/service_plans service_broker_guids":                 offeringOf + ">service_offerings." + brokerOf,
	"/v3/service_plans service_broker_names":                 offeringOf + ">service_offerings." + brokerOf + ">service_brokers.name",
	"/v3/service_plans space_guids":                          spaceOf,
	"/v3/service_offerings space_guids":                      brokerOf + ">service_brokers." + spaceOf,
	"/v3/service_credential_bindings service_plan_guids":     theInstance + ">service_instances." + planOf,
	"/v3/service_credential_bindings service_plan_names":     theInstance + ">service_instances." + planOf + ">service_plans.name",
	"/v3/service_credential_bindings service_offering_guids": theInstance + ">service_instances." + planOf + ">service_plans." + offeringOf,
	"/v3/service_credential_bindings service_offering_names": theInstance + ">service_instances." + planOf + ">service_plans." + offeringOf + ">service_offerings.name",
}

// alone are parameters of lists that are no filters, or that others test.
var alone = []string{"page", "per_page", "order_by", "include", "embed", "label_selector", "created_ats", "updated_ats", "partial_usernames", "current", "after_guid"}

// nobodyHas are filters for what no resource here has: they find nothing.
var nobodyHas = []string{"/v3/routes ports", "/v3/apps/{guid}/routes ports", "/v3/routes service_instance_guids", "/v3/isolation_segments names", "/v3/isolation_segments guids",
	"/v3/isolation_segments organization_guids", "/v3/service_route_bindings guids", "/v3/service_route_bindings route_guids", "/v3/service_route_bindings service_instance_guids",
	"/v3/service_route_bindings service_instance_names",
	"/v3/service_plans service_instance_guids",                                         // a managed one is asked for below
	"/v3/service_plans organization_guids", "/v3/service_offerings organization_guids"} // these plans are of spaces' brokers

// lookup remembers resources that were asked for already, by noun and guid.
type lookup struct {
	*world
	known map[string]map[string]any
}

// values are what a resource has at a path, as text.
func (l lookup) values(v any, path string) []string {
	here, further, jump := strings.Cut(path, ">")
	found := dig(v, strings.Split(here, "."))
	if !jump {
		return found
	}
	noun, rest, _ := strings.Cut(further, ".")
	var out []string
	for _, guid := range found {
		key := "/v3/" + noun + "/" + guid
		if l.known[key] == nil {
			l.known[key] = l.do(200, l.tokens["admin"], "GET", key, "")
		}
		out = append(out, l.values(any(l.known[key]), rest)...)
	}
	return out
}

func dig(v any, path []string) []string {
	if len(path) == 0 {
		if v == nil {
			return nil
		}
		return []string{fmt.Sprint(v)}
	}
	if path[0] == "*" {
		var out []string
		list, _ := v.([]any)
		for _, e := range list {
			out = append(out, dig(e, path[1:])...)
		}
		return out
	}
	o, _ := v.(map[string]any)
	return dig(o[path[0]], path[1:])
}

// listed are the resources of a list, or nil when it refuses the query.
func (l lookup) listed(path, query string) []any {
	w := l.send("GET", path+"?per_page=5000&"+query, l.tokens["admin"], "", nil)
	if w.Code == 400 {
		return nil
	}
	var out struct{ Resources []any }
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != 200 {
		l.t.Fatalf("GET %s?%s: %d %s", path, query, w.Code, w.Body)
	}
	return out.Resources
}

func listed(list []any) []string {
	out := []string{}
	for _, r := range list {
		out = append(out, dig(r, []string{"guid"})...)
	}
	slices.Sort(out)
	return out
}

// TestFiltersFilter: every documented parameter of every list leaves exactly the
// resources that have what it asks for.
func TestFiltersFilter(t *testing.T) {
	w, _ := newWorld(t)
	w.second.fill(w.second.guids["apps"])
	instance, plan := w.vary()
	l := lookup{w, map[string]map[string]any{}}
	checked := 0
	for _, d := range readCAPI(t) {
		if !d.list() {
			continue
		}
		path := w.fillIn(d.path)
		all := l.listed(path, "")
		for _, param := range d.params {
			if slices.Contains(alone, param) {
				continue
			}
			key := d.path + " " + param
			if got := l.listed(path, url.Values{param: {"7"}}.Encode()); len(got) > 0 {
				t.Errorf("%s: what nothing has is found: %v", key, listed(got))
			}
			if slices.Contains(nobodyHas, key) {
				continue
			}
			at, known := looksAt[key]
			if !known {
				at, known = looksAt[param]
			}
			if !known {
				t.Errorf("%s: this test does not know what it looks at", key)
				continue
			}
			checked++
			l.filter(path, key, param, at, all)
		}
	}
	if got := listed(l.listed("/v3/service_plans", "service_instance_guids="+instance)); !slices.Equal(got, []string{plan}) {
		t.Errorf("plans of an instance: %v, want %s", got, plan)
	}
	if checked < 110 {
		t.Errorf("only %d parameters were looked at", checked)
	}
}

// vary makes what would be the same in both tenants' resources differ. It returns
// a managed instance and its plan.
func (w *world) vary() (instance, plan string) {
	admin, g := w.tokens["admin"], w.second.guids
	app := "/v3/apps/" + g["apps"]
	w.do(200, admin, "PATCH", app, `{"name":"second"}`)
	w.do(200, admin, "PATCH", app+"/environment_variables", `{"var":{"A":"b"}}`)
	w.do(200, admin, "POST", app+"/actions/restart", "") // another revision
	w.do(202, admin, "POST", app+"/tasks", `{"command":"x","name":"named"}`)
	w.do(200, admin, "POST", app+"/actions/stop", "")
	w.do(201, admin, "POST", "/v3/routes", `{"host":"with","path":"/path","relationships":{`+to("space", w.second.space)+`,`+to("domain", g["domains"])+`}}`)
	w.do(200, admin, "POST", "/v3/organization_quotas/"+g["organization_quotas"]+"/relationships/organizations", `{"data":[{"guid":"`+w.second.org+`"}]}`)
	w.do(200, admin, "POST", "/v3/security_groups/"+g["security_groups"]+"/relationships/staging_spaces", `{"data":[{"guid":"`+w.second.space+`"}]}`)
	// A managed instance with a key, as its broker would have made it.
	done := cf.LastOperation{Type: "create", State: "succeeded"}
	i := &cf.ServiceInstance{Name: "managed", Type: managed, SpaceGUID: w.second.space, PlanGUID: g["service_plans"], Last: done}
	err := w.store.Update(context.Background(), func(tx cf.Tx) error {
		if err := tx.Insert(i); err != nil {
			return err
		}
		return tx.Insert(&cf.ServiceBinding{Name: "key", Type: keyBinding, InstanceGUID: i.GUID, SpaceGUID: w.second.space, Last: done})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return i.GUID, g["service_plans"]
}

// TestTimesLabelsAndOrder: what all lists have, each of them has.
func TestTimesLabelsAndOrder(t *testing.T) {
	w, _ := newWorld(t)
	l := lookup{w, map[string]map[string]any{}}
	changes := map[string]bool{}
	for _, e := range w.api.endpoints() {
		changes[e.Method+" "+e.Path] = true
	}
	for _, d := range readCAPI(t) {
		if !d.list() {
			continue
		}
		path := w.fillIn(d.path)
		all := listed(l.listed(path, ""))
		if slices.Contains(d.params, "created_ats") {
			for query, want := range map[string][]string{"created_ats[lt]=1970-01-01T00:00:00Z": {}, "created_ats[gte]=1970-01-01T00:00:00Z": all, "created_ats[gt]=2999-01-01T00:00:00Z": {},
				"created_ats[lte]=2999-01-01T00:00:00Z": all, "created_ats=1999-01-01T00:00:00Z": {}, "updated_ats[gt]=2999-01-01T00:00:00Z": {}} {
				if strings.Contains(query, "updated") && !slices.Contains(d.params, "updated_ats") {
					continue
				}
				if got := listed(l.listed(path, query)); !slices.Equal(got, want) {
					t.Errorf("%s?%s: %v, want %v", d.path, query, got, want)
				}
			}
			w.do(400, w.tokens["admin"], "GET", path+"?created_ats=yesterday", "")
		}
		if got := l.listed(path, "guids=none&page=1&order_by=-created_at"); len(got) > 0 {
			t.Errorf("%s: %v have the guid none", d.path, got)
		}
		w.do(400, w.tokens["admin"], "GET", path+"?order_by=colour", "")
		if slices.Contains(d.params, "label_selector") && len(all) > 0 && changes["PATCH "+d.path+"/{guid}"] && !w.comesWithThePlatform(d.path) {
			w.do(200, w.tokens["admin"], "PATCH", path+"/"+all[0], `{"metadata":{"labels":{"marked":"yes"}}}`)
			if got := listed(l.listed(path, "label_selector=marked%3Dyes")); !slices.Equal(got, all[:1]) {
				t.Errorf("%s by label: %v, want %v", d.path, got, all[:1])
			}
			if got := listed(l.listed(path, "label_selector=!marked")); len(got) != len(all)-1 {
				t.Errorf("%s without label: %v of %v", d.path, got, all)
			}
		}
		if first := w.do(200, w.tokens["admin"], "GET", path+"?per_page=1", "")["resources"].([]any); len(first) != min(1, len(l.listed(path, ""))) {
			t.Errorf("%s: %d on a page of one", d.path, len(first))
		}
	}
}

func (w *world) comesWithThePlatform(path string) bool {
	return slices.Contains([]string{"/v3/buildpacks", "/v3/stacks", "/v3/isolation_segments"}, path)
}

// TestOtherParameters: those that look at no field as it is.
func TestOtherParameters(t *testing.T) {
	w, _ := newWorld(t)
	admin := w.tokens["admin"]
	found := func(query string) float64 {
		n, _ := at(w.do(200, admin, "GET", query, ""), "pagination.total_results").(float64)
		return n
	}
	for query, want := range map[string]float64{
		"/v3/users?partial_usernames=_manager":                                 3, // of an organization, of its bills, of a space
		"/v3/users?partial_usernames=nobody":                                   0,
		"/v3/organizations/" + w.org + "/users?partial_usernames=SUPPORT":      1,
		"/v3/apps/" + w.guids["apps"] + "/droplets?current=true":               1,
		"/v3/deployments?states=CANCELED":                                      1,
		"/v3/deployments?states=DEPLOYING,PAUSED":                              0,
		"/v3/routes/" + w.guids["routes"] + "/destinations?guids=none":         0,
		"/v3/feature_flags?per_page=5&page=4":                                  19,
		"/v3/processes?types=web&embed=process_instances&guids=none":           0,
		"/v3/buildpacks?order_by=-name&per_page=1&names=go_buildpack":          1,
		"/v3/organization_quotas?organization_guids=" + w.second.org + ",none": 1,
	} {
		if got := found(query); got != want {
			t.Errorf("%s finds %v, want %v", query, got, want)
		}
	}
	if page := w.do(200, admin, "GET", "/v3/feature_flags?per_page=5&page=4", "")["resources"].([]any); len(page) != 4 {
		t.Errorf("the last page of flags has %d", len(page))
	}
	w.want(w.do(200, admin, "GET", "/v3/buildpacks?order_by=-name", ""), "resources.0.name", "go_buildpack")
	destinations := "/v3/routes/" + w.guids["routes"] + "/destinations"
	for query, want := range map[string]int{"": 1, "?app_guids=" + w.guids["apps"]: 1, "?app_guids=none": 0, "?guids=" + w.guids["destination"]: 1} {
		if got := w.do(200, admin, "GET", destinations+query, "")["destinations"].([]any); len(got) != want {
			t.Errorf("destinations%s: %v", query, got)
		}
	}
	if _, there := w.do(200, admin, "GET", "/v3/processes/"+w.guids["processes"]+"?embed=process_instances", "")["process_instances"]; !there {
		t.Error("a process does not embed its instances")
	}
	w.do(400, admin, "GET", "/v3/processes/"+w.guids["processes"]+"?embed=all", "")
}

// filter asks for each of a few values, and for two of them at once.
func (l lookup) filter(path, key, param, at string, all []any) {
	l.t.Helper()
	having := map[string][]string{} // guids by value
	for _, r := range all {
		for _, v := range l.values(r, at) {
			having[v] = append(having[v], dig(r, []string{"guid"})...)
		}
	}
	values := slices.Sorted(func(yield func(string) bool) {
		for v := range having {
			if !yield(v) {
				return
			}
		}
	})
	if len(values) == 0 {
		l.t.Errorf("%s: there is nothing to filter by", key)
		return
	}
	ask := values[:min(len(values), 4)]
	for _, v := range ask {
		l.same(path, key, param, v, having[v])
	}
	if _, single := map[string]bool{"available": true, "type": true, "globally_enabled_running": true, "globally_enabled_staging": true, "default": true, "lifecycle_type": true, "lifecycle": true}[param]; !single && len(ask) > 1 {
		both := append(slices.Clone(having[ask[0]]), having[ask[1]]...)
		l.same(path, key, param, ask[0]+","+ask[1], both)
	}
}

func (l lookup) same(path, key, param, value string, want []string) {
	l.t.Helper()
	want = slices.Clone(want)
	slices.Sort(want)
	want = slices.Compact(want)
	if got := listed(l.listed(path, url.Values{param: {value}}.Encode())); !slices.Equal(got, want) {
		l.t.Errorf("%s=%s: %v, want %v", key, value, got, want)
	}
}
