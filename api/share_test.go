package api

import (
	"strings"
	"testing"
)

// grant gives a user a role in a space, and in its organization first.
func (f *foundation) grant(admin, user, role, org, space string) {
	f.t.Helper()
	who := `"user":{"data":{"username":"` + user + `"}},`
	f.send("POST", "/v3/roles", admin, "application/json", []byte(`{"type":"organization_user","relationships":{`+who+to("organization", org)+`}}`)) // he may have it
	f.do(201, admin, "POST", "/v3/roles", `{"type":"`+role+`","relationships":{`+who+to("space", space)+`}}`)
}

func (f *foundation) refused(token, method, path, body, want string) {
	f.t.Helper()
	if got := at(f.do(422, token, method, path, body), "errors.0.detail"); got != want {
		f.t.Errorf("%s %s %s: %q\nwant %q", method, path, body, got, want)
	}
}

func spaces(guids ...string) string {
	return `{"data":[{"guid":"` + strings.Join(guids, `"},{"guid":"`) + `"}]}`
}

// sharing is a service instance of ann's, who may do everything in bob's space
// too, an app of bob's, and eve, who has nothing to do with them.
type sharing struct {
	*foundation
	admin, ann, bob, eve              string
	annSpace, bobSpace, bobOrg, other string // other is a space of ann's that bob does not see
	bobApp, db                        string
}

func TestShareInstance(t *testing.T) {
	f, b, admin := newServices(t)
	s := &sharing{foundation: f, admin: admin}
	var annOrg string
	s.ann, annOrg, s.annSpace, _ = f.tenant(admin, "ann")
	s.bob, s.bobOrg, s.bobSpace, s.bobApp = f.tenant(admin, "bob")
	s.eve, _, _, _ = f.tenant(admin, "eve")
	s.other = guid(f.do(201, admin, "POST", "/v3/spaces", `{"name":"other","relationships":{`+to("organization", annOrg)+`}}`))
	f.grant(admin, "ann", "space_developer", annOrg, s.other)
	f.finish(b, s.ann, f.do(202, s.ann, "POST", "/v3/service_instances", instanceOf("db", s.annSpace, f.plan(s.ann, "small"))), "COMPLETE")
	s.db = b.Instances()[0]
	path := "/v3/service_instances/" + s.db + "/relationships/shared_spaces"

	for _, token := range []string{s.ann, admin} {
		f.want(f.do(403, token, "POST", path, spaces(s.bobSpace)), "errors.0.detail", "Feature Disabled: service_instance_sharing")
	}
	f.do(200, admin, "PATCH", "/v3/feature_flags/service_instance_sharing", `{"enabled":true}`)
	s.whoMayShare(path)
	f.do(200, s.ann, "POST", path, spaces(s.bobSpace, s.other))
	f.refused(s.ann, "POST", path, spaces(s.bobSpace), "A service instance called db has already been shared with dev.")
	s.whatTheOtherMay(path)

	binding := `{"type":"app","relationships":{` + to("app", s.bobApp) + `,` + to("service_instance", s.db) + `}}`
	f.finish(b, s.bob, f.do(202, s.bob, "POST", "/v3/service_credential_bindings", binding), "COMPLETE")
	f.finish(b, s.bob, f.do(202, s.bob, "POST", "/v3/spaces/"+s.bobSpace+"/actions/apply_manifest", "applications: [{name: app, services: [db]}]"), "COMPLETE")
	asked := b.Binding(b.Bindings()[0])
	f.want(asked, "bind_resource.space_guid", s.bobSpace)
	f.want(asked, "context.space_guid", s.annSpace)
	f.want(f.do(200, s.bob, "GET", "/v3/apps/"+s.bobApp+"/env", ""), "system_env_json.VCAP_SERVICES.postgres.0.instance_guid", s.db)
	f.want(f.do(200, s.bob, "GET", "/v3/service_credential_bindings?include=service_instance", ""), "included.service_instances.0.name", "db")
	summary := f.do(200, s.ann, "GET", path+"/usage_summary", "")
	f.want(summary, "usage_summary.0.bound_app_count", 1.0)
	f.want(summary, "usage_summary.1.bound_app_count", 0.0)

	instance := "/v3/service_instances/" + s.db
	f.want(f.do(422, s.ann, "PATCH", instance, `{"name":"renamed"}`), "errors.0.code", 390003.0)
	f.want(f.do(422, s.ann, "DELETE", instance, ""), "errors.0.code", 390002.0)
	f.want(f.do(200, s.ann, "PATCH", instance, `{"name":"db","tags":["t"]}`), "tags.0", "t")

	f.do(204, s.ann, "DELETE", path+"/"+s.bobSpace, "")
	b.Wait("the broker takes the binding back", func() bool { return len(b.Bindings()) == 0 })
	f.want(f.do(200, s.bob, "GET", "/v3/service_credential_bindings", ""), "pagination.total_results", 0.0)
	f.do(404, s.bob, "GET", instance, "")
	f.refused(s.bob, "POST", "/v3/service_credential_bindings", binding, "The service instance could not be found: '"+s.db+"'")
	for _, space := range []string{s.bobSpace, "none"} {
		f.refused(s.ann, "DELETE", path+"/"+space, "", "Unable to unshare service instance from space "+space+". Ensure the space exists and the service instance has been shared to this space.")
	}
	f.do(204, s.ann, "DELETE", path+"/"+s.other, "")
	f.finish(b, s.ann, f.do(202, s.ann, "DELETE", instance, ""), "COMPLETE")
	f.want(f.do(200, admin, "GET", "/v3/audit_events?types=audit.service_instance.share,audit.service_instance.unshare", ""), "pagination.total_results", 3.0)
}

