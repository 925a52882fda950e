package api

import (
	"fmt"
	"testing"
)

// TestDestinationProtocol: the protocol of a destination changes without its guid,
// and only to what the router speaks.
func TestDestinationProtocol(t *testing.T) {
	f := newFoundation(t)
	token, org, space, app := f.tenant(f.login("admin", "pw"), "ann")
	domain := f.domain(token, org)
	route := f.route(token, "h", space, domain)
	one := f.do(200, token, "POST", "/v3/routes/"+route+"/destinations", `{"destinations":[{"app":{"guid":"`+app+`"}}]}`)
	path := "/v3/routes/" + route + "/destinations/" + at(one, "destinations.0.guid").(string)
	f.want(f.do(200, token, "PATCH", path, `{"protocol":"http2"}`), "protocol", "http2")
	f.do(422, token, "PATCH", path, `{"protocol":"gopher"}`)
	f.want(f.do(200, token, "GET", "/v3/routes?hosts=H&domain_guids="+domain, ""), "resources.0.guid", route)
	f.want(f.do(200, token, "GET", "/v3/domains?names=APPS.Test", ""), "resources.0.guid", domain)
	f.do(422, token, "PATCH", "/v3/routes/"+route+"/destinations/none", `{"protocol":"http1"}`)
	f.want(f.do(200, token, "GET", "/v3/routes/"+route+"/destinations", ""), "destinations.0.protocol", "http2")
	f.want(f.do(200, token, "GET", "/v3/domains/"+domain+"/route_reservations?host=h&page=1&per_page=50", ""), "matching_route", true)
}

// TestAuditorsSeeRoutes: of what is in a space an auditor of its organization sees
// the routes, may change none, and sees nothing else.
func TestAuditorsSeeRoutes(t *testing.T) {
	f := newFoundation(t)
	admin := f.login("admin", "pw")
	token, org, space, app := f.tenant(admin, "ann")
	_, other, _, _ := f.tenant(admin, "bob")
	domain := f.domain(token, org)
	route := f.route(token, "h", space, domain)
	auditor := func(name, org string) string {
		user, _ := f.do(201, admin, "POST", "/Users", `{"userName":"`+name+`","password":"pw"}`)["id"].(string)
		f.do(201, admin, "POST", "/v3/users", `{"guid":"`+user+`"}`)
		f.do(201, admin, "POST", "/v3/roles", `{"type":"organization_auditor","relationships":{`+to("user", user)+`,`+to("organization", org)+`}}`)
		return f.login(name, "pw")
	}
	own, stranger := auditor("olga", org), auditor("otto", other)
	f.want(f.do(200, own, "GET", "/v3/routes", ""), "resources.0.guid", route)
	f.want(f.do(200, own, "GET", "/v3/routes/"+route, ""), "host", "h")
	f.do(200, own, "GET", "/v3/routes/"+route+"/destinations", "")
	f.do(403, own, "PATCH", "/v3/routes/"+route, `{}`)
	f.do(403, own, "DELETE", "/v3/routes/"+route, "")
	f.do(404, own, "GET", "/v3/apps/"+app, "")
	f.do(404, own, "GET", "/v3/spaces/"+space, "")
	f.want(f.do(200, stranger, "GET", "/v3/routes", ""), "pagination.total_results", 0.0)
	f.do(404, stranger, "GET", "/v3/routes/"+route, "")
	f.do(404, stranger, "DELETE", "/v3/routes/"+route, "")
}

