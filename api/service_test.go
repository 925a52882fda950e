package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/dewpaas/dew/api/broker/brokertest"
	"github.com/dewpaas/dew/api/egress"
	"github.com/dewpaas/dew/cf"
)

// newServices is a running foundation whose work with brokers is done, and a
// broker whose plans are public.
func newServices(t *testing.T) (*foundation, *brokertest.Broker, string) {
	c := new(cells)
	f := foundationWith(t, func(config *Config) {
		c.store = config.Store
		config.Stager, config.Runtime = c, c
		config.Egress = egress.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	})
	f.cells = c
	f.background()
	b := brokertest.New(t)
	admin := f.login("admin", "pw")
	f.finish(b, admin, f.do(202, admin, "POST", "/v3/service_brokers", brokerBodyOf("b", b.URL, "")), "COMPLETE")
	for _, p := range f.do(200, admin, "GET", "/v3/service_plans", "")["resources"].([]any) {
		f.do(200, admin, "POST", "/v3/service_plans/"+at(p, "guid").(string)+"/visibility", `{"type":"public"}`)
	}
	return f, b, admin
}

// background does what no request waits for, until the test ends.
func (f *foundation) background() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f.api.Run(ctx) }()
	f.t.Cleanup(func() { cancel(); <-done })
}

func brokerBodyOf(name, url, space string) string {
	body := `{"name":"` + name + `","url":"` + url + `","authentication":{"type":"basic","credentials":{"username":"` + brokertest.User + `","password":"` + brokertest.Password + `"}}`
	if space != "" {
		body += `,"relationships":{` + to("space", space) + `}`
	}
	return body + `}`
}

// finish waits for the job of an answer and returns it.
func (f *foundation) finish(b *brokertest.Broker, token string, answer map[string]any, want string) map[string]any {
	f.t.Helper()
	location, _ := answer["Location"].(string)
	if !strings.HasPrefix(location, home+"/v3/jobs/") {
		f.t.Fatalf("the job is at %q", location)
	}
	var job map[string]any
	b.Wait("the job ends", func() bool {
		job = f.do(200, token, "GET", location, "")
		return job["state"] == "COMPLETE" || job["state"] == "FAILED"
	})
	if job["state"] != want {
		f.t.Fatalf("job: %v, want %s", job, want)
	}
	return job
}

func (f *foundation) plan(token, name string) string {
	f.t.Helper()
	list := f.do(200, token, "GET", "/v3/service_plans?names="+name, "")
	g, _ := at(list, "resources.0.guid").(string)
	if g == "" {
		f.t.Fatalf("no plan %s in %v", name, list)
	}
	return g
}

func instanceOf(name, space, plan string) string {
	return `{"type":"managed","name":"` + name + `","parameters":{"size":3},"tags":["mine"],"relationships":{` + to("space", space) + `,` + to("service_plan", plan) + `}}`
}

