package api

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
	s.crashRoutes(t)
	s.deploymentRoutes(t)
	s.taskRoutes(t)
	s.manifestRoutes(t)
	s.settingRoutes(t)
	s.platformRoutes(t)
	s.usageEventRoutes(t)
	s.groupRoutes(t)
	s.brokerRoutes(t)
	s.offeringRoutes(t)
	s.instanceRoutes(t)
	s.bindingRoutes(t)
}