// TestClientsGetRoles: a client of the UAA works in an organization like a user.
func TestClientsGetRoles(t *testing.T) {
	f := newFoundation(t)
	admin := f.login("admin", "pw")
	org := guid(f.do(201, admin, "POST", "/v3/organizations", `{"name":"o"}`))
	f.do(201, admin, "POST", "/oauth/clients", `{"client_id":"robot","client_secret":"s3cret","authorized_grant_types":["client_credentials"],"authorities":["cloud_controller.read","cloud_controller.write"]}`)
	role := func(user string) string {
		return `{"type":"organization_manager","relationships":{` + to("user", user) + `,` + to("organization", org) + `}}`
	}
	f.do(422, admin, "POST", "/v3/roles", role("nobody"))
	f.do(201, admin, "POST", "/v3/roles", role("robot"))
	f.want(f.do(200, admin, "GET", "/v3/users?guids=robot", ""), "resources.0.presentation_name", "robot")
}

// TestBalancingByHash is a route option when its flag is on, in routes and manifests.
func TestBalancingByHash(t *testing.T) {
	f := newFoundation(t)
	admin := f.login("admin", "pw")
	token, _, space, app := f.tenant(admin, "ann")
	apply := "/v3/spaces/" + space + "/actions/apply_manifest"
	manifest := "applications:\n- name: app\n  routes:\n  - route: h.apps.test\n    options: {loadbalancing: hash, hash_header: X-Tenant, hash_balance: 1.26}\n"
	f.do(422, token, "POST", apply, manifest)
	f.do(200, admin, "PATCH", "/v3/feature_flags/hash_based_routing", `{"enabled":true}`)
	f.do(202, token, "POST", apply, manifest)
	route := f.do(200, token, "GET", "/v3/apps/"+app+"/routes", "")["resources"].([]any)[0].(map[string]any)
	options := func(m map[string]any) string { return fmt.Sprint(m["options"]) }
	if got := options(route); got != "map[hash_balance:1.3 hash_header:X-Tenant loadbalancing:hash]" {
		t.Errorf("of the manifest: %s", got)
	}
	patch := "/v3/routes/" + route["guid"].(string)
	for body, want := range map[string]string{
		`{"loadbalancing":"hash","hash_header":null}`:              "Hash header must be present when loadbalancing is set to hash.",
		`{"hash_header":"a b"}`:                                    "Hash header must be the name of a header",
		`{"hash_balance":"1.05"}`:                                  "Hash balance must be either 0 or between 1.1 and 10.0",
		`{"hash_balance":"much"}`:                                  "Hash balance must be a numeric value of at most 16 characters",
		`{"hash_balance":"NaN"}`:                                   "Hash balance must be either 0 or between 1.1 and 10.0",
		`{"loadbalancing":"round-robin","hash_header":"X-Tenant"}`: "Hash header can only be set when loadbalancing is hash",
		`{"loadbalancing":"dice"}`:                                 "Loadbalancing must be one of 'round-robin, least-connection, hash' if present",
		`{"colour":"red"}`:                                         "Options can only be 'loadbalancing', 'hash_header', 'hash_balance'",
	} {
		got := f.do(422, token, "PATCH", patch, `{"options":`+body+`}`)
		if detail := got["errors"].([]any)[0].(map[string]any)["detail"]; detail != want {
			t.Errorf("%s: %q, want %q", body, detail, want)
		}
	}
	for _, step := range []struct{ body, want string }{
		{`{"hash_balance":2}`, "map[hash_balance:2.0 hash_header:X-Tenant loadbalancing:hash]"},
		{`{"hash_balance":null}`, "map[hash_header:X-Tenant loadbalancing:hash]"},
		{`{"loadbalancing":"least-connection"}`, "map[loadbalancing:least-connection]"},
		{`{"loadbalancing":null}`, "map[]"},
	} {
		if got := options(f.do(200, token, "PATCH", patch, `{"options":`+step.body+`}`)); got != step.want {
			t.Errorf("%s: %s, want %s", step.body, got, step.want)
		}
	}
}

