package grant

import (
	"reflect"
	"slices"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/identity"
)

// rule is what a role may do with the records of one noun. What is nil it may not at
// all.
type rule struct {
	// see returns the record, a part of it, or nil when it is not to be seen.
	see func(*scope, cf.Record) (cf.Record, error)
	// write tells whether old may become now; nil is none.
	write func(s *scope, old, now cf.Record) (bool, error)
}

// table is what a role may do, by noun.
func table(role string) map[cf.Noun]rule {
	switch role {
	case identity.Cell:
		return ofCells()
	case identity.Router:
		return ofRouters()
	case identity.Stager:
		return ofStagers()
	}
	return nil
}

// ofCells: what runs here, and of others what a firewall has to know.
func ofCells() map[cf.Noun]rule {
	return map[cf.Noun]rule{
		"cells":            {see: some(cellOfCell), write: change(writeCell)},
		"placements":       {see: some(placementOfCell)},
		"reports":          {see: some(reportOfCell), write: change(writeReport)},
		"crashes":          {see: some(crashOfCell), write: change(writeCrash)},
		"apps":             {see: some(appOfCell)},
		"spaces":           {see: some(spaceOfCell)},
		"security_groups":  {see: some(groupOfCell)},
		"group_bindings":   {see: some(bindingOfCell)},
		"network_policies": {see: some(policyOfCell)},
		"destinations":     {see: some(destinationHere)},
		"routes":           {see: some(routeHere)},
		"domains":          {see: some(domainOfCell)},
		"settings":         {see: some(settingOfCell)},
	}
}

// ofRouters: where hosts lead, and no more of apps than their GUIDs.
func ofRouters() map[cf.Noun]rule {
	return map[cf.Noun]rule{
		"reports":      {see: some(reportOfRouter)},
		"placements":   {see: some(placementOfRouter)},
		"destinations": {see: some(always(destination))},
		"routes":       {see: some(always(route))},
		"domains":      {see: some(always(domain))},
		"settings":     {see: some(settingOfRouter)},
	}
}

// ofStagers: what there is to build, and all that a build is told once its lease is
// this stager's.
func ofStagers() map[cf.Noun]rule {
	return map[cf.Noun]rule{
		"builds":            {see: some(buildOfStager), write: change(writeBuild)},
		"leases":            {see: some(leaseOfStager), write: change(writeLease)},
		"packages":          {see: some(packageOfStager)},
		"apps":              {see: some(appOfStager)},
		"spaces":            {see: some(spaceOfStager)},
		"organizations":     {see: some(orgOfStager)},
		"destinations":      {see: some(destinationHere)},
		"routes":            {see: some(routeHere)},
		"domains":           {see: some(domainOfStager)},
		"service_bindings":  {see: some(serviceBindingOfStager)},
		"service_instances": {see: some(serviceInstanceOfStager)},
		"service_plans":     {see: some(planOfStager)},
		"service_offerings": {see: some(offeringOfStager)},
		"settings":          {see: some(settingOfStager)},
		"droplets":          {write: change(writeDroplet)},
		"audit_events":      {write: change(writeEvent)},
	}
}

// some makes a rule's see of a function of one sort of record.
func some[T any, P interface {
	*T
	cf.Record
}](f func(*scope, P) (P, error)) func(*scope, cf.Record) (cf.Record, error) {
	return func(s *scope, r cf.Record) (cf.Record, error) {
		seen, err := f(s, r.(P))
		if err != nil || seen == nil {
			return nil, err // no typed nil
		}
		return seen, nil
	}
}

// change makes a rule's write of one.
func change[T any, P interface {
	*T
	cf.Record
}](f func(s *scope, old, now P) (bool, error)) func(s *scope, old, now cf.Record) (bool, error) {
	return func(s *scope, old, now cf.Record) (bool, error) {
		var o, n P
		if old != nil {
			o = old.(P)
		}
		if now != nil {
			n = now.(P)
		}
		return f(s, o, n)
	}
}

// always shows that part of every record.
func always[P cf.Record](part func(P) P) func(*scope, P) (P, error) {
	return func(_ *scope, r P) (P, error) { return part(r), nil }
}

// if it may be seen, show is that part of a record.
func show[T any](part *T, ok bool, err error) (*T, error) {
	if !ok || err != nil {
		return nil, err
	}
	return part, nil
}