func TestManagedService(t *testing.T) {
	f, b, admin := newServices(t)
	ann, _, space, app := f.tenant(admin, "ann")
	bob, _, spaceB, _ := f.tenant(admin, "bob")
	for _, plan := range []string{"small", "slow"} {
		f.finish(b, ann, f.do(202, ann, "POST", "/v3/service_instances", instanceOf("db", space, f.plan(ann, plan))), "COMPLETE")
		f.want(f.do(422, ann, "POST", "/v3/service_instances", instanceOf("db", space, f.plan(ann, plan))), "errors.0.detail", "The service instance name is taken: db.")
		list := f.do(200, ann, "GET", "/v3/service_instances?names=db&space_guids="+space+"&fields%5Bservice_plan%5D=guid,name,relationships.service_offering&fields%5Bservice_plan.service_offering%5D=guid,name,relationships.service_broker&fields%5Bservice_plan.service_offering.service_broker%5D=guid,name&fields%5Bspace%5D=guid,name,relationships.organization&fields%5Bspace.organization%5D=guid,name", "")
		f.want(list, "included.service_plans.0.name", plan)
		f.want(list, "included.service_offerings.0.name", "postgres")
		f.want(list, "included.service_brokers.0.name", "b")
		f.want(list, "included.organizations.0.name", "ann")
		f.want(list, "resources.0.last_operation.state", "succeeded")
		instance := at(list, "resources.0.guid").(string)
		f.want(b.Instance(instance), "parameters.size", 3.0)
		f.want(b.Instance(instance), "context.platform", "cloudfoundry")
		f.want(f.do(200, ann, "GET", "/v3/service_instances/"+instance+"/parameters", ""), "size", 3.0)
		f.do(404, bob, "GET", "/v3/service_instances/"+instance, "")

		binding := `{"type":"app","relationships":{` + to("app", app) + `,` + to("service_instance", instance) + `}}`
		f.finish(b, ann, f.do(202, ann, "POST", "/v3/service_credential_bindings", binding), "COMPLETE")
		f.want(f.do(422, ann, "POST", "/v3/service_credential_bindings", binding), "errors.0.detail", "The app is already bound to the service instance")
		env := f.do(200, ann, "GET", "/v3/apps/"+app+"/env", "")
		f.want(env, "system_env_json.VCAP_SERVICES.postgres.0.plan", plan)
		f.want(env, "system_env_json.VCAP_SERVICES.postgres.0.tags", []any{"sql", "mine"})
		if uri, _ := at(env, "system_env_json.VCAP_SERVICES.postgres.0.credentials.uri").(string); !strings.HasPrefix(uri, "postgres://") {
			t.Errorf("the app is told %q", uri)
		}
		f.do(422, ann, "DELETE", "/v3/service_instances/"+instance, "")
		f.finish(b, ann, f.do(202, ann, "POST", "/v3/service_credential_bindings", `{"type":"key","name":"k","relationships":{`+to("service_instance", instance)+`}}`), "COMPLETE")
		key := f.do(200, ann, "GET", "/v3/service_credential_bindings?type=key&service_instance_guids="+instance, "")
		details := f.do(200, ann, "GET", "/v3/service_credential_bindings/"+at(key, "resources.0.guid").(string)+"/details", "")
		if uri, _ := at(details, "credentials.uri").(string); uri == "" {
			t.Errorf("a key without credentials: %v", details)
		}
		twice := f.do(422, ann, "POST", "/v3/service_credential_bindings", `{"type":"key","name":"k","relationships":{`+to("service_instance", instance)+`}}`)
		if detail, _ := at(twice, "errors.0.detail").(string); !strings.Contains(detail, "Key binding names must be unique") {
			t.Errorf("a key of the same name: %q", detail)
		}
		for _, one := range f.do(200, ann, "GET", "/v3/service_credential_bindings?service_instance_guids="+instance, "")["resources"].([]any) {
			f.finish(b, ann, f.do(202, ann, "DELETE", "/v3/service_credential_bindings/"+at(one, "guid").(string), ""), "COMPLETE")
		}
		f.finish(b, ann, f.do(202, ann, "DELETE", "/v3/service_instances/"+instance, ""), "COMPLETE")
		f.do(404, ann, "GET", "/v3/service_instances/"+instance, "")
		if len(b.Instances()) != 0 || len(b.Bindings()) != 0 {
			t.Errorf("the broker still has %v and %v", b.Instances(), b.Bindings())
		}
	}
	f.do(404, bob, "POST", "/v3/apps/"+app+"/actions/stop", "")
	f.do(422, bob, "POST", "/v3/service_instances", instanceOf("db", space, f.plan(bob, "small")))
	f.do(422, bob, "POST", "/v3/service_instances", instanceOf("db", spaceB, "none"))
}

func TestUpdateManaged(t *testing.T) {
	f, b, admin := newServices(t)
	ann, _, space, _ := f.tenant(admin, "ann")
	f.finish(b, ann, f.do(202, ann, "POST", "/v3/service_instances", instanceOf("db", space, f.plan(ann, "small"))), "COMPLETE")
	path := "/v3/service_instances/" + b.Instances()[0]
	f.want(f.do(200, ann, "PATCH", path, `{"name":"renamed","tags":[]}`), "name", "renamed")
	f.finish(b, ann, f.do(202, ann, "PATCH", path, `{"parameters":{"size":4},"relationships":{`+to("service_plan", f.plan(ann, "slow"))+`}}`), "COMPLETE")
	f.want(b.Instance(b.Instances()[0]), "previous_values.plan_id", "p1")
	f.want(f.do(200, ann, "GET", path, ""), "relationships.service_plan.data.guid", f.plan(ann, "slow"))
	f.do(422, ann, "PATCH", path, `{"relationships":{`+to("service_plan", f.plan(ann, "only"))+`}}`)
	b.Answer(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			w.WriteHeader(400)
		}
		return r.Method == http.MethodPatch
	})
	job := f.finish(b, ann, f.do(202, ann, "PATCH", path, `{"parameters":{}}`), "FAILED")
	f.want(job, "errors.0.detail", "Service broker error: status code 400")
	f.want(f.do(200, ann, "GET", path, ""), "last_operation.state", "failed")
}