// TestFilters: parameters that clients know find what they should, and nothing else.
func TestFilters(t *testing.T) {
	f := newFoundation(t)
	admin := f.login("admin", "pw")
	token, org, space, app := f.tenant(admin, "ann")
	domain := f.domain(token, org)
	route := guid(f.do(201, token, "POST", "/v3/routes", `{"host":"h","port":0,"relationships":{`+to("space", space)+`,`+to("domain", domain)+`}}`))
	f.do(422, token, "POST", "/v3/routes", `{"host":"h2","port":1024,"relationships":{`+to("space", space)+`,`+to("domain", domain)+`}}`)
	d := at(f.do(200, token, "POST", "/v3/routes/"+route+"/destinations", `{"destinations":[{"app":{"guid":"`+app+`"}},{"app":{"guid":"`+app+`","process":{"type":"worker"}}}]}`), "destinations.0.guid").(string)
	f.want(f.do(200, token, "GET", "/v3/routes?ports=0,1024", ""), "pagination.total_results", 0.0)
	f.want(f.do(200, token, "GET", "/v3/routes?service_instance_guids=none", ""), "pagination.total_results", 0.0)
	destinations := "/v3/routes/" + route + "/destinations"
	f.want(f.do(200, token, "GET", destinations+"?guids="+d, ""), "destinations.0.guid", d)
	f.want(f.do(200, token, "GET", destinations+"?guids="+d, ""), "destinations.#", 1.0)
	f.want(f.do(200, token, "GET", destinations+"?app_guids=none", ""), "destinations.#", 0.0)
	f.want(f.do(200, token, "GET", destinations+"?app_guids="+app, ""), "destinations.#", 2.0)

	created := "/v3/audit_events?types=audit.app.create&space_guids=" + space
	f.want(f.do(200, token, "GET", created+"&target_guids="+app, ""), "pagination.total_results", 1.0)
	f.want(f.do(200, token, "GET", created+"&target_guids[not]="+app, ""), "pagination.total_results", 0.0)
	f.want(f.do(200, token, "GET", created+"&target_guids[not]=other", ""), "pagination.total_results", 1.0)

	f.want(f.do(200, token, "GET", "/v3/deployments?states=DEPLOYED", ""), "pagination.total_results", 0.0)
	f.do(400, token, "GET", "/v3/apps/"+app+"/revisions?deployable=perhaps", "")
	f.want(f.do(200, token, "GET", "/v3/apps/"+app+"/revisions?deployable=true", ""), "pagination.total_results", 0.0)
	f.want(f.do(200, token, "GET", "/v3/apps/"+app+"/processes/web?embed=process_instances", ""), "process_instances.#", 0.0)
	f.do(400, token, "GET", "/v3/apps/"+app+"/processes/web?embed=all", "")
	web := guid(f.do(200, token, "GET", "/v3/apps/"+app+"/processes/web", ""))
	f.do(202, token, "POST", "/v3/processes/"+web+"/actions/scale", `{"instances":2}`)
	down := f.do(200, token, "GET", "/v3/processes/"+web+"/process_instances", "")
	f.want(down, "resources.#", 2.0)
	f.want(down, "resources.1.state", "DOWN")
}

// TestSharedDomains: a domain is shared as often as one likes, and stays while it is.
func TestSharedDomains(t *testing.T) {
	f := newFoundation(t)
	admin := f.login("admin", "pw")
	_, org, _, _ := f.tenant(admin, "ann")
	_, other, _, _ := f.tenant(admin, "bob")
	domain := guid(f.do(201, admin, "POST", "/v3/domains", `{"name":"shared.example","relationships":{`+to("organization", org)+`}}`))
	shares := "/v3/domains/" + domain + "/relationships/shared_organizations"
	for range 2 {
		f.do(200, admin, "POST", shares, `{"data":[{"guid":"`+other+`"}]}`)
	}
	f.want(f.do(200, admin, "GET", "/v3/domains/"+domain, ""), "relationships.shared_organizations.data.#", 1.0)
	f.do(422, admin, "DELETE", "/v3/domains/"+domain, "")
	f.do(204, admin, "DELETE", shares+"/"+other, "")
	f.do(202, admin, "DELETE", "/v3/domains/"+domain, "")
}