// bare is what of a record is seen at least: labels and annotations are people's.
func bare(m cf.Meta) cf.Meta { return cf.Meta{GUID: m.GUID, CreatedAt: m.CreatedAt} }

// The parts of records that more than one role sees.

func destination(d *cf.Destination) *cf.Destination {
	n := *d
	n.Meta = bare(d.Meta)
	return &n
}

func route(r *cf.Route) *cf.Route {
	return &cf.Route{Meta: bare(r.Meta), DomainGUID: r.DomainGUID, Host: r.Host, Path: r.Path, Options: r.Options}
}

func domain(d *cf.Domain) *cf.Domain {
	return &cf.Domain{Meta: bare(d.Meta), Name: d.Name, Internal: d.Internal}
}

func destinationHere(s *scope, d *cf.Destination) (*cf.Destination, error) {
	ok, err := s.knows(d.AppGUID)
	return show(destination(d), ok, err)
}

func routeHere(s *scope, r *cf.Route) (*cf.Route, error) {
	ok, err := s.leadsHere(r.GUID)
	return show(route(r), ok, err)
}

// place is a placement without what it is started from.
func place(p *cf.Placement) *cf.Placement {
	return &cf.Placement{Meta: bare(p.Meta), ProcessGUID: p.ProcessGUID, Index: p.Index, TaskGUID: p.TaskGUID, AppGUID: p.AppGUID, Type: p.Type, CellID: p.CellID, Stopping: p.Stopping}
}

// foundation is some of what APIs tell of the foundation.
func foundation(s *cf.Setting, keys ...string) *cf.Setting {
	if s.GUID != cf.FoundationSetting {
		return nil
	}
	n := &cf.Setting{Meta: bare(s.Meta), Env: map[string]string{}}
	for _, k := range keys {
		n.Env[k] = s.Env[k]
	}
	return n
}

// Routers.

func reportOfRouter(_ *scope, r *cf.Report) (*cf.Report, error) {
	return show(&cf.Report{Meta: bare(r.Meta), CellID: r.CellID, AppGUID: r.AppGUID, State: r.State, Routable: r.Routable, Address: r.Address, Host: r.Host}, r.State == cf.InstanceRunning, nil)
}

func placementOfRouter(_ *scope, p *cf.Placement) (*cf.Placement, error) {
	return show(place(p), p.CellID != "", nil)
}

func settingOfRouter(_ *scope, s *cf.Setting) (*cf.Setting, error) {
	return foundation(s, "url", "domain", "hosts"), nil
}

// Cells.

func cellOfCell(s *scope, c *cf.Cell) (*cf.Cell, error) {
	if c.GUID == s.me {
		return c, nil
	}
	return &cf.Cell{Meta: bare(c.Meta), Guests: c.Guests}, nil
}

// writeCell: its own, but not the operator's word, and no labels.
func writeCell(s *scope, old, now *cf.Cell) (bool, error) {
	if now == nil || now.GUID != s.me {
		return false, nil
	}
	if old == nil {
		old = &cf.Cell{}
	}
	return now.Leaving == old.Leaving && sameMeta(&old.Meta, &now.Meta), nil
}

func placementOfCell(s *scope, p *cf.Placement) (*cf.Placement, error) {
	if p.CellID == s.me {
		return p, nil
	}
	near, err := s.knows(p.AppGUID)
	return show(place(p), near && p.CellID != "", err)
}

func reportOfCell(s *scope, r *cf.Report) (*cf.Report, error) {
	if r.CellID == s.me {
		return r, nil
	}
	near, err := s.knows(r.AppGUID)
	return show(&cf.Report{Meta: bare(r.Meta), CellID: r.CellID, AppGUID: r.AppGUID, State: r.State, Routable: r.Routable, Address: r.Address}, near, err)
}

// writeReport: of instances placed here, whose addresses are in the cell's own
// network. An address elsewhere would open somebody's firewall to a stranger.
func writeReport(s *scope, old, now *cf.Report) (bool, error) {
	if old != nil && old.CellID != s.me {
		return false, nil
	}
	if now == nil {
		return true, nil
	}
	p, err := s.runs(now.GUID)
	if err != nil || p == nil || now.CellID != s.me || now.AppGUID != p.AppGUID {
		return false, err
	}
	if now.Address == "" {
		return true, nil
	}
	lives, err := s.lives(now.Address)
	return lives && now.Host != "", err
}

