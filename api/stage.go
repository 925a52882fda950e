package api

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"slices"

	"github.com/dewpaas/dew/api/blob"
	"github.com/dewpaas/dew/cf"
)

var ofApp = filters{"app_guids": by("app_guid"), "space_guids": by("space_guid"), "states": by("state")}

func with(f filters, more filters) filters {
	out := filters{}
	for _, m := range []filters{f, more} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

var (
	packageList = listing[*cf.Package]{filters: with(ofApp, filters{"types": by("type")}), visible: inVisibleSpaces, show: showPackage}
	buildList   = listing[*cf.Build]{filters: with(ofApp, filters{"package_guids": by("package_guid")}), visible: inVisibleSpaces, show: showBuild}
	dropletList = listing[*cf.Droplet]{filters: ofApp, visible: inVisibleSpaces, show: showDroplet}
	taskList    = listing[*cf.Task]{filters: with(ofApp, filters{"names": by("name"), "sequence_ids": byNumber("sequence_id")}), visible: inVisibleSpaces, show: showTask}

	revisionList   = listing[*cf.Revision]{filters: filters{"versions": byNumber("version")}, visible: inVisibleSpaces, show: showRevision}
	deploymentList = listing[*cf.Deployment]{filters: filters{"app_guids": by("app_guid"), "status_values": by("status_value"), "status_reasons": by("status_reason")}, visible: inVisibleSpaces, show: showDeployment}
)

func showPackage(c *call, p *cf.Package) (obj, error) {
	checksum := obj{"type": "sha256", "value": nil}
	if p.Checksum != "" {
		checksum["value"] = p.Checksum
	}
	return c.described(&p.Meta, "packages", obj{"type": p.Type, "state": p.State, "data": obj{"error": nil, "checksum": checksum}, "relationships": obj{"app": toOne(p.AppGUID)},
		"links": obj{"upload": obj{"href": c.url + "/v3/packages/" + p.GUID + "/upload", "method": "POST"}, "app": c.link("apps", p.AppGUID)}}), nil
}

func showBuild(c *call, b *cf.Build) (obj, error) {
	var droplet, problem any
	if b.DropletGUID != "" {
		droplet = obj{"guid": b.DropletGUID}
	}
	if b.Error != "" {
		problem = b.Error
	}
	return c.described(&b.Meta, "builds", obj{"state": b.State, "error": problem, "package": obj{"guid": b.PackageGUID}, "droplet": droplet, "created_by": b.CreatedBy,
		"staging_memory_in_mb": b.MemoryMB, "staging_disk_in_mb": b.DiskMB, "lifecycle": obj{"type": "buildpack", "data": obj{"buildpacks": []string{}, "stack": "cflinuxfs4"}},
		"relationships": obj{"app": toOne(b.AppGUID)}}), nil
}

func showDroplet(c *call, d *cf.Droplet) (obj, error) {
	types := d.ProcessTypes
	if types == nil {
		types = map[string]string{}
	}
	return c.described(&d.Meta, "droplets", obj{"state": d.State, "error": nil, "stack": d.Stack, "image": nil, "lifecycle": obj{"type": "buildpack", "data": obj{}},
		"buildpacks": []obj{{"name": "go_buildpack", "buildpack_name": "go", "detect_output": "go", "version": nil}}, "process_types": types, "execution_metadata": "",
		"checksum": obj{"type": "sha256", "value": d.Checksum}, "relationships": obj{"app": toOne(d.AppGUID)}}), nil
}

func showTask(c *call, t *cf.Task) (obj, error) {
	return c.described(&t.Meta, "tasks", obj{"name": t.Name, "sequence_id": t.Sequence, "state": t.State, "memory_in_mb": t.MemoryMB, "disk_in_mb": t.DiskMB,
		"result": obj{"failure_reason": nil}, "droplet_guid": t.DropletGUID, "relationships": obj{"app": toOne(t.AppGUID)}}), nil
}

func showRevision(c *call, r *cf.Revision) (obj, error) {
	return c.described(&r.Meta, "revisions", obj{"version": r.Version, "description": r.Description, "deployable": true, "droplet": obj{"guid": r.DropletGUID},
		"relationships": obj{"app": toOne(r.AppGUID)}, "links": obj{"environment_variables": c.link("revisions", r.GUID, "environment_variables")}}), nil
}

func showDeployment(c *call, d *cf.Deployment) (obj, error) {
	return c.described(&d.Meta, "deployments", obj{"state": d.Reason, "strategy": d.Strategy, "status": obj{"value": d.Status, "reason": d.Reason, "details": obj{"last_status_change": d.UpdatedAt}},
		"options": obj{"max_in_flight": d.MaxInFlight}, "droplet": obj{"guid": d.DropletGUID}, "new_processes": []obj{}, "relationships": obj{"app": toOne(d.AppGUID)}}), nil
}

func (s *Server) stageRoutes(t table) {
	list(t, "/v3/packages", packageList)
	list(t, "/v3/builds", buildList)
	list(t, "/v3/droplets", dropletList)
	list(t, "/v3/tasks", taskList)
	list(t, "/v3/deployments", deploymentList)
	t.post("/v3/packages", 201, (*call).createPackage)
	t.get("/v3/packages/{guid}", one1("Package", showPackage))
	t.get("/v3/builds/{guid}", one1("Build", showBuild))
	t.get("/v3/droplets/{guid}", one1("Droplet", showDroplet))
	t.get("/v3/tasks/{guid}", one1("Task", showTask))
	t.get("/v3/deployments/{guid}", one1("Deployment", showDeployment))
	t.raw(http.MethodPost, "/v3/packages/{guid}/upload", (*call).upload)
	t.post("/v3/builds", 201, (*call).createBuild)
	// No match is always a correct answer: the CLI then uploads the file.
	t.post("/v3/resource_matches", 201, func(*call) (any, error) { return obj{"resources": []obj{}}, nil })
	list(t, "/v3/packages/{guid}/droplets", dropletList, func(c *call, q *cf.Query, _ []string) error {
		q.Where = append(q.Where, cf.Is("package_guid", c.param("guid")))
		return nil
	})
}

// one1 shows one record that lives in a space the caller sees.
func one1[T any, P interface {
	*T
	cf.Record
}](name string, show func(*call, P) (obj, error)) endpoint {
	return func(c *call) (any, error) {
		r, err := cf.Get[T, P](c.tx, c.param("guid"))
		if err != nil {
			return nil, hide(err, name)
		}
		space, _ := r.Keys()["space_guid"].(string)
		if _, err := c.space(space, look, name); err != nil {
			return nil, err
		}
		return show(c, r)
	}
}

func (c *call) createPackage() (any, error) {
	var b struct {
		Type          string
		Metadata      metadata `json:"metadata"`
		Relationships struct{ App one }
	}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	a, err := cf.Get[cf.App](c.tx, b.Relationships.App.guid())
	if err != nil {
		return nil, unprocessable("App is invalid. Ensure it exists and you have access to it.")
	}
	s, err := c.space(a.SpaceGUID, develop, "App")
	if err != nil {
		return nil, err
	}
	if b.Type != "bits" {
		return nil, unprocessable("Packages of type '%s' are not supported: Docker support is disabled.", b.Type)
	}
	p := &cf.Package{AppGUID: a.GUID, SpaceGUID: a.SpaceGUID, Type: b.Type, State: "AWAITING_UPLOAD"}
	if err := b.Metadata.apply(&p.Meta); err != nil {
		return nil, err
	}
	if err := c.tx.Insert(p); err != nil {
		return nil, err
	}
	if err := c.record("audit.app.package.create", target(a), s, obj{"package_guid": p.GUID}); err != nil {
		return nil, err
	}
	return showPackage(c, p)
}

const (
	maxUpload   = 1 << 30
	maxUnpacked = 2 << 30
	maxFiles    = 100_000
)

// upload takes the bits of a package. The bytes are kept outside of any
// transaction; the package is READY only once they are on disk.
func (c *call) upload(w http.ResponseWriter) error {
	var p *cf.Package
	var answer any
	load := func() (err error) {
		if p, err = cf.Get[cf.Package](c.tx, c.param("guid")); err != nil {
			return hide(err, "Package")
		}
		if _, err = c.space(p.SpaceGUID, develop, "Package"); err != nil {
			return err
		}
		if open, err := c.flag("app_bits_upload"); err != nil || !open && !c.admin() {
			return orForbidden(err)
		}
		if p.State != "AWAITING_UPLOAD" {
			return &refusal{400, 150005, "CF-PackageBitsAlreadyUploaded", "Bits may be uploaded only once. Create a new package to upload different bits."}
		}
		return nil
	}
	if err := c.transact(false, load); err != nil {
		return err
	}
	c.r.Body = http.MaxBytesReader(w, c.r.Body, maxUpload+maxBody)
	sum, err := c.bits()
	if err != nil {
		return err
	}
	err = c.transact(true, func() error {
		if err := load(); err != nil {
			return err
		}
		p.State, p.Checksum = "READY", sum
		if err := c.tx.Save(p); err != nil {
			return err
		}
		answer, err = showPackage(c, p)
		return err
	})
	if err == nil {
		reply(w, http.StatusOK, answer)
	}
	return err
}

func (c *call) bits() (string, error) {
	kind, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return "", unprocessable("Upload must be multipart/form-data")
	}
	form := multipart.NewReader(c.r.Body, params["boundary"])
	for range 8 {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", badBody("the multipart body is broken")
		}
		if part.FormName() != "bits" {
			continue
		}
		sum, err := c.blobs.Put(part, maxUpload, func(r io.ReaderAt, size int64) error {
			return blob.Check(r, size, blob.Limits{Bytes: maxUnpacked, Files: maxFiles})
		})
		return sum, uploadError(err)
	}
	return "", unprocessable("Upload must include either resources or bits")
}

