package api

import (
	"net/http"

	"github.com/dewpaas/dew/cf"
)

// routes adds every endpoint of the V3 API.
func (s *Server) routes(t table) {
	s.orgRoutes(t)
	s.roleRoutes(t)
	s.quotaRoutes(t)
	s.domainRoutes(t)
	s.routeRoutes(t)
	s.appRoutes(t)
	s.processRoutes(t)
	s.packageRoutes(t)
	s.buildRoutes(t)
	s.dropletRoutes(t)
	s.revisionRoutes(t)
	s.deploymentRoutes(t)
	s.taskRoutes(t)
	s.manifestRoutes(t)
	s.settingRoutes(t)
	s.groupRoutes(t)
	s.serviceRoutes(t)
}

var groupList = listing[*cf.SecurityGroup]{
	filters: filters{"names": by("name"),
		"globally_enabled_running": byFlag("running_default"), "globally_enabled_staging": byFlag("staging_default")},
	show: func(c *call, g *cf.SecurityGroup) (obj, error) {
		return c.base(&g.Meta, "security_groups", obj{"name": g.Name, "rules": g.Rules, "globally_enabled": obj{"running": g.Running, "staging": g.Staging},
			"relationships": obj{"running_spaces": toMany(nil), "staging_spaces": toMany(nil)}}), nil
	},
	// No group can be bound to a space yet, so everybody sees the defaults
	// and only admins see others.
	visible: func(c *call, q *cf.Query) error {
		if !c.admin() {
			q.AnyOf = append(q.AnyOf, []cf.Cond{cf.Is("running_default", int64(1)), cf.Is("staging_default", int64(1))})
		}
		return nil
	},
}

func byFlag(key string) filter {
	return func(_ *call, q *cf.Query, values []string) error {
		if len(values) != 1 || values[0] != "true" && values[0] != "false" {
			return badQuery("%s must be true or false", key)
		}
		on := int64(0)
		if values[0] == "true" {
			on = 1
		}
		q.Where = append(q.Where, cf.Is(key, on))
		return nil
	}
}

// groupRoutes show the groups that apply to all spaces.
func (s *Server) groupRoutes(t table) {
	list(t, "/v3/security_groups", groupList)
	for stage, key := range map[string]string{"running": "running_default", "staging": "staging_default"} {
		list(t, "/v3/spaces/{guid}/"+stage+"_security_groups", groupList, func(c *call, q *cf.Query, _ []string) error {
			if _, err := c.space(c.param("guid"), look, "Space"); err != nil {
				return err
			}
			q.Where = append(q.Where, cf.Is(key, int64(1)))
			return nil
		})
	}
}

// serviceRoutes: there are no services yet, so lists are empty and making one
// is refused in words.
func (s *Server) serviceRoutes(t table) {
	shared := []string{"names", "space_guids", "organization_guids", "include", "type", "fields[service_plan]", "fields[service_plan.service_offering]",
		"fields[service_plan.service_offering.service_broker]", "fields[space]", "fields[space.organization]"}
	empty(t, "/v3/service_instances", shared...)
	empty(t, "/v3/service_credential_bindings", append(shared, "app_guids", "service_instance_guids", "service_instance_names")...)
	for _, path := range []string{"/v3/service_instances", "/v3/service_credential_bindings", "/v3/service_brokers"} {
		t.post(path, http.StatusCreated, func(*call) (any, error) {
			return nil, unprocessable("Services are not supported by this version of Dew.")
		})
	}
}