// whoMayShare: ann shares with spaces where she is a developer, which may use the
// plan and have no instance of that name.
func (s *sharing) whoMayShare(path string) {
	s.t.Helper()
	f, ann := s.foundation, s.ann
	for _, space := range []string{s.bobSpace, "none"} { // bob's space is as absent as one that there is not
		f.refused(ann, "POST", path, spaces(space), "Unable to share service instance db with spaces ['"+space+"']. Ensure the spaces exist and that you have access to them.")
	}
	f.do(404, s.eve, "POST", path, spaces(s.bobSpace))
	f.do(404, s.bob, "POST", path, spaces(s.bobSpace))
	f.grant(s.admin, "ann", "space_auditor", s.bobOrg, s.bobSpace)
	const write = "Unable to share service instance db with spaces ['%s']. Write permission is required in order to share a service instance with a space."
	f.refused(ann, "POST", path, spaces(s.bobSpace), strings.ReplaceAll(write, "%s", s.bobSpace))
	f.grant(s.admin, "ann", "space_developer", s.bobOrg, s.bobSpace)
	f.do(200, s.admin, "PATCH", "/v3/organizations/"+s.bobOrg, `{"suspended":true}`)
	f.refused(ann, "POST", path, spaces(s.bobSpace), strings.ReplaceAll(write, "%s", s.bobSpace))
	f.do(200, s.admin, "PATCH", "/v3/organizations/"+s.bobOrg, `{"suspended":false}`)
	f.refused(ann, "POST", path, `{"data":[]}`, "Data can't be blank")
	f.refused(ann, "POST", path, spaces(s.annSpace), "Unable to share service instance 'db' with space '"+s.annSpace+"'. Service instances cannot be shared into the space where they were created.")

	provided := guid(f.do(201, s.bob, "POST", "/v3/service_instances", `{"type":"user-provided","name":"db","relationships":{`+to("space", s.bobSpace)+`}}`))
	f.refused(ann, "POST", path, spaces(s.bobSpace), "A service instance called db already exists in dev.")
	f.refused(s.admin, "POST", "/v3/service_instances/"+provided+"/relationships/shared_spaces", spaces(s.annSpace), "User-provided services cannot be shared.")
	f.do(204, s.bob, "DELETE", "/v3/service_instances/"+provided, "")

	plan := "/v3/service_plans/" + f.plan(ann, "small") + "/visibility"
	f.do(200, s.admin, "PATCH", plan, `{"type":"admin"}`)
	f.refused(ann, "POST", path, spaces(s.bobSpace), "Access to service postgres and plan small is not enabled in bob/dev.")
	f.do(200, s.admin, "PATCH", plan, `{"type":"public"}`)
}