// TestDeletingASpaceCleansUp: what goes with a space goes at the broker too.
func TestDeletingASpaceCleansUp(t *testing.T) {
	f, b, admin := newServices(t)
	ann, _, space, app := f.tenant(admin, "ann")
	f.finish(b, ann, f.do(202, ann, "POST", "/v3/service_instances", instanceOf("db", space, f.plan(ann, "small"))), "COMPLETE")
	f.finish(b, ann, f.do(202, ann, "POST", "/v3/service_credential_bindings", `{"type":"app","relationships":{`+to("app", app)+`,`+to("service_instance", b.Instances()[0])+`}}`), "COMPLETE")
	f.do(202, admin, "DELETE", "/v3/spaces/"+space, "")
	b.Wait("the broker is asked to clean up", func() bool { return len(b.Instances())+len(b.Bindings()) == 0 })
}

func TestMarketplaceVisibility(t *testing.T) {
	f, b, admin := newServices(t)
	ann, orgA, spaceA, _ := f.tenant(admin, "ann")
	bob, _, spaceB, _ := f.tenant(admin, "bob")
	small := f.plan(admin, "small")
	visible := func(token, query string, want ...string) {
		t.Helper()
		names := map[string]bool{}
		for _, p := range f.do(200, token, "GET", "/v3/service_plans?available=true&include=service_offering&"+query, "")["resources"].([]any) {
			names[at(p, "name").(string)] = true
		}
		if len(names) != len(want) {
			t.Errorf("%s: %v, want %v", query, names, want)
		}
		for _, w := range want {
			if !names[w] {
				t.Errorf("%s: %v lacks %s", query, names, w)
			}
		}
	}
	visible(ann, "service_offering_names=postgres", "small", "slow", "costly")
	visible(ann, "names=small&service_offering_names=keyless")
	visible(ann, "names=small&service_offering_names=postgres&service_broker_names=other")
	f.do(200, admin, "PATCH", "/v3/service_plans/"+small+"/visibility", `{"type":"organization","organizations":[{"guid":"`+orgA+`"}]}`)
	visible(ann, "names=small", "small")
	visible(bob, "names=small")
	visible(admin, "names=small&space_guids="+spaceB)
	visible(admin, "names=small&space_guids="+spaceA, "small")
	f.do(422, bob, "POST", "/v3/service_instances", instanceOf("db", spaceB, small))
	f.do(404, bob, "GET", "/v3/service_plans/"+small, "")
	f.do(403, ann, "PATCH", "/v3/service_plans/"+small+"/visibility", `{"type":"public"}`)
	f.want(f.do(200, ann, "GET", "/v3/service_plans/"+small+"/visibility", ""), "organizations.0.name", "ann")
	f.do(204, admin, "DELETE", "/v3/service_plans/"+small+"/visibility/"+orgA, "")
	visible(ann, "names=small")
	f.do(200, admin, "PATCH", "/v3/service_plans/"+small+"/visibility", `{"type":"admin"}`)
	visible(ann, "names=small")

	private := brokertest.New(t)
	f.finish(b, ann, f.do(202, ann, "POST", "/v3/service_brokers", brokerBodyOf("mine", private.URL, spaceA)), "COMPLETE")
	visible(ann, "service_broker_names=mine", "small", "slow", "costly", "only")
	visible(bob, "service_broker_names=mine")
	f.do(403, bob, "POST", "/v3/service_brokers", brokerBodyOf("global", private.URL, ""))
	f.want(f.do(200, bob, "GET", "/v3/service_brokers", ""), "pagination.total_results", 0.0)
	f.want(f.do(200, ann, "GET", "/v3/service_brokers", ""), "resources.0.name", "mine")
}

