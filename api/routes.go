package api

import (
	"net/http"
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