// crashOfCell is enough to take the oldest away.
func crashOfCell(s *scope, c *cf.Crash) (*cf.Crash, error) {
	ok, err := s.owns(c.AppGUID)
	return show(&cf.Crash{Meta: bare(c.Meta), AppGUID: c.AppGUID}, ok, err)
}

func writeCrash(s *scope, old, now *cf.Crash) (bool, error) {
	switch {
	case old != nil && now != nil:
		return false, nil
	case now == nil:
		return s.owns(old.AppGUID)
	}
	p, err := s.runs(now.GUID)
	return p != nil && now.AppGUID == p.AppGUID && now.CellID == s.me, err
}

func appOfCell(s *scope, a *cf.App) (*cf.App, error) {
	ok, err := s.knows(a.GUID)
	return show(&cf.App{Meta: bare(a.Meta), Name: a.Name, SpaceGUID: a.SpaceGUID}, ok, err)
}

func spaceOfCell(s *scope, p *cf.Space) (*cf.Space, error) {
	ok, err := s.inSpace(p.GUID)
	return show(&cf.Space{Meta: bare(p.Meta), OrgGUID: p.OrgGUID}, ok, err)
}

func groupOfCell(s *scope, g *cf.SecurityGroup) (*cf.SecurityGroup, error) {
	n := *g
	n.Meta = bare(g.Meta)
	if g.Running {
		return &n, nil
	}
	ok, err := s.binds(g.GUID)
	return show(&n, ok, err)
}

func bindingOfCell(s *scope, b *cf.GroupBinding) (*cf.GroupBinding, error) {
	n := *b
	n.Meta = bare(b.Meta)
	ok, err := s.inSpace(b.SpaceGUID)
	return show(&n, ok, err)
}

func policyOfCell(s *scope, p *cf.NetworkPolicy) (*cf.NetworkPolicy, error) {
	n := *p
	n.Meta = bare(p.Meta)
	from, err := s.owns(p.SourceGUID)
	if err != nil {
		return nil, err
	}
	to, err := s.owns(p.DestinationGUID)
	return show(&n, from || to, err)
}

// domainOfCell: internal ones are what the cell's resolver answers for.
func domainOfCell(s *scope, d *cf.Domain) (*cf.Domain, error) {
	if d.Internal {
		return domain(d), nil
	}
	ok, err := s.hasRoute(d.GUID)
	return show(domain(d), ok, err)
}

func settingOfCell(_ *scope, s *cf.Setting) (*cf.Setting, error) {
	return foundation(s, "protected"), nil
}

// Stagers.

func buildOfStager(s *scope, b *cf.Build) (*cf.Build, error) {
	held, err := s.holds(b.GUID)
	if held != nil || err != nil {
		return b, err
	}
	n := *b
	n.Meta, n.CreatedBy = bare(b.Meta), cf.Actor{}
	return show(&n, b.State == "STAGING", nil)
}

// writeBuild: the end of one that it has, and nothing else of it.
func writeBuild(s *scope, old, now *cf.Build) (bool, error) {
	if old == nil || now == nil {
		return false, nil
	}
	held, err := s.holds(old.GUID)
	if held == nil || err != nil {
		return false, err
	}
	ended := *old
	ended.State, ended.Error, ended.DropletGUID = now.State, now.Error, now.DropletGUID
	ended.UpdatedAt = now.UpdatedAt
	return slices.Contains([]string{"STAGED", "FAILED"}, now.State) && reflect.DeepEqual(&ended, now), nil
}

func leaseOfStager(_ *scope, l *cf.Lease) (*cf.Lease, error) {
	return show(l, cf.LeasedBuild(l.GUID) != "", nil)
}

