package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestManifestIsPassedOn(t *testing.T) {
	vars := Variables{}
	for _, v := range []string{"host=shop", "count=3", "memory=64", "on=true", "empty=", "text=\"3\""} {
		if err := vars.Add(v); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "vars.yml")
	if err := os.WriteFile(file, []byte("db:\n  user: me\n  hosts: [a, b]\nmemory: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fromFile := Variables{}
	if err := fromFile.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	vars["db"] = fromFile["db"]
	for _, c := range []struct{ name, in, want string }{
		{"as it is, order and unknown keys too", "version: 1\napplications:\n- name: a\n  zone: x\n  env:\n    V: \"1.10\"\n    W: 1.10\n",
			"version: 1\napplications:\n  - name: a\n    zone: x\n    env:\n      V: \"1.10\"\n      W: 1.10\n"},
		{"keys beside applications stay here", "defaults: &d\n  memory: 64M\napplications:\n- <<: *d\n  name: a\n", "applications:\n  - name: a\n    memory: 64M\n"},
		{"own keys win over merged ones", "d: &d {memory: 64M, name: z}\napplications:\n- name: a\n  <<: *d\n", "applications:\n  - name: a\n    memory: 64M\n"},
		{"several merges, the first wins", "d: &d {memory: 64M}\ne: &e {memory: 1G, stack: x}\napplications:\n- name: a\n  <<: [*d, *e]\n", "applications:\n  - name: a\n    memory: 64M\n    stack: x\n"},
		{"variables of all kinds", "applications:\n- name: ((host))\n  instances: ((count))\n  memory: ((memory))M\n  no-route: ((on))\n  env: {A: ((text)), B: \"n((count))\", C: ((empty))}\n",
			"applications:\n  - name: shop\n    instances: 3\n    memory: 64M\n    no-route: true\n    env: {A: \"3\", B: \"n3\", C: \"\"}\n"},
		{"keys of variables", "applications:\n- name: a\n  env:\n    U: ((db.user))\n    H: ((db.hosts))\n", "applications:\n  - name: a\n    env:\n      U: me\n      H: [a, b]\n"},
		{"variables in keys", "applications:\n- name: a\n  env:\n    ((host))_URL: x\n", "applications:\n  - name: a\n    env:\n      shop_URL: x\n"},
		{"a text of digits stays a text", "applications:\n- name: a\n  env:\n    N: ((count))((count))\n", "applications:\n  - name: a\n    env:\n      N: \"33\"\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := parseManifest([]byte(c.in), vars)
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.YAML()
			if err != nil || string(got) != c.want {
				t.Errorf("%v\n%s\nwant\n%s", err, got, c.want)
			}
		})
	}
}

func TestManifestThatIsRefused(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'j'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 10) + "]\n"
	}
	for _, c := range []struct{ name, in, want string }{
		{"nothing", "", "empty"},
		{"a list", "- a\n", "not a mapping"},
		{"no apps", "applications: []\n", "no applications"},
		{"apps that are no list", "applications: {name: a}\n", "line 1: applications is not a list"},
		{"an app that is no mapping", "applications:\n- a\n", "line 2: an application is not a mapping"},
		{"broken YAML", "applications: [\n", "yaml"},
		{"aliases without end", bomb + "applications: [{name: *i}]\n", "unfold"},
		{"an alias of itself", "applications: &a\n- name: *a\n", "unfold"},
		{"variables without value", "applications:\n- name: ((b))\n  memory: ((a))M\n  env: {X: ((b)), Y: ((c.d))}\n", "no value for ((a)), ((b)), ((c.d))"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseManifest([]byte(c.in), Variables{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	_, err := parseManifest([]byte("applications:\n- name: ((x))\n"), nil)
	var missing *MissingError
	if !errors.As(err, &missing) || len(missing.Names) != 1 {
		t.Errorf("error %v", err)
	}
	list := Variables{"l": {Kind: yaml.SequenceNode}}
	if _, err := parseManifest([]byte("applications:\n- name: a((l))\n"), list); err == nil {
		t.Error("a list inside a text is no error")
	}
}

func TestAppOfAManifest(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "manifest.yml")
	if err := os.WriteFile(file, []byte("applications:\n- name: a\n  path: src\n- name: b\n- name: c\n  path: /abs\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := FindManifest(dir); got != file {
		t.Errorf("found %q", got)
	}
	if got := FindManifest(t.TempDir()); got != "" {
		t.Errorf("found %q where nothing is", got)
	}
	m, err := ReadManifest(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{filepath.Join(dir, "src"), dir, "/abs"} {
		if got := m.Apps[i].Dir(); got != want {
			t.Errorf("app %d is in %s, want %s", i, got, want)
		}
	}
	if err := m.Only("none"); err == nil || len(m.Apps) != 3 {
		t.Errorf("only an app that is not there: %v", err)
	}
	if err := m.Only("b"); err != nil || len(m.Apps) != 1 || m.Apps[0].Name() != "b" {
		t.Errorf("only b: %v", err)
	}
	if err := m.Only("renamed"); err != nil || m.Apps[0].Name() != "renamed" { // as cf push NAME does with a single app
		t.Errorf("%v, %s", err, m.Apps[0].Name())
	}
	m.Apps[0].Set("memory", "1G")
	m.Apps[0].Set("memory", "2G")
	m.Apps[0].Set("command", nil)
	m.Apps[0].Drop("name")
	m.Apps[0].Drop("absent")
	if got, _ := m.YAML(); string(got) != "applications:\n  - memory: 2G\n    command: null\n" || !m.Apps[0].Has("command") || m.Apps[0].Text("command") != "" {
		t.Errorf("%s", got)
	}
	if got := NewManifest("x").Apps[0].Dir(); got != "." {
		t.Errorf("without a manifest the files are in %q", got)
	}
}

func TestVariablesThatAreRefused(t *testing.T) {
	v := Variables{}
	for _, text := range []string{"a", "=b"} {
		if err := v.Add(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	if err := v.Add("a=[b"); err != nil || v["a"].Value != "[b" { // no YAML: a text
		t.Errorf("%v, %v", err, v["a"])
	}
	file := filepath.Join(t.TempDir(), "vars.yml")
	if err := os.WriteFile(file, []byte("- a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := v.ReadFile(file); err == nil {
		t.Error("a list of variables is taken")
	}
}
