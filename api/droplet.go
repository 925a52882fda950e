package api

import (
	"errors"
	"io"
	"net/http"

	"github.com/dewpaas/dew/cf"
)

var dropletList = listing[*cf.Droplet]{filters: with(ofApp, filters{"organization_guids": byOrg}), visible: inVisibleSpaces, show: showDroplet}

// showDroplet shows process types, which hold commands, to developers only.
func showDroplet(c *call, d *cf.Droplet) (obj, error) {
	s, err := cf.Get[cf.Space](c.tx, d.SpaceGUID)
	if err != nil {
		return nil, err
	}
	types := any(obj{"redacted_message": "[PRIVATE DATA HIDDEN]"})
	if c.may(s, secrets) {
		types = filled(d.ProcessTypes)
	}
	var checksum any
	if d.Checksum != "" {
		checksum = obj{"type": "sha256", "value": d.Checksum}
	}
	links := obj{"app": c.link("apps", d.AppGUID), "download": c.link("droplets", d.GUID, "download"),
		"assign_current_droplet": obj{"href": c.url + "/v3/apps/" + d.AppGUID + "/relationships/current_droplet", "method": "PATCH"}}
	if d.PackageGUID != "" {
		links["package"] = c.link("packages", d.PackageGUID)
	}
	return c.described(&d.Meta, "droplets", obj{"state": d.State, "error": nullable(d.Error), "stack": d.Stack, "image": nil, "lifecycle": obj{"type": "buildpack", "data": obj{}},
		"buildpacks": []obj{{"name": "go_buildpack", "buildpack_name": "go", "detect_output": "go", "version": nullable(d.Builder)}}, "process_types": types, "execution_metadata": "",
		"checksum": checksum, "relationships": obj{"app": toOne(d.AppGUID)}, "links": links}), nil
}

// currentDroplet leaves of an app's droplets the one that it has now.
func currentDroplet(c *call, q *cf.Query, values []string) error {
	if len(values) != 1 || values[0] != "true" && values[0] != "false" {
		return badQuery("current must be true or false")
	}
	a, _, err := c.app("guid", look)
	if err == nil && values[0] == "true" {
		q.Where = append(q.Where, cf.Is("guid", a.DropletGUID))
	}
	return err
}

// Droplets keeps the bytes of droplets. A droplet is verified when it comes in.
type Droplets interface {
	// Import reads a droplet, which is hostile until it was verified, and
	// returns its digest and the start command of each process type.
	Import(r io.Reader) (sum string, types map[string]string, err error)
	// Export writes a droplet as one file.
	Export(w io.Writer, sum string) error
}

func (s *Server) dropletRoutes(t table) {
	list(t, "/v3/droplets", dropletList)
	ofOneApp := dropletList
	ofOneApp.filters = with(dropletList.filters, filters{"current": currentDroplet})
	under(t, "droplets", ofOneApp)
	t.post("/v3/droplets", 201, (*call).createDroplet, "source_guid")
	t.get("/v3/droplets/{guid}", inSpace("Droplet", look, showDroplet))
	t.patch("/v3/droplets/{guid}", inSpace("Droplet", develop, relabel(showDroplet)))
	t.delete("/v3/droplets/{guid}", 202, (*call).deleteDroplet)
	t.raw(http.MethodPost, "/v3/droplets/{guid}/upload", (*call).uploadDroplet)
	t.raw(http.MethodGet, "/v3/droplets/{guid}/download", (*call).downloadDroplet)
}

func (c *call) createDroplet() (any, error) {
	var b struct {
		Types         map[string]string `json:"process_types"`
		Relationships struct{ App one }
	}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	a, s, err := c.appFrom(b.Relationships.App, develop)
	if err != nil {
		return nil, err
	}
	d := &cf.Droplet{AppGUID: a.GUID, SpaceGUID: a.SpaceGUID, State: awaitingUpload, Stack: a.Stack, ProcessTypes: b.Types}
	if source := c.r.URL.Query().Get("source_guid"); source != "" {
		err = c.copyDroplet(d, source)
	} else if c.droplets == nil {
		err = unavailable("No stager is connected to this API: droplets cannot be uploaded.")
	}
	if err != nil {
		return nil, err
	}
	if err := c.tx.Insert(d); err != nil {
		return nil, err
	}
	if err := c.record("audit.app.droplet.create", target(a), s, obj{"droplet_guid": d.GUID}); err != nil {
		return nil, err
	}
	return showDroplet(c, d)
}

