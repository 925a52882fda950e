package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/dewpaas/dew/cf"
)

// said is what an answer of the API says went wrong.
func said(t *testing.T, text []byte) string {
	t.Helper()
	var b struct{ Errors []struct{ Detail string } }
	if err := json.Unmarshal(text, &b); err != nil || len(b.Errors) == 0 {
		t.Fatalf("%s is no error: %v", text, err)
	}
	return b.Errors[0].Detail
}

// at0 is the guid of the first record of a list.
func at0(list map[string]any) string {
	return guid(list["resources"].([]any)[0].(map[string]any))
}

// TestHostsOfOthers: a tenant cannot make itself the one who answers for the
// API, for another tenant's host or for everybody's.
func TestHostsOfOthers(t *testing.T) {
	f := foundationWith(t, func(c *Config) { c.URL = "https://cf.example.test:8443" })
	admin := f.login("admin", "pw")
	ann, _, annSpace, _ := f.tenant(admin, "ann")
	bob, bobOrg, bobSpace, _ := f.tenant(admin, "bob")
	f.do(201, admin, "POST", "/v3/roles", `{"type":"organization_manager","relationships":{"user":{"data":{"username":"bob"}},`+to("organization", bobOrg)+`}}`)
	shared := f.domain(bob, bobOrg)
	at := func(space, domain, host, path string) string {
		return `{"host":"` + host + `","path":"` + path + `","relationships":{` + to("space", space) + `,` + to("domain", domain) + `}}`
	}
	own := func(name string) string {
		return `{"name":"` + name + `","relationships":{` + to("organization", bobOrg) + `}}`
	}
	f.do(201, ann, "POST", "/v3/routes", at(annSpace, shared, "shop", ""))
	f.do(201, ann, "POST", "/v3/routes", at(annSpace, shared, "blog", "/new"))
	f.do(201, ann, "POST", "/v3/routes", at(annSpace, shared, "shop", "/mine"))
	f.do(201, admin, "POST", "/v3/domains", `{"name":"team.apps.test"}`)
	internal := at0(f.do(200, bob, "GET", "/v3/domains?names=apps.internal", ""))
	f.do(201, ann, "POST", "/v3/routes", at(annSpace, internal, "db", ""))
	for _, c := range []struct{ say, path, body, want string }{
		{"the API by its usual name", "routes", at(bobSpace, shared, "api", ""), "reserved system route"},
		{"a path of it", "routes", at(bobSpace, shared, "API", "/oauth"), "reserved system route"},
		{"every host", "routes", at(bobSpace, shared, "*", ""), "sufficient permissions"},
		{"a path of another's host", "routes", at(bobSpace, shared, "shop", "/login"), "reserved for another space"},
		{"the top of another's host", "routes", at(bobSpace, shared, "blog", ""), "reserved for another space"},
		{"a host below another's", "routes", at(bobSpace, shared, "www.shop", ""), "reserved for another space"},
		{"an instance of another's app", "routes", at(bobSpace, internal, "0.db", ""), "reserved for another space"},
		{"a host of a longer domain", "routes", at(bobSpace, shared, "x.team", ""), "host is taken"},
		{"the longer domain", "routes", at(bobSpace, shared, "team", ""), "host is taken"},
		{"the domain of the API", "domains", own("cf.example.test"), "platform's own"},
		{"the domain above it", "domains", own("example.test"), "platform's own"},
		{"an address", "domains", own("192.0.2.1"), "RFC 1035"},
		{"what is read as one", "domains", own("a.2130706433"), "RFC 1035"},
	} {
		w := f.send("POST", "/v3/"+c.path, bob, "application/json", []byte(c.body))
		if w.Code != 422 || !strings.Contains(said(t, w.Body.Bytes()), c.want) {
			t.Errorf("%s: %d %s, want %q", c.say, w.Code, w.Body, c.want)
		}
	}
	f.do(201, bob, "POST", "/v3/routes", at(bobSpace, shared, "other", "/login"))
	f.do(201, bob, "POST", "/v3/routes", at(bobSpace, shared, "www.other", ""))
	f.do(201, admin, "POST", "/v3/routes", at(bobSpace, shared, "*", ""))
	mine := guid(f.do(201, bob, "POST", "/v3/domains", own("bob.test")))
	for _, host := range []string{"*", "", "deep.er"} {
		f.do(201, bob, "POST", "/v3/routes", at(bobSpace, mine, host, ""))
	}
	f.do(422, bob, "POST", "/v3/spaces/"+bobSpace+"/actions/apply_manifest", "applications:\n- name: bob\n  routes:\n  - route: shop.apps.test/login\n")
	for _, host := range []string{"cf.example.test", "api.apps.test"} {
		if !f.api.Hosts()[host] {
			t.Errorf("%s is not the API's", host)
		}
	}
}

// TestTaskOfAnothersDroplet: a task runs droplets that its creator may have.
func TestTaskOfAnothersDroplet(t *testing.T) {
	f := newRunning(t)
	admin := f.login("admin", "pw")
	_, _, annSpace, annApp := f.tenant(admin, "ann")
	bob, _, bobSpace, bobApp := f.tenant(admin, "bob")
	droplets := map[string]string{}
	err := f.store.Update(t.Context(), func(tx cf.Tx) error {
		for app, space := range map[string]string{annApp: annSpace, bobApp: bobSpace} {
			d := &cf.Droplet{AppGUID: app, SpaceGUID: space, State: "STAGED", Checksum: strings.Repeat("a", 64)}
			if err := tx.Insert(d); err != nil {
				return err
			}
			droplets[app] = d.GUID
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	task := func(droplet string) string { return `{"command":"x","droplet_guid":"` + droplet + `"}` }
	f.do(404, bob, "POST", "/v3/apps/"+bobApp+"/tasks", task(droplets[annApp]))
	f.do(202, bob, "POST", "/v3/apps/"+bobApp+"/tasks", task(droplets[bobApp]))
}
