package cf

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return v
}

var (
	house = Place{API: "http://api", Space: &Space{Meta: Meta{GUID: "s1"}, Name: "dev"}, Org: &Organization{Meta: Meta{GUID: "o1"}, Name: "acme"}, URIs: []string{"a.test/x"}}
	web   = &Process{Meta: Meta{GUID: "p1"}, Type: "web", MemoryMB: 64, DiskMB: 128, Version: "v1"}
)

func TestEnvironmentOrder(t *testing.T) {
	a := &App{Meta: Meta{GUID: "a1"}, Name: "app", Env: map[string]string{"MINE": "app", "LANG": "C"}}
	env, err := Environment(map[string]string{"MINE": "group", "GROUP": "1", "LANG": "x", "VCAP_SERVICES": "forged"}, a, web, house, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"MINE": "app", "GROUP": "1", "LANG": "C", "MEMORY_LIMIT": "64m", "VCAP_SERVICES": "{}", "VCAP_APP_HOST": "0.0.0.0"} {
		if env[name] != want {
			t.Errorf("%s = %q, want %q", name, env[name], want)
		}
	}
	want := decode(t, `{"cf_api":"http://api","limits":{"fds":16384,"mem":64,"disk":128},"application_name":"app","application_uris":["a.test/x"],"name":"app",
		"space_name":"dev","space_id":"s1","organization_id":"o1","organization_name":"acme","uris":["a.test/x"],"users":null,"process_id":"p1","process_type":"web",
		"application_id":"a1","version":"v1","application_version":"v1"}`)
	if got := decode(t, env["VCAP_APPLICATION"]); !reflect.DeepEqual(got, want) {
		t.Errorf("VCAP_APPLICATION is %v, want %v", got, want)
	}
}

func TestInstanceEnv(t *testing.T) {
	l := Launch{Env: map[string]string{"PORT": "1", "VCAP_APPLICATION": `{"name":"app"}`}}
	env := l.InstanceEnv(Instance{Index: 2, GUID: "i1", Host: "10.0.0.1", HostPort: 61001, Address: "10.1.0.9", Port: 8080})
	for name, want := range map[string]string{"PORT": "8080", "CF_INSTANCE_INDEX": "2", "CF_INSTANCE_GUID": "i1", "CF_INSTANCE_ADDR": "10.0.0.1:61001",
		"CF_INSTANCE_INTERNAL_IP": "10.1.0.9", "CF_INSTANCE_PORTS": `[{"external":61001,"internal":8080}]`} {
		if env[name] != want {
			t.Errorf("%s = %q, want %q", name, env[name], want)
		}
	}
	want := decode(t, `{"name":"app","host":"0.0.0.0","port":8080,"instance_id":"i1","instance_index":2}`)
	if got := decode(t, env["VCAP_APPLICATION"]); !reflect.DeepEqual(got, want) {
		t.Errorf("VCAP_APPLICATION is %v, want %v", got, want)
	}
	if l.Env["PORT"] != "1" {
		t.Error("the launch itself was changed")
	}
}

func TestVCAPServices(t *testing.T) {
	provided := Bound{Binding: &ServiceBinding{Meta: Meta{GUID: "b1"}}, Instance: &ServiceInstance{Meta: Meta{GUID: "i1"}, Name: "logs", Tags: []string{"z", "a"},
		Credentials: map[string]any{"uri": "postgresql://u:p@h/d"}, SyslogDrainURL: "syslog://h:514"}}
	managed := Bound{Binding: &ServiceBinding{Meta: Meta{GUID: "b2"}, Name: "main", Credentials: map[string]any{"k": "v"}},
		Instance: &ServiceInstance{Meta: Meta{GUID: "i2"}, Name: "db", Credentials: map[string]any{"not": "this"}, Tags: []string{"mine"}}, Label: "postgres", Plan: "small", Tags: []string{"sql", "mine"}}
	text, err := json.Marshal(VCAPServices([]Bound{provided, managed}))
	if err != nil {
		t.Fatal(err)
	}
	want := decode(t, `{"user-provided":[{"label":"user-provided","name":"logs","tags":["z","a"],"instance_guid":"i1","instance_name":"logs","binding_guid":"b1","binding_name":null,
		"credentials":{"uri":"postgresql://u:p@h/d"},"syslog_drain_url":"syslog://h:514","volume_mounts":[]}],
		"postgres":[{"label":"postgres","provider":null,"plan":"small","name":"main","tags":["sql","mine"],"instance_guid":"i2","instance_name":"db","binding_guid":"b2",
		"binding_name":"main","credentials":{"k":"v"},"syslog_drain_url":null,"volume_mounts":[]}]}`)
	if got := decode(t, string(text)); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	plain := Bound{Binding: &ServiceBinding{}, Instance: &ServiceInstance{Name: "plain"}}
	if text, err := json.Marshal(VCAPServices([]Bound{plain})); err != nil || !strings.Contains(string(text), `"tags":[]`) {
		t.Errorf("without tags: %s, %v", text, err)
	}
	env, err := Environment(nil, &App{}, web, house, []Bound{managed, provided})
	if err != nil || env["DATABASE_URL"] != "postgres://u:p@h/d" {
		t.Errorf("DATABASE_URL = %q, %v", env["DATABASE_URL"], err)
	}
}

func TestDesired(t *testing.T) {
	p := &Process{Instances: 3, Launch: &Launch{Command: "./x"}}
	if got := p.Desired(&App{State: Stopped}); got != nil {
		t.Errorf("a stopped app wants %+v", got)
	}
	if got := new(Process).Desired(&App{State: Started}); got != nil {
		t.Errorf("a process that was never started wants %+v", got)
	}
	if got := p.Desired(&App{State: Started}); got == nil || got.Instances != 3 || got.Command != "./x" {
		t.Errorf("got %+v", got)
	}
}
