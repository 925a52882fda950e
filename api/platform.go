package api

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dewpaas/dew/cf"
)

// platformRoutes answer for what this platform has one of, or none.
func (s *Server) platformRoutes(t table) {
	stacks := func(c *call) []obj {
		return []obj{c.fixed("stacks", "cflinuxfs4", obj{"description": "unikernel", "state": "ACTIVE", "state_reason": nil, "default": true,
			"build_rootfs_image": "cflinuxfs4", "run_rootfs_image": "cflinuxfs4"})}
	}
	buildpacks := func(c *call) []obj {
		list := []obj{}
		for i, name := range []string{"go_buildpack", "binary_buildpack"} {
			list = append(list, c.fixed("buildpacks", name, obj{"position": i + 1, "stack": "cflinuxfs4", "state": "READY", "filename": "dew", "enabled": true, "locked": true, "lifecycle": "buildpack"}))
		}
		return list
	}
	segments := func(*call) []obj { return nil }
	constant(t, "/v3/stacks", "Stack", stacks, map[string]string{"names": "name", "default": "default"})
	constant(t, "/v3/buildpacks", "Buildpack", buildpacks, map[string]string{"names": "name", "stacks": "stack", "lifecycle": "lifecycle"})
	constant(t, "/v3/isolation_segments", "Isolation segment", segments, map[string]string{"names": "name", "organization_guids": "organization_guid"})
	refusedRoutes(t)
	t.post("/v3/admin/actions/clear_buildpack_cache", 202, func(c *call) (any, error) {
		if err := c.only(); err != nil {
			return nil, err
		}
		return c.done("admin.clear_buildpack_cache") // there is none: what builds share is the stager's
	})
	list(t, "/v3/stacks/{guid}/apps", appList, func(c *call, q *cf.Query, _ []string) error {
		q.Where = append(q.Where, cf.Is("stack", c.param("guid")))
		return nil
	})
	usageRoutes(t)
	featureRoutes(t)
	// The routing API's one question of the CLI: there are no TCP routes.
	t.get("/routing/v1/router_groups", func(*call) (any, error) { return []obj{}, nil }, "name")
}

// refusedRoutes say why to those who may ask.
func refusedRoutes(t table) {
	refused := func(why error) endpoint {
		return func(c *call) (any, error) {
			if err := c.only(); err != nil {
				return nil, err
			}
			return nil, why
		}
	}
	for path, why := range map[string]error{
		"/v3/buildpacks": unprocessable("Buildpacks cannot be added or changed: Dew builds droplets from Go source itself."),
		"/v3/stacks":     unprocessable("Stacks cannot be added or changed: a droplet brings its own operating system."),
		// The CLI takes a 422 for a segment that exists already.
		"/v3/isolation_segments": disabled("isolation segments: every instance is isolated in a guest of its own"),
	} {
		t.post(path, 201, refused(why))
		t.patch(path+"/{guid}", refused(why))
		t.delete(path+"/{guid}", 202, refused(why))
	}
	t.post("/v3/buildpacks/{guid}/upload", 202, refused(unprocessable("Buildpacks cannot be added or changed: Dew builds droplets from Go source itself.")))
}

// fixed is a resource that the platform comes with. Its guid is its name.
func (c *call) fixed(path, name string, fields obj) obj {
	o := c.described(&cf.Meta{GUID: name, CreatedAt: time.Unix(0, 0), UpdatedAt: time.Unix(0, 0)}, path, obj{"name": name})
	for k, v := range fields {
		o[k] = v
	}
	return o
}