// copyDroplet makes d the copy of another app's droplet: droplets are found by
// their digest, so there are no bytes to move.
func (c *call) copyDroplet(d *cf.Droplet, source string) error {
	from, err := cf.First[cf.Droplet](c.tx, cf.Is("guid", source))
	if err != nil {
		return err
	}
	if from == nil {
		return notFound("Droplet")
	}
	if _, err := c.space(from.SpaceGUID, develop, "Droplet"); err != nil {
		return err
	}
	if from.State != "STAGED" {
		return unprocessable("source droplet is not staged")
	}
	d.State, d.Checksum, d.Stack, d.Builder, d.ProcessTypes = from.State, from.Checksum, from.Stack, from.Builder, from.ProcessTypes
	return nil
}

func (c *call) deleteDroplet() (any, error) {
	d, err := find[cf.Droplet](c, "Droplet", develop)
	if err != nil {
		return nil, err
	}
	a, err := cf.Get[cf.App](c.tx, d.AppGUID)
	if err != nil {
		return nil, err
	}
	if a.DropletGUID == d.GUID {
		return nil, unprocessable("The droplet is the current one of its app. Set another one first.")
	}
	if err := c.tx.Delete(d); err != nil {
		return nil, err
	}
	if err := c.recordApp("audit.app.droplet.delete", a, obj{"droplet_guid": d.GUID}); err != nil {
		return nil, err
	}
	return c.done("droplet.delete")
}

// uploadDroplet takes a droplet that was downloaded before, perhaps elsewhere.
func (c *call) uploadDroplet(w http.ResponseWriter) error {
	var d *cf.Droplet
	load := func() (err error) {
		if d, err = find[cf.Droplet](c, "Droplet", develop); err != nil {
			return err
		}
		if err := c.enabled("app_bits_upload"); err != nil {
			return err
		}
		if d.State != awaitingUpload {
			return unprocessable("Droplet may be uploaded only once. Create a new droplet to upload different bits.")
		}
		if c.droplets == nil {
			return unavailable("No stager is connected to this API: droplets cannot be uploaded.")
		}
		return nil
	}
	leave, err := c.admit(w, c.maxUpload+maxBody, load, func() string { return d.SpaceGUID })
	if err != nil {
		return err
	}
	defer leave()
	sum, types, size, err := c.dropletBits()
	if err != nil {
		return err
	}
	err = c.transact(true, func() error {
		if err := load(); err != nil {
			return err
		}
		if err := c.room(d.SpaceGUID, size); err != nil {
			return err
		}
		d.State, d.Checksum, d.Bytes = "STAGED", sum, size
		if len(d.ProcessTypes) == 0 {
			d.ProcessTypes = types
		}
		if err := c.tx.Save(d); err != nil {
			return err
		}
		if err := c.recordBits(d, "upload"); err != nil {
			return err
		}
		_, err := c.done("droplet.upload")
		return err
	})
	if err != nil {
		return err
	}
	w.Header().Set("Location", c.location)
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (c *call) dropletBits() (sum string, types map[string]string, size int64, err error) {
	form, err := c.form()
	if err != nil {
		return "", nil, 0, err
	}
	for range 8 {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", nil, 0, c.badForm(err)
		}
		if part.FormName() != "bits" {
			continue
		}
		bits := &counted{r: part}
		sum, types, err := c.droplets.Import(bits)
		if shown := c.uploadError(err); shown != err {
			return "", nil, 0, shown
		}
		if err != nil {
			return "", nil, 0, unprocessable("The droplet is invalid: %v", err)
		}
		return sum, types, bits.n, nil
	}
	return "", nil, 0, unprocessable("Upload must include bits")
}

// counted counts what is read.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

func (c *call) downloadDroplet(w http.ResponseWriter) error {
	return c.redirect(w, "droplets", func() (string, error) {
		d, err := find[cf.Droplet](c, "Droplet", look)
		if err != nil {
			return "", err
		}
		if _, err := c.space(d.SpaceGUID, take, "Droplet"); err != nil {
			return "", err
		}
		if d.State != "STAGED" || c.droplets == nil {
			return "", unprocessable("Droplet has no bits to download.")
		}
		return d.Checksum, c.recordBits(d, "download")
	})
}

// sendDroplet breaks the connection off when the droplet cannot be read to its
// end, so that nobody takes a part for the whole.
func (s *Server) sendDroplet(w http.ResponseWriter, r *http.Request, sum string) {
	if s.droplets == nil {
		s.fail(w, r, notFound("Droplet"))
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := s.droplets.Export(w, sum); err != nil {
		s.log.Error("droplet download failed", "droplet", sum, "err", err)
		panic(http.ErrAbortHandler)
	}
}