func uploadError(err error) error {
	var tooLong *http.MaxBytesError
	switch {
	case errors.Is(err, blob.ErrSize), errors.As(err, &tooLong):
		return &refusal{413, 290003, "CF-UploadTooLarge", "The package is larger than 1 GiB."}
	case errors.Is(err, blob.ErrZip):
		return &refusal{400, 160001, "CF-AppBitsUploadInvalid", "The app upload is invalid: " + err.Error()}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return badBody("the upload was cut off")
	case err != nil && isFull(err):
		return &cf.Error{Op: "keep the upload", Kind: cf.Exhausted, Err: err}
	}
	return err
}

func isFull(err error) bool {
	var p *os.PathError
	return errors.As(err, &p) && slices.Contains([]string{"no space left on device", "disk quota exceeded"}, p.Err.Error())
}

func (c *call) createBuild() (any, error) {
	var b struct {
		Package  struct{ GUID string }
		MemoryMB int `json:"staging_memory_in_mb"`
		DiskMB   int `json:"staging_disk_in_mb"`
	}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	p, err := cf.Get[cf.Package](c.tx, b.Package.GUID)
	if err != nil {
		return nil, unprocessable("Unable to use package. Ensure that the package exists and you have access to it.")
	}
	s, err := c.space(p.SpaceGUID, develop, "Package")
	if err != nil {
		return nil, err
	}
	if p.State != "READY" {
		return nil, &refusal{400, 10004, "CF-BadRequest", "Bad request: Cannot stage package whose state is not ready."}
	}
	if c.stager == nil {
		return nil, unavailable("No stager is connected to this API: packages cannot be staged.")
	}
	build := &cf.Build{AppGUID: p.AppGUID, SpaceGUID: p.SpaceGUID, PackageGUID: p.GUID, State: "STAGING", MemoryMB: max(b.MemoryMB, 1024), DiskMB: max(b.DiskMB, 1024),
		CreatedBy: cf.Actor{GUID: c.id.GUID, Type: "user", Name: c.id.Name}}
	if err := c.tx.Insert(build); err != nil {
		return nil, err
	}
	if err := c.record("audit.app.build.create", cf.Actor{GUID: p.AppGUID, Type: "app"}, s, obj{"build_guid": build.GUID, "package_guid": p.GUID}); err != nil {
		return nil, err
	}
	c.after = func() error { return c.startBuild(build) }
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