// TestMarketplaceWithoutLogin: who has not logged in sees public plans only, one
// by one and in lists, and nothing when an admin hides them.
func TestMarketplaceWithoutLogin(t *testing.T) {
	w, _ := newWorld(t)
	admin := w.tokens["admin"]
	stranger := func(want int, method, path string) map[string]any {
		t.Helper()
		got := httptest.NewRecorder()
		w.ServeHTTP(got, httptest.NewRequest(method, path, nil))
		var answer map[string]any
		if err := json.Unmarshal(got.Body.Bytes(), &answer); err != nil || got.Code != want {
			t.Fatalf("%s %s: %d %s, %v; want %d", method, path, got.Code, got.Body, err, want)
		}
		return answer
	}
	plan := &cf.ServicePlan{Name: "free for all", CatalogID: "f", Free: true, VisibilityType: cf.PublicPlan}
	err := w.store.Update(context.Background(), func(tx cf.Tx) error {
		broker := &cf.ServiceBroker{Name: "global", URL: "http://192.0.2.1", Username: "u", Password: "p"}
		if err := tx.Insert(broker); err != nil {
			return err
		}
		offering := &cf.ServiceOffering{BrokerGUID: broker.GUID, Name: "global", CatalogID: "g"}
		if err := tx.Insert(offering); err != nil {
			return err
		}
		plan.OfferingGUID = offering.GUID
		return tx.Insert(plan)
	})
	if err != nil {
		t.Fatal(err)
	}
	plans := stranger(200, "GET", "/v3/service_plans?include=service_offering")
	w.want(plans, "pagination.total_results", 1.0)
	w.want(plans, "resources.0.guid", plan.GUID)
	w.want(stranger(200, "GET", "/v3/service_offerings/"), "pagination.total_results", 1.0)
	w.want(stranger(200, "GET", "/v3/service_plans/"+plan.GUID), "name", "free for all")
	stranger(404, "GET", "/v3/service_plans/"+w.guids["service_plans"])
	stranger(401, "GET", "/v3/service_plans/"+plan.GUID+"/visibility")
	stranger(401, "DELETE", "/v3/service_plans/"+plan.GUID)
	w.do(401, "x.y.z", "GET", "/v3/service_plans", "")
	stranger(400, "GET", "/v3/service_plans?colour=red")
	w.do(200, admin, "PATCH", "/v3/feature_flags/hide_marketplace_from_unauthenticated_users", `{"enabled":true}`)
	stranger(401, "GET", "/v3/service_plans")
	stranger(401, "GET", "/v3/service_offerings")
	w.want(w.do(200, admin, "GET", "/v3/service_plans", ""), "pagination.total_results", 2.0)
}

func TestBrokerLifeCycle(t *testing.T) {
	f, b, admin := newServices(t)
	ann, org, space, _ := f.tenant(admin, "ann")
	path := "/v3/service_brokers/" + at(f.do(200, admin, "GET", "/v3/service_brokers?names=b", ""), "resources.0.guid").(string)
	bad := brokertest.New(t)
	bad.SetCatalog(`{"services":[]}`)
	job := f.finish(b, admin, f.do(202, admin, "POST", "/v3/service_brokers", brokerBodyOf("bad", bad.URL, "")), "FAILED")
	f.want(job, "errors.0.code", 270012.0)
	f.want(f.do(200, admin, "GET", "/v3/service_brokers?names=bad", ""), "pagination.total_results", 0.0)
	f.want(f.do(422, admin, "POST", "/v3/service_brokers", brokerBodyOf("b", b.URL, "")), "errors.0.detail", "Name must be unique")
	f.do(422, admin, "POST", "/v3/service_brokers", brokerBodyOf("x", "ftp://h", ""))
	f.do(422, admin, "POST", "/v3/service_brokers", brokerBodyOf("x", "http://u:p@h", ""))
	wrong := strings.Replace(brokerBodyOf("b", b.URL, ""), brokertest.Password, "wrong", 1)
	job = f.finish(b, admin, f.do(202, admin, "PATCH", path, wrong), "FAILED")
	f.want(job, "errors.0.title", "CF-ServiceBrokerApiAuthenticationFailed")
	f.finish(b, admin, f.do(202, admin, "PATCH", path, `{"name":"b"}`), "COMPLETE") // the right password was kept
	f.want(f.do(200, admin, "PATCH", path, `{"metadata":{"labels":{"a":"b"}}}`), "metadata.labels.a", "b")

	f.finish(b, ann, f.do(202, ann, "POST", "/v3/service_instances", instanceOf("db", space, f.plan(ann, "small"))), "COMPLETE")
	f.do(422, admin, "DELETE", path, "")
	quota := guid(f.do(201, admin, "POST", "/v3/organization_quotas", `{"name":"q","services":{"paid_services_allowed":false,"total_service_instances":1}}`))
	f.do(200, admin, "POST", "/v3/organization_quotas/"+quota+"/relationships/organizations", `{"data":[{"guid":"`+org+`"}]}`)
	f.want(f.do(422, ann, "POST", "/v3/service_instances", instanceOf("paid", space, f.plan(ann, "costly"))), "errors.0.detail",
		"The service instance cannot be created because paid service plans are not allowed for your organization.")
	f.want(f.do(422, ann, "POST", "/v3/service_instances", instanceOf("two", space, f.plan(ann, "small"))), "errors.0.detail", "You have exceeded your organization's services limit.")
	f.do(403, ann, "DELETE", "/v3/service_instances/"+b.Instances()[0]+"?purge=true", "")
	f.do(204, admin, "DELETE", "/v3/service_instances/"+b.Instances()[0]+"?purge=true", "")
	f.do(202, admin, "DELETE", path, "")
	f.want(f.do(200, admin, "GET", "/v3/service_plans", ""), "pagination.total_results", 0.0)
}