// whatTheOtherMay: bob sees the instance and where it is from, not with whom else
// it is shared, and may change nothing of it.
func (s *sharing) whatTheOtherMay(path string) {
	s.t.Helper()
	f, bob := s.foundation, s.bob
	instance := "/v3/service_instances/" + s.db
	fields := "?fields%5Bspace%5D=guid,name,relationships.organization&fields%5Bspace.organization%5D=guid,name"
	f.want(f.do(200, bob, "GET", instance+fields, ""), "included.organizations.0.name", "ann")
	f.want(f.do(200, bob, "GET", "/v3/service_instances?names=db&space_guids="+s.bobSpace, ""), "resources.0.guid", s.db)
	f.want(f.do(200, bob, "GET", "/v3/service_instances?organization_guids="+s.bobOrg, ""), "resources.0.guid", s.db)
	f.want(f.do(200, bob, "GET", instance+"/permissions", ""), "manage", false)
	f.want(f.do(200, bob, "GET", instance+"/permissions", ""), "read", true)
	seen := f.do(200, bob, "GET", path, "")
	f.want(seen, "data.0.guid", s.bobSpace)
	f.want(seen, "data.1.guid", nil)
	f.want(f.do(200, bob, "GET", path+"/usage_summary", ""), "usage_summary.1", nil)
	all := f.do(200, s.ann, "GET", path+fields, "")
	f.want(all, "data.1.guid", s.other)
	if at(all, "included.spaces.1.name") == nil || at(all, "included.organizations.1.name") == nil {
		f.t.Errorf("the owner is told %v", all["included"])
	}
	for _, c := range []string{"PATCH " + instance, "DELETE " + instance, "POST " + path, "DELETE " + path + "/" + s.bobSpace, "GET " + instance + "/parameters"} {
		method, p, _ := strings.Cut(c, " ")
		f.do(403, bob, method, p, `{"name":"mine"}`)
		f.do(404, s.eve, method, p, `{"name":"mine"}`)
	}
	f.do(403, bob, "POST", "/v3/service_credential_bindings", `{"type":"key","name":"k","relationships":{`+to("service_instance", s.db)+`}}`)
	f.refused(bob, "POST", "/v3/service_instances", `{"type":"user-provided","name":"db","relationships":{`+to("space", s.bobSpace)+`}}`, "The service instance name is taken: db.")
	f.want(f.do(200, s.eve, "GET", "/v3/service_instances?space_guids="+s.bobSpace, ""), "pagination.total_results", 0.0)
}

// TestOwnersSpaceGoes: with the space that made an instance go the bindings that
// other spaces have, at the broker too.
func TestOwnersSpaceGoes(t *testing.T) {
	f, b, admin := newServices(t)
	ann, _, annSpace, _ := f.tenant(admin, "ann")
	bob, bobOrg, bobSpace, app := f.tenant(admin, "bob")
	f.grant(admin, "ann", "space_developer", bobOrg, bobSpace)
	f.do(200, admin, "PATCH", "/v3/feature_flags/service_instance_sharing", `{"enabled":true}`)
	f.finish(b, ann, f.do(202, ann, "POST", "/v3/service_instances", instanceOf("db", annSpace, f.plan(ann, "small"))), "COMPLETE")
	f.do(200, ann, "POST", "/v3/service_instances/"+b.Instances()[0]+"/relationships/shared_spaces", spaces(bobSpace))
	f.finish(b, bob, f.do(202, bob, "POST", "/v3/service_credential_bindings", `{"type":"app","relationships":{`+to("app", app)+`,`+to("service_instance", b.Instances()[0])+`}}`), "COMPLETE")
	f.do(202, admin, "DELETE", "/v3/spaces/"+annSpace, "")
	b.Wait("the broker has nothing left", func() bool { return len(b.Instances())+len(b.Bindings()) == 0 })
	f.want(f.do(200, bob, "GET", "/v3/apps/"+app+"/env", ""), "system_env_json.VCAP_SERVICES.postgres", nil)
}

