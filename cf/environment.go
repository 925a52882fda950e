package cf

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
)

// AppPort is where a program listens unless its route says otherwise.
const AppPort = 8080

// Place is where an app lives, as it is told in VCAP_APPLICATION.
type Place struct {
	API   string // URL of the API
	Space *Space
	Org   *Organization
	URIs  []string // addresses of its routes
}

// Bound is a service instance with the binding that gives it to an app. Label
// is the offering's name; it and Plan are empty for what users provide.
type Bound struct {
	Binding     *ServiceBinding
	Instance    *ServiceInstance
	Label, Plan string
	Tags        []string // of the offering; the instance's own are added
}

// descriptors is the limit of open files that apps are told.
const descriptors = 16384

// VCAPApplication is what an app is told about itself. p is nil where no
// process is meant, without a guid while staging.
func (w Place) VCAPApplication(a *App, p *Process) map[string]any {
	uris := w.URIs
	if uris == nil {
		uris = []string{}
	}
	limits := map[string]any{"fds": descriptors}
	v := map[string]any{
		"cf_api": w.API, "limits": limits, "application_name": a.Name, "application_uris": uris, "name": a.Name, "uris": uris, "users": nil,
		"space_name": w.Space.Name, "space_id": w.Space.GUID, "organization_id": w.Org.GUID, "organization_name": w.Org.Name, "application_id": a.GUID,
	}
	if p != nil {
		limits["mem"], limits["disk"] = p.MemoryMB, p.DiskMB
	}
	if p != nil && p.GUID != "" {
		v["process_id"], v["process_type"] = p.GUID, p.Type
		v["version"], v["application_version"] = p.Version, p.Version
	}
	return v
}

// VCAPServices is what an app is told about its services, by label.
func VCAPServices(bound []Bound) map[string]any {
	out := map[string]any{}
	for _, b := range bound {
		label := b.Label
		if label == "" {
			label = "user-provided"
		}
		list, _ := out[label].([]any)
		out[label] = append(list, b.vcap(label))
	}
	return out
}

func (b Bound) vcap(label string) map[string]any {
	name := b.Binding.Name
	v := map[string]any{"label": label, "instance_guid": b.Instance.GUID, "instance_name": b.Instance.Name, "binding_guid": b.Binding.GUID, "binding_name": nil,
		"credentials": b.credentials(), "syslog_drain_url": nil, "volume_mounts": []any{}}
	if name != "" {
		v["binding_name"] = name
	} else {
		name = b.Instance.Name
	}
	v["name"] = name
	tags := []string{} // never null; in the order of the offering and of whoever made the instance
	for _, tag := range slices.Concat(b.Tags, b.Instance.Tags) {
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	v["tags"] = tags
	if drain := b.Drain(); drain != "" {
		v["syslog_drain_url"] = drain
	}
	if b.Label != "" {
		v["provider"], v["plan"] = nil, b.Plan
	}
	return v
}

// Drain is where the app's log goes because of this binding, or "".
func (b Bound) Drain() string {
	if b.Binding.SyslogDrainURL != "" {
		return b.Binding.SyslogDrainURL
	}
	return b.Instance.SyslogDrainURL
}

func (b Bound) credentials() map[string]any {
	c := b.Binding.Credentials
	if b.Label == "" {
		c = b.Instance.Credentials
	}
	if c == nil {
		c = map[string]any{}
	}
	return c
}

// relational are the schemes of databases whose URI becomes DATABASE_URL.
var relational = []string{"mysql", "mysql2", "postgres", "postgresql", "db2", "informix"}

func databaseURL(bound []Bound) string {
	for _, b := range bound {
		for _, key := range []string{"uri", "url"} {
			uri, _ := b.credentials()[key].(string)
			scheme, rest, found := strings.Cut(uri, "://")
			if !found || !slices.Contains(relational, scheme) {
				continue
			}
			if scheme == "mysql" {
				scheme = "mysql2"
			}
			if scheme == "postgresql" {
				scheme = "postgres"
			}
			return scheme + "://" + rest
		}
	}
	return ""
}

// Environment is the whole environment of a process, in CF's order: the
// operator's group, the system's, the app's own, and VCAP_* last, which nobody
// may forge.
func Environment(group map[string]string, a *App, p *Process, w Place, bound []Bound) (map[string]string, error) {
	application, err := json.Marshal(w.VCAPApplication(a, p))
	if err != nil {
		return nil, fmt.Errorf("encode VCAP_APPLICATION: %w", err)
	}
	services, err := json.Marshal(VCAPServices(bound))
	if err != nil {
		return nil, fmt.Errorf("encode VCAP_SERVICES: %w", err)
	}
	env := map[string]string{}
	maps.Copy(env, group)
	env["LANG"] = "en_US.UTF-8"
	env["VCAP_APP_HOST"] = "0.0.0.0"
	env["MEMORY_LIMIT"] = strconv.Itoa(p.MemoryMB) + "m"
	if url := databaseURL(bound); url != "" {
		env["DATABASE_URL"] = url
	}
	maps.Copy(env, a.Env)
	env["VCAP_APPLICATION"], env["VCAP_SERVICES"] = string(application), string(services)
	return env, nil
}

// addInstance adds to the environment of a launch what one instance is told.
func addInstance(env map[string]string, i Instance) {
	index, port := strconv.Itoa(i.Index), strconv.Itoa(i.Port)
	for name, value := range map[string]string{
		"PORT": port, "VCAP_APP_PORT": port, "CF_INSTANCE_INDEX": index, "INSTANCE_INDEX": index, "CF_INSTANCE_GUID": i.GUID, "INSTANCE_GUID": i.GUID,
		"CF_INSTANCE_IP": i.Host, "CF_INSTANCE_PORT": strconv.Itoa(i.HostPort), "CF_INSTANCE_INTERNAL_IP": i.Address,
		"CF_INSTANCE_ADDR":  net.JoinHostPort(i.Host, strconv.Itoa(i.HostPort)),
		"CF_INSTANCE_PORTS": fmt.Sprintf(`[{"external":%d,"internal":%d}]`, i.HostPort, i.Port),
	} {
		env[name] = value
	}
	var app map[string]any
	if json.Unmarshal([]byte(env["VCAP_APPLICATION"]), &app) != nil || app == nil {
		return // a task or a test without one
	}
	app["host"], app["port"], app["instance_id"], app["instance_index"] = "0.0.0.0", i.Port, i.GUID, i.Index
	if text, err := json.Marshal(app); err == nil {
		env["VCAP_APPLICATION"] = string(text)
	}
}