// writeLease: any stager may take any build, one that another has too; it cannot be
// told here whether that one still lives. Nobody takes one without a new token.
func writeLease(s *scope, old, now *cf.Lease) (bool, error) {
	r := old
	if r == nil {
		r = now
	}
	build := cf.LeasedBuild(r.GUID)
	if build == "" {
		return false, nil
	}
	b, err := cf.First[cf.Build](s.tx, cf.Is("guid", build), cf.Is("state", "STAGING"))
	switch {
	case err != nil:
		return false, err
	case now == nil:
		return b == nil || old.Holder == s.me, nil
	case b == nil || now.Holder != s.me:
		return false, nil
	case old == nil:
		return now.Token == 1, nil
	}
	return now.Token == old.Token+1 || old.Holder == s.me && now.Token == old.Token, nil
}

func packageOfStager(s *scope, p *cf.Package) (*cf.Package, error) {
	err := s.place()
	return show(p, s.packages[p.GUID], err)
}

func appOfStager(s *scope, a *cf.App) (*cf.App, error) {
	ok, err := s.owns(a.GUID)
	return show(a, ok, err)
}

// spaceOfStager: of all, that they are there: caches of others are removed.
func spaceOfStager(s *scope, p *cf.Space) (*cf.Space, error) {
	n := &cf.Space{Meta: cf.Meta{GUID: p.GUID}}
	ok, err := s.inSpace(p.GUID)
	if ok {
		n.Name, n.OrgGUID = p.Name, p.OrgGUID
	}
	return n, err
}

func orgOfStager(s *scope, o *cf.Organization) (*cf.Organization, error) {
	if err := s.place(); err != nil {
		return nil, err
	}
	list, err := among[cf.Space](s, "guid", s.spaces)
	return show(&cf.Organization{Meta: bare(o.Meta), Name: o.Name}, slices.ContainsFunc(list, func(p *cf.Space) bool { return p.OrgGUID == o.GUID }), err)
}

func domainOfStager(s *scope, d *cf.Domain) (*cf.Domain, error) {
	ok, err := s.hasRoute(d.GUID)
	return show(domain(d), ok, err)
}

func serviceBindingOfStager(s *scope, b *cf.ServiceBinding) (*cf.ServiceBinding, error) {
	if b.AppGUID == "" {
		return nil, nil // a key, which no app is told
	}
	ok, err := s.owns(b.AppGUID)
	return show(b, ok, err)
}

func serviceInstanceOfStager(s *scope, i *cf.ServiceInstance) (*cf.ServiceInstance, error) {
	err := s.serve()
	return show(i, s.instances[i.GUID], err)
}

func planOfStager(s *scope, p *cf.ServicePlan) (*cf.ServicePlan, error) {
	err := s.serve()
	return show(&cf.ServicePlan{Meta: bare(p.Meta), OfferingGUID: p.OfferingGUID, Name: p.Name}, s.plans[p.GUID], err)
}

func offeringOfStager(s *scope, o *cf.ServiceOffering) (*cf.ServiceOffering, error) {
	err := s.serve()
	return show(&cf.ServiceOffering{Meta: bare(o.Meta), Name: o.Name, Tags: o.Tags}, s.offered[o.GUID], err)
}

func settingOfStager(_ *scope, s *cf.Setting) (*cf.Setting, error) {
	if s.GUID == cf.StagingEnv {
		return s, nil
	}
	return foundation(s, "url", "domain", "hosts"), nil
}

func writeDroplet(s *scope, old, now *cf.Droplet) (bool, error) {
	if old != nil || now.State != "STAGED" {
		return false, nil
	}
	return s.has(func(b *cf.Build) bool {
		return b.AppGUID == now.AppGUID && b.SpaceGUID == now.SpaceGUID && b.PackageGUID == now.PackageGUID
	})
}

// writeEvent: what became of a build, in the name of who asked for it.
func writeEvent(s *scope, old, now *cf.AuditEvent) (bool, error) {
	if old != nil || !slices.Contains([]string{"audit.app.build.failed", "audit.app.build.staged", "audit.app.droplet.create"}, now.Type) {
		return false, nil
	}
	return s.has(func(b *cf.Build) bool {
		return now.Actor == b.CreatedBy && now.SpaceGUID == b.SpaceGUID && now.Target == cf.Actor{GUID: b.AppGUID, Type: "app"}
	})
}

// sameMeta tells whether people's words on a record are as they were.
func sameMeta(a, b *cf.Meta) bool {
	return reflect.DeepEqual(a.Labels, b.Labels) && reflect.DeepEqual(a.Annotations, b.Annotations)
}
