package api

import "testing"

// TestDestinationProtocol: the protocol of a destination changes without its guid,
// and only to what the router speaks.
func TestDestinationProtocol(t *testing.T) {
	f := newFoundation(t)
	token, org, space, app := f.tenant(f.login("admin", "pw"), "ann")
	domain := guid(f.do(200, token, "GET", "/v3/organizations/"+org+"/domains/default", ""))
	route := guid(f.do(201, token, "POST", "/v3/routes", `{"host":"h","relationships":{`+to("space", space)+`,`+to("domain", domain)+`}}`))
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
	domain := guid(f.do(200, token, "GET", "/v3/organizations/"+org+"/domains/default", ""))
	route := guid(f.do(201, token, "POST", "/v3/routes", `{"host":"h","relationships":{`+to("space", space)+`,`+to("domain", domain)+`}}`))
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