func TestShareRoute(t *testing.T) {
	f := newFoundation(t)
	admin := f.login("admin", "pw")
	ann, annOrg, annSpace, annApp := f.tenant(admin, "ann")
	bob, bobOrg, bobSpace, bobApp := f.tenant(admin, "bob")
	eve, _, eveSpace, _ := f.tenant(admin, "eve")
	domain := f.domain(ann, annOrg)
	r := f.route(ann, "h", annSpace, domain)
	route := "/v3/routes/" + r
	path, mapping := route+"/relationships/shared_spaces", route+"/destinations"
	dest := func(app string) string { return `{"destinations":[{"app":{"guid":"` + app + `"}}]}` }
	gone := func(app string) string {
		return `App(s) with guid(s) "` + app + `" do not exist or you do not have access.`
	}

	for _, token := range []string{ann, admin} {
		f.want(f.do(403, token, "POST", path, spaces(bobSpace)), "errors.0.detail", "Feature Disabled: route_sharing")
	}
	f.do(200, admin, "PATCH", "/v3/feature_flags/route_sharing", `{"enabled":true}`)
	for _, space := range []string{bobSpace, "none"} {
		f.refused(ann, "POST", path, spaces(space), "Unable to share route h.apps.test with spaces ['"+space+"']. Ensure the spaces exist and that you have access to them.")
		f.refused(ann, "DELETE", path+"/"+space, "", "Unable to unshare route 'h.apps.test' from space '"+space+"'. Ensure the space exists and that you have access to it.")
	}
	f.refused(ann, "POST", mapping, dest(bobApp), gone(bobApp))
	f.refused(ann, "POST", mapping, dest("none"), gone("none"))
	f.grant(admin, "ann", "space_auditor", bobOrg, bobSpace)
	f.refused(ann, "POST", path, spaces(bobSpace), "Unable to share route h.apps.test with spaces ['"+bobSpace+"']. Write permission is required in order to share a route with a space and the containing organization must not be suspended.")
	f.refused(ann, "DELETE", path+"/"+bobSpace, "", "Unable to unshare route 'h.apps.test' from space '"+bobSpace+"'. You don't have write permission for the target space.")
	f.refused(ann, "POST", mapping, dest(bobApp), "Routes destinations must be in either the route's space or the route's shared spaces. Map another route to the app.")
	f.grant(admin, "ann", "space_developer", bobOrg, bobSpace)
	f.refused(ann, "POST", path, spaces(annSpace), "Unable to share route 'h.apps.test' with space '"+annSpace+"'. Routes cannot be shared into the space where they were created.")
	f.do(404, bob, "GET", route, "")
	f.want(f.do(200, ann, "POST", path, spaces(bobSpace)), "data.0.guid", bobSpace)
	f.want(f.do(200, ann, "POST", path, spaces(bobSpace)), "data.1.guid", nil) // again is no error

	f.want(f.do(200, bob, "GET", "/v3/routes?space_guids="+bobSpace, ""), "resources.0.guid", r)
	f.want(f.do(200, bob, "GET", path, ""), "data.0.guid", bobSpace)
	f.do(200, ann, "POST", mapping, dest(annApp))
	f.do(200, bob, "POST", mapping, dest(bobApp))
	f.refused(bob, "POST", mapping, dest(annApp), gone(annApp))
	f.want(f.do(200, bob, "GET", mapping+"?app_guids="+annApp, ""), "destinations.0", nil) // he does not see her app
	f.want(f.do(200, bob, "GET", route, ""), "destinations.0.app.guid", bobApp)
	f.want(f.do(200, bob, "GET", route, ""), "destinations.1", nil)
	f.want(f.do(200, ann, "GET", route, ""), "destinations.1.app.guid", bobApp)
	of := func(app string) string {
		t.Helper()
		return mapping + "/" + at(f.do(200, ann, "GET", mapping+"?app_guids="+app, ""), "destinations.0.guid").(string)
	}
	f.do(200, bob, "PATCH", of(bobApp), `{"protocol":"http2"}`)
	for _, c := range []string{"PATCH " + route, "DELETE " + route, "POST " + path, "DELETE " + path + "/" + bobSpace, "PATCH " + mapping, "DELETE " + of(annApp), "PATCH " + of(annApp), "PATCH " + route + "/relationships/space"} {
		method, p, _ := strings.Cut(c, " ")
		f.do(403, bob, method, p, `{}`)
		f.do(404, eve, method, p, `{}`)
	}
	f.do(204, bob, "DELETE", of(bobApp), "")
	apply := "/v3/spaces/" + bobSpace + "/actions/apply_manifest"
	f.do(202, bob, "POST", apply, "applications: [{name: app, routes: [{route: h.apps.test}]}]")
	f.refused(bob, "POST", apply, "applications: [{name: app, routes: [{route: h.apps.test, options: {loadbalancing: least-connection}}]}]",
		"For application 'app': The route 'h.apps.test' is shared with this space: its options are set in the space that owns it")
	f.do(422, eve, "POST", "/v3/spaces/"+eveSpace+"/actions/apply_manifest", "applications: [{name: app, routes: [{route: h.apps.test}]}]")
	f.want(f.do(200, bob, "GET", "/v3/apps/"+bobApp+"/routes", ""), "resources.0.guid", r)

	f.do(204, ann, "DELETE", path+"/"+bobSpace, "")
	f.do(404, bob, "GET", route, "")
	left := f.do(200, ann, "GET", mapping, "")
	f.want(left, "destinations.0.app.guid", annApp)
	f.want(left, "destinations.1", nil) // who may no longer use the address no longer answers for it
	f.do(204, ann, "DELETE", path+"/"+bobSpace, "")
	f.refused(ann, "DELETE", path+"/"+annSpace, "", "Unable to unshare route 'h.apps.test' from space '"+annSpace+"'. Routes cannot be removed from the space that owns them.")
}