// constant lists and shows resources that are not in the ledger. filters are the
// fields that parameters look at.
func constant(t table, path, name string, all func(*call) []obj, filters map[string]string) {
	t.get(path, func(c *call) (any, error) {
		v := c.r.URL.Query()
		kept := []obj{}
		for _, o := range all(c) {
			keep := true
			for param, field := range filters {
				if text := v.Get(param); text != "" {
					keep = keep && slices.Contains(strings.Split(text, ","), textOf(o[field]))
				}
			}
			if keep {
				kept = append(kept, o)
			}
		}
		return fixedPage(c, kept, "name", "position")
	}, fixedParams(slices.Collect(maps.Keys(filters))...)...)
	t.get(path+"/{guid}", func(c *call) (any, error) {
		for _, o := range all(c) {
			if o["guid"] == c.param("guid") {
				return o, nil
			}
		}
		return nil, notFound(name)
	})
}

func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	}
	return ""
}

func usageRoutes(t table) {
	t.get("/v3/info/usage_summary", func(c *call) (any, error) {
		if !c.auditor() {
			return nil, forbidden()
		}
		all, err := guidsOf[cf.Space](c, cf.Query{})
		if err != nil {
			return nil, err
		}
		domains, err := c.tx.Count(new(cf.Domain), cf.Query{Where: []cf.Cond{{Key: "organization_guid", Op: cf.Greater, Values: []any{""}}}})
		if err != nil {
			return nil, err
		}
		return c.summary(all, domains, obj{"self": c.link("info", "usage_summary")})
	})
	t.get("/v3/organizations/{guid}/usage_summary", withOrg(false, func(c *call, o *cf.Organization) (obj, error) {
		spaces, err := guidsOf[cf.Space](c, cf.Query{Where: []cf.Cond{cf.Is("organization_guid", o.GUID)}})
		if err != nil {
			return nil, err
		}
		domains, err := c.tx.Count(new(cf.Domain), cf.Query{Where: []cf.Cond{cf.Is("organization_guid", o.GUID)}})
		if err != nil {
			return nil, err
		}
		return c.summary(spaces, domains, obj{"self": c.link("organizations", o.GUID, "usage_summary"), "organization": c.link("organizations", o.GUID)})
	}))
	t.get("/v3/spaces/{guid}/usage_summary", withSpace(look, func(c *call, s *cf.Space) (obj, error) {
		domains, err := c.tx.Count(new(cf.Domain), cf.Query{Where: []cf.Cond{cf.Is("organization_guid", s.OrgGUID)}})
		if err != nil {
			return nil, err
		}
		return c.summary([]string{s.GUID}, domains, obj{"self": c.link("spaces", s.GUID, "usage_summary"), "space": c.link("spaces", s.GUID)})
	}))
}

func (c *call) summary(spaces []string, domains int, links obj) (obj, error) {
	u, err := c.usageIn(spaces)
	return obj{"usage_summary": obj{"started_instances": u.instances, "memory_in_mb": u.memory, "routes": u.routes, "service_instances": u.services,
		"reserved_ports": 0, "domains": domains, "per_app_tasks": u.tasks, "service_keys": u.keys}, "links": links}, err
}

// featureRoutes: ssh is the one feature of spaces, and off for good.
func featureRoutes(t table) {
	ssh := obj{"name": "ssh", "description": "Enable SSHing into apps in the space.", "enabled": false}
	t.get("/v3/spaces/{guid}/features", withSpace(look, func(*call, *cf.Space) (obj, error) { return obj{"resources": []obj{ssh}}, nil }))
	named := func(f func(c *call) (obj, error)) func(*call, *cf.Space) (obj, error) {
		return func(c *call, _ *cf.Space) (obj, error) {
			if c.param("feature") != "ssh" {
				return nil, notFound("Feature")
			}
			return f(c)
		}
	}
	t.get("/v3/spaces/{guid}/features/{feature}", withSpace(look, named(func(*call) (obj, error) { return ssh, nil })))
	t.patch("/v3/spaces/{guid}/features/{feature}", withSpace(manage, named(func(c *call) (obj, error) {
		var b struct{ Enabled bool }
		if err := c.read(&b); err != nil {
			return nil, err
		}
		if b.Enabled {
			return nil, unprocessable("ssh cannot be enabled: unikernels have no shell.")
		}
		return ssh, nil
	})))
}
