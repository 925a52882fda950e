package api

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestManifestDiff(t *testing.T) {
	f := newFoundation(t)
	token, _, space, _ := f.tenant(f.login("admin", "pw"), "ann")
	f.do(202, token, "POST", "/v3/spaces/"+space+"/actions/apply_manifest", `applications:
- name: app
  memory: 1G
  env: {A: "1", B: x}
  metadata: {labels: {tier: web}}
  routes:
  - route: a.apps.test
  processes:
  - type: worker
    instances: 2
`)
	for _, c := range []struct{ say, manifest, want string }{
		{"nothing new", "- name: app\n  memory: 1024MB\n  path: x\n  default-route: true\n  env: {A: 1}\n  routes: [{route: HTTPS://a.apps.test}]\n  processes: [{type: worker, instances: 2}]", `[]`},
		{"values", "- name: app\n  memory: 64M\n  disk-quota: 2G\n  instances: 3", `[
			{"op":"replace","path":"/applications/0/disk-quota","was":"1024M","value":"2G"},
			{"op":"replace","path":"/applications/0/instances","was":1,"value":3},
			{"op":"replace","path":"/applications/0/memory","was":"1024M","value":"64M"}]`},
		{"maps", "- name: app\n  env: {A: 2, C: z}\n  metadata: {labels: {tier: api, a/b: c}}", `[
			{"op":"replace","path":"/applications/0/env/A","was":"1","value":2},
			{"op":"add","path":"/applications/0/env/C","value":"z"},
			{"op":"add","path":"/applications/0/metadata/labels/a~1b","value":"c"},
			{"op":"replace","path":"/applications/0/metadata/labels/tier","was":"web","value":"api"}]`},
		{"lists", "- name: app\n  routes: [{route: b.apps.test}, {route: a.apps.test, protocol: http2}]\n  processes: [{type: worker, memory: 2G}, {type: cron}]", `[
			{"op":"replace","path":"/applications/0/processes/0/memory","was":"1024M","value":"2G"},
			{"op":"add","path":"/applications/0/processes/1","value":{"type":"cron"}},
			{"op":"add","path":"/applications/0/routes/0","value":{"route":"b.apps.test"}},
			{"op":"replace","path":"/applications/0/routes/1/protocol","was":"http1","value":"http2"}]`},
		{"a new app", "- name: app\n- name: new\n  memory: 64M", `[
			{"op":"add","path":"/applications/1/memory","value":"64M"},
			{"op":"add","path":"/applications/1/name","value":"new"}]`},
		{"what JSON has not", "- name: new\n  env: {1: 2, B: true, N: .nan}", `[
			{"op":"add","path":"/applications/0/env/1","value":2},
			{"op":"add","path":"/applications/0/env/B","value":true},
			{"op":"add","path":"/applications/0/env/N","value":"NaN"},
			{"op":"add","path":"/applications/0/name","value":"new"}]`},
	} {
		got, err := json.Marshal(f.do(201, token, "POST", "/v3/spaces/"+space+"/manifest_diff", "applications:\n"+c.manifest+"\n")["diff"])
		if err != nil {
			t.Fatal(err)
		}
		var want any
		if err := json.Unmarshal([]byte(c.want), &want); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(want)
		if err != nil || string(got) != string(text) {
			t.Errorf("%s:\ngot  %s\nwant %s", c.say, got, text)
		}
	}
}

// TestManifestErrorsAreForPeople: they name the line and the key, not our types.
func TestManifestErrorsAreForPeople(t *testing.T) {
	f := newFoundation(t)
	token, _, space, _ := f.tenant(f.login("admin", "pw"), "ann")
	for manifest, want := range map[string]string{
		"- name: x\n  memmory: 1G":                    "line 3: field memmory not found",
		"- name: x\n  instances: many":                "line 3: cannot unmarshal",
		"- name: x\n- name: x":                        "For application 'x': it is in the manifest twice",
		"- name: x\n  docker: {image: y}":             "For application 'x': Docker support is disabled",
		"- name: x\n  sidecars: [{name: s}]":          "Sidecars are not supported",
		"- name: x\n  health-check-type: magic":       "For application 'x': Health check type must be",
		"- name: x\n  timeout: 500":                   "For application 'x': Health check timeout must be",
		"- name: x\n  env: {VCAP_X: y}":               "cannot start with VCAP_",
		"- name: x\n  command: {a: b}":                "Command must be a string",
		"- name: x\n  metadata: {labels: {'a b': c}}": "label key error",
		"- memory: 1G":                                "For application at index 0: Name must not be empty",
		"- name: x\n  buildpacks: 7":                  "cannot unmarshal",
	} {
		w := f.send("POST", "/v3/spaces/"+space+"/actions/apply_manifest", token, "application/x-yaml", []byte("applications:\n"+manifest+"\n"))
		if w.Code/100 != 4 || !strings.Contains(w.Body.String(), want) || strings.Contains(w.Body.String(), "api.") {
			t.Errorf("%q: %d %s, want %q", manifest, w.Code, w.Body, want)
		}
	}
}

// FuzzDiff: what is added was not there, what is replaced was another, and both
// lie below the key that was compared.
func FuzzDiff(f *testing.F) {
	f.Add("env", `{"A":1}`, `{"A":"2","B":null}`)
	f.Add("routes", `[{"route":"a"}]`, `[{"route":"a","protocol":"http2"},7]`)
	f.Add("memory", `"1G"`, `"1024M"`)
	f.Fuzz(func(t *testing.T, key, before, after string) {
		var was, wanted any
		if json.Unmarshal([]byte(before), &was) != nil || json.Unmarshal([]byte(after), &wanted) != nil {
			return
		}
		for _, o := range compare("/x", alias(key), was, wanted) {
			path, _ := o["path"].(string)
			old, replaced := o["was"]
			if !strings.HasPrefix(path, "/x") || (o["op"] == "replace") != replaced || replaced && (old == nil || reflect.DeepEqual(old, o["value"])) {
				t.Fatalf("%v of %s and %s", o, before, after)
			}
		}
		if text, scalar := wanted.(string); scalar && len(compare("/x", alias(key), wanted, wanted)) > 0 {
			t.Fatalf("%q differs from itself", text)
		}
	})
}
