package api

import (
	"errors"

	"github.com/dewpaas/dew/cf"
)

var buildList = listing[*cf.Build]{filters: with(ofApp, filters{"package_guids": by("package_guid")}), visible: inVisibleSpaces, show: showBuild}

func showBuild(c *call, b *cf.Build) (obj, error) {
	var droplet any
	if b.DropletGUID != "" {
		droplet = obj{"guid": b.DropletGUID}
	}
	return c.described(&b.Meta, "builds", obj{"state": b.State, "error": nullable(b.Error), "package": obj{"guid": b.PackageGUID}, "droplet": droplet, "created_by": obj{"guid": b.CreatedBy.GUID, "name": b.CreatedBy.Name, "email": b.CreatedBy.Name},
		"staging_memory_in_mb": b.MemoryMB, "staging_disk_in_mb": b.DiskMB, "staging_log_rate_limit_bytes_per_second": -1,
		"lifecycle":     obj{"type": "buildpack", "data": obj{"buildpacks": []string{}, "stack": "cflinuxfs4"}},
		"relationships": obj{"app": toOne(b.AppGUID)}, "links": obj{"app": c.link("apps", b.AppGUID)}}), nil
}

func (s *Server) buildRoutes(t table) {
	list(t, "/v3/builds", buildList)
	under(t, "builds", buildList)
	t.post("/v3/builds", 201, (*call).createBuild)
	t.get("/v3/builds/{guid}", inSpace("Build", look, showBuild))
	t.patch("/v3/builds/{guid}", inSpace("Build", develop, relabel(showBuild)))
}

const (
	defaultStagingMB = 1024
	maxStagingMB     = 16 << 10
)

func (c *call) createBuild() (any, error) {
	var b struct {
		Package   struct{ GUID string } `json:"package"`
		MemoryMB  *int                  `json:"staging_memory_in_mb"`
		DiskMB    *int                  `json:"staging_disk_in_mb"`
		LogRate   *int64                `json:"staging_log_rate_limit_bytes_per_second"`
		Lifecycle *lifecycle            `json:"lifecycle"`
		Metadata  metadata              `json:"metadata"`
	}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	p, err := cf.First[cf.Package](c.tx, cf.Is("guid", b.Package.GUID))
	if err != nil {
		return nil, err
	}
	gone := unprocessable("Unable to use package. Ensure that the package exists and you have access to it.")
	if p == nil {
		return nil, gone
	}
	s, err := c.space(p.SpaceGUID, operate, "Package")
	if err != nil {
		return nil, unlessForbidden(err, gone)
	}
	if err := b.Lifecycle.apply(new(cf.App)); err != nil {
		return nil, err
	}
	if p.State != ready {
		return nil, &refusal{400, 10004, "CF-BadRequest", "Bad request: Cannot stage package whose state is not ready."}
	}
	if busy, err := cf.First[cf.Build](c.tx, cf.Is("package_guid", p.GUID), cf.Is("state", "STAGING")); err != nil || busy != nil {
		return nil, orElse(err, &refusal{422, 170017, "CF-StagingInProgress", "Only one build can be STAGING at a time per package."})
	}
	if c.stager == nil {
		return nil, unavailable("No stager is connected to this API: packages cannot be staged.")
	}
	build := &cf.Build{AppGUID: p.AppGUID, SpaceGUID: p.SpaceGUID, PackageGUID: p.GUID, State: "STAGING", MemoryMB: defaultStagingMB, DiskMB: defaultStagingMB,
		CreatedBy: cf.Actor{GUID: c.id.GUID, Type: "user", Name: c.id.Name}}
	for from, into := range map[*int]*int{b.MemoryMB: &build.MemoryMB, b.DiskMB: &build.DiskMB} {
		if from != nil {
			*into = *from
		}
	}
	if build.MemoryMB < 1 || build.DiskMB < 1 || build.MemoryMB > maxStagingMB || build.DiskMB > maxStagingMB {
		return nil, unprocessable("Staging memory and disk in mb must be between 1 and %d", maxStagingMB)
	}
	if err := b.Metadata.apply(&build.Meta); err != nil {
		return nil, err
	}
	if err := c.tx.Insert(build); err != nil {
		return nil, err
	}
	if err := c.record("audit.app.build.create", cf.Actor{GUID: p.AppGUID, Type: "app"}, s, obj{"build_guid": build.GUID, "package_guid": p.GUID}); err != nil {
		return nil, err
	}
	c.then(func() error { return c.startBuild(build) })
	return showBuild(c, build)
}

// startBuild fails the build in the ledger when the stager does not take it, so
// that nobody waits for it.
func (c *call) startBuild(b *cf.Build) error {
	cause := c.stager.Stage(c.ctx, b.GUID)
	if cause == nil {
		return nil
	}
	err := c.store.Update(c.ctx, func(tx cf.Tx) error {
		now, err := cf.Get[cf.Build](tx, b.GUID)
		if err != nil || now.State != "STAGING" {
			return err
		}
		now.State, now.Error = "FAILED", "StagingError - the stager did not take the build"
		return tx.Save(now)
	})
	return errors.Join(cause, err)
}
