package api

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dewpaas/dew/cf"
)

// diffManifest says what applying a manifest would change, in the operations of
// RFC 6902 with what was before. The CLI prints it before it applies. Nothing is
// removed by a manifest, so there is no such operation.
func (c *call) diffManifest() (any, error) {
	s, err := c.space(c.param("guid"), develop, "Space")
	if err != nil {
		return nil, err
	}
	if _, err := parseManifest(c.body); err != nil {
		return nil, err
	}
	var m struct {
		Applications []map[string]any `yaml:"applications"`
	}
	if err := yaml.Unmarshal(c.body, &m); err != nil {
		return nil, badBody("invalid manifest: %v", err)
	}
	diff := []obj{}
	for i, wanted := range m.Applications {
		wanted, _ := jsonable(wanted).(map[string]any)
		name, _ := wanted["name"].(string)
		now, err := c.present(s, name)
		if err != nil {
			return nil, err
		}
		path := "/applications/" + strconv.Itoa(i) + "/"
		for _, key := range slices.Sorted(maps.Keys(wanted)) {
			if !silent[key] {
				diff = append(diff, compare(path+key, alias(key), now[alias(key)], wanted[key])...)
			}
		}
	}
	return obj{"diff": diff}, nil
}

// jsonable is what YAML knows and JSON does not in JSON: keys that are no
// strings, and numbers that are none.
func jsonable(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = jsonable(x)
		}
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[fmt.Sprint(k)] = jsonable(x)
		}
		return m
	case []any:
		for i, x := range v {
			v[i] = jsonable(x)
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v)
		}
	}
	return v
}

// silent are keys that do not say what an app shall be.
var silent = map[string]bool{"path": true, "default-route": true, "random-route": true, "no-route": true}

func alias(key string) string {
	switch key {
	case "disk-quota":
		return "disk_quota"
	case "buildpack":
		return "buildpacks"
	}
	return key
}

// present is an app as its manifest would say it, with the settings of its web
// process at the top too, or nothing for one that is not there.
func (c *call) present(s *cf.Space, name string) (map[string]any, error) {
	a, err := cf.First[cf.App](c.tx, cf.Is("space_guid", s.GUID), cf.Is("name", name))
	if err != nil || a == nil {
		return nil, err
	}
	e, err := c.export(a)
	if err != nil {
		return nil, err
	}
	text, err := yaml.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode a manifest: %w", err)
	}
	now := map[string]any{}
	if err := yaml.Unmarshal(text, &now); err != nil {
		return nil, fmt.Errorf("decode a manifest: %w", err)
	}
	list, _ := now["processes"].([]any)
	for _, p := range list {
		if web, _ := p.(map[string]any); web["type"] == "web" {
			for k, v := range web {
				if k != "type" {
					now[k] = v
				}
			}
		}
	}
	return now, nil
}

// compare walks through what is wanted. key is the last name on the way, which
// decides how values are compared.
func compare(path, key string, was, wanted any) []obj {
	switch wanted := wanted.(type) {
	case map[string]any:
		old, _ := was.(map[string]any)
		var diff []obj
		for _, k := range slices.Sorted(maps.Keys(wanted)) {
			diff = append(diff, compare(path+"/"+pointer.Replace(k), alias(k), old[alias(k)], wanted[k])...)
		}
		return diff
	case []any:
		return compareLists(path, key, was, wanted)
	}
	if key == "buildpacks" { // the old key has one name instead of a list
		if list, _ := was.([]any); len(list) == 1 {
			was = list[0]
		}
	}
	if equal(key, was, wanted) {
		return nil
	}
	if was == nil {
		return []obj{{"op": "add", "path": path, "value": wanted}}
	}
	return []obj{{"op": "replace", "path": path, "was": was, "value": wanted}}
}

// pointer escapes a key in a path (RFC 6901 section 4).
var pointer = strings.NewReplacer("~", "~0", "/", "~1")

// identity is how entries of lists are recognized: by this key of theirs.
var identity = map[string]string{"processes": "type", "routes": "route", "services": "name"}

func compareLists(path, key string, was any, wanted []any) []obj {
	old, _ := was.([]any)
	var diff []obj
	for i, w := range wanted {
		at := path + "/" + strconv.Itoa(i)
		j := slices.IndexFunc(old, func(o any) bool { return reflect.DeepEqual(idOf(key, o), idOf(key, w)) })
		if j < 0 {
			diff = append(diff, obj{"op": "add", "path": at, "value": w})
			continue
		}
		if m, ok := w.(map[string]any); ok && key != "services" {
			diff = append(diff, compare(at, key, old[j], m)...)
		}
	}
	return diff
}

func idOf(key string, entry any) any {
	if m, ok := entry.(map[string]any); ok {
		entry = m[identity[key]]
	}
	if text, ok := entry.(string); ok && key == "routes" {
		return bare(text)
	}
	return entry
}

// bare is a route without what may be written or left out.
func bare(route string) string {
	return strings.TrimPrefix(strings.TrimPrefix(strings.ToLower(route), "http://"), "https://")
}

// sizes are keys whose values are amounts of bytes, in any unit.
var sizes = map[string]bool{"memory": true, "disk_quota": true, "log-rate-limit-per-second": true}

func equal(key string, was, wanted any) bool {
	a, b := fmt.Sprint(was), fmt.Sprint(wanted)
	if was == nil || wanted == nil {
		return was == nil && wanted == nil
	}
	if sizes[key] {
		x, bad := parseSize(a)
		y, worse := parseSize(b)
		return bad == nil && worse == nil && x == y || a == b
	}
	switch {
	case key == "route":
		a, b = bare(a), bare(b)
	case key == "health-check-type" && b == "none":
		b = "process"
	}
	return a == b
}
