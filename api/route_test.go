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
	f.do(422, token, "PATCH", "/v3/routes/"+route+"/destinations/none", `{"protocol":"http1"}`)
	f.want(f.do(200, token, "GET", "/v3/routes/"+route+"/destinations", ""), "destinations.0.protocol", "http2")
	f.want(f.do(200, token, "GET", "/v3/domains/"+domain+"/route_reservations?host=h&page=1&per_page=50", ""), "matching_route", true)
}