func TestUserProvided(t *testing.T) {
	f := newRunning(t)
	admin := f.login("admin", "pw")
	ann, _, space, app := f.tenant(admin, "ann")
	bob, _, _, _ := f.tenant(admin, "bob")
	body := `{"type":"user-provided","name":"logs","credentials":{"a":1},"tags":["t"],"syslog_drain_url":"syslog://192.0.2.1:514","route_service_url":null,"relationships":{` + to("space", space) + `}}`
	i := guid(f.do(201, ann, "POST", "/v3/service_instances", body))
	path := "/v3/service_instances/" + i
	f.want(f.do(200, ann, "GET", path+"/credentials", ""), "a", 1.0)
	f.want(f.do(200, ann, "PATCH", path, `{"credentials":{"b":2}}`), "last_operation.type", "update")
	credentials := f.do(200, ann, "GET", path+"/credentials", "")
	f.want(credentials, "b", 2.0)
	f.want(credentials, "a", nil)
	f.do(400, ann, "GET", path+"/parameters", "")
	f.do(422, ann, "PATCH", path, `{"route_service_url":"https://r"}`)
	f.do(422, ann, "POST", "/v3/service_credential_bindings", `{"type":"key","name":"k","relationships":{`+to("service_instance", i)+`}}`)
	f.do(422, bob, "POST", "/v3/service_credential_bindings", `{"type":"app","relationships":{`+to("app", app)+`,`+to("service_instance", i)+`}}`)
	binding := guid(f.do(201, ann, "POST", "/v3/service_credential_bindings", `{"type":"app","name":"n","relationships":{`+to("app", app)+`,`+to("service_instance", i)+`}}`))
	env := f.do(200, ann, "GET", "/v3/apps/"+app+"/env", "")
	f.want(env, "system_env_json.VCAP_SERVICES.user-provided.0.name", "n")
	f.want(env, "system_env_json.VCAP_SERVICES.user-provided.0.credentials.b", 2.0)
	f.pushed(ann, app)
	if err := f.store.View(context.Background(), func(tx cf.Tx) error {
		p, err := cf.One[cf.Process](tx, cf.Is("app_guid", app), cf.Is("type", "web"))
		if err == nil && !strings.Contains(p.Launch.Env["VCAP_SERVICES"], `"b":2`) {
			t.Errorf("instances are told %s", p.Launch.Env["VCAP_SERVICES"])
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	f.do(422, ann, "DELETE", path, "")
	f.do(204, ann, "DELETE", "/v3/service_credential_bindings/"+binding, "")
	f.do(204, ann, "DELETE", path, "")
}

func TestManifestBindsServices(t *testing.T) {
	f, b, admin := newServices(t)
	ann, _, space, app := f.tenant(admin, "ann")
	f.do(201, ann, "POST", "/v3/service_instances", `{"type":"user-provided","name":"logs","relationships":{`+to("space", space)+`}}`)
	f.finish(b, ann, f.do(202, ann, "POST", "/v3/service_instances", instanceOf("db", space, f.plan(ann, "slow"))), "COMPLETE")
	apply := "/v3/spaces/" + space + "/actions/apply_manifest"
	text := "applications:\n- name: app\n  services:\n  - logs\n  - name: db\n    binding_name: main\n    parameters: {role: reader}\n"
	for range 2 { // again changes nothing
		f.finish(b, ann, f.do(202, ann, "POST", apply, text), "COMPLETE")
	}
	env := f.do(200, ann, "GET", "/v3/apps/"+app+"/env", "")
	f.want(env, "system_env_json.VCAP_SERVICES.postgres.0.name", "main")
	f.want(env, "system_env_json.VCAP_SERVICES.user-provided.0.name", "logs")
	f.do(422, ann, "POST", apply, "applications:\n- name: app\n  services: [nothing]\n")
	f.do(400, ann, "POST", apply, "applications:\n- name: app\n  services: [{name: db, parametres: {}}]\n")
}
