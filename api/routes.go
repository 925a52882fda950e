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
	s.stageRoutes(t)
	s.manifestRoutes(t)
	s.settingRoutes(t)
}