func TestMoveRoute(t *testing.T) {
	f := newFoundation(t)
	admin := f.login("admin", "pw")
	ann, annOrg, annSpace, annApp := f.tenant(admin, "ann")
	bob, bobOrg, bobSpace, bobApp := f.tenant(admin, "bob")
	domain := f.domain(ann, annOrg)
	make := func(token, host, space, domain string) string {
		return "/v3/routes/" + f.route(token, host, space, domain)
	}
	route := make(ann, "h", annSpace, domain)
	f.do(200, ann, "POST", route+"/destinations", `{"destinations":[{"app":{"guid":"`+annApp+`"}}]}`)
	move, target := route+"/relationships/space", `{"data":{"guid":"`+bobSpace+`"}}`
	f.want(f.do(403, admin, "PATCH", move, target), "errors.0.detail", "Feature Disabled: route_sharing")
	f.do(200, admin, "PATCH", "/v3/feature_flags/route_sharing", `{"enabled":true}`)
	what := "Unable to transfer owner of route 'h.apps.test' to space '" + bobSpace + "'."
	f.refused(ann, "PATCH", move, target, what+" Ensure the space exists and that you have access to it.")
	f.do(404, bob, "PATCH", move, target)
	f.grant(admin, "ann", "space_auditor", bobOrg, bobSpace)
	f.refused(ann, "PATCH", move, target, what+" You don't have write permission for the target space.")
	f.grant(admin, "ann", "space_developer", bobOrg, bobSpace)
	f.do(200, admin, "PATCH", "/v3/organizations/"+bobOrg, `{"suspended":true}`)
	f.refused(ann, "PATCH", move, target, what+" The target organization or space is suspended.")
	f.do(200, admin, "PATCH", "/v3/organizations/"+bobOrg, `{"suspended":false}`)

	private := guid(f.do(201, admin, "POST", "/v3/domains", `{"name":"ann.test","relationships":{`+to("organization", annOrg)+`}}`))
	f.refused(ann, "PATCH", make(ann, "h", annSpace, private)+"/relationships/space", target,
		"Unable to transfer owner of route 'h.ann.test' to space '"+bobSpace+"'. Target space does not have access to route's domain")
	quota := guid(f.do(201, admin, "POST", "/v3/space_quotas", `{"name":"q","routes":{"total_routes":0},"relationships":{`+to("organization", bobOrg)+`,"spaces":{"data":[{"guid":"`+bobSpace+`"}]}}}`))
	f.refused(ann, "PATCH", move, target, "Routes quota exceeded for space 'dev'.")
	f.do(202, admin, "DELETE", "/v3/space_quotas/"+quota, "")

	f.do(200, ann, "POST", route+"/relationships/shared_spaces", spaces(bobSpace))
	for range 2 { // again changes nothing
		f.do(200, ann, "PATCH", move, target)
		f.want(f.do(200, bob, "GET", route, ""), "relationships.space.data.guid", bobSpace)
		shared := f.do(200, bob, "GET", route+"/relationships/shared_spaces", "")
		f.want(shared, "data.0.guid", annSpace)
		f.want(shared, "data.1", nil)
	}
	f.want(f.do(200, ann, "GET", route+"/destinations", ""), "destinations.0.app.guid", annApp)
	f.do(200, bob, "POST", route+"/destinations", `{"destinations":[{"app":{"guid":"`+bobApp+`"}}]}`)
	f.do(202, bob, "DELETE", route, "")
	f.want(f.do(200, admin, "GET", "/v3/audit_events?types=audit.route.transfer-owner", ""), "pagination.total_results", 1.0)
}
