package api

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"strconv"
	"syscall"

	"github.com/dewpaas/dew/api/blob"
	"github.com/dewpaas/dew/cf"
)

// The states of a package.
const (
	awaitingUpload = "AWAITING_UPLOAD"
	ready          = "READY"
	expired        = "EXPIRED"
)

var packageList = listing[*cf.Package]{filters: with(ofApp, filters{"types": by("type"), "organization_guids": byOrg}), visible: inVisibleSpaces, show: showPackage}

func showPackage(c *call, p *cf.Package) (obj, error) {
	checksum := obj{"type": "sha256", "value": nullable(p.Checksum)}
	return c.described(&p.Meta, "packages", obj{"type": p.Type, "state": p.State, "data": obj{"error": nullable(p.Error), "checksum": checksum}, "relationships": obj{"app": toOne(p.AppGUID)},
		"links": obj{"upload": obj{"href": c.url + "/v3/packages/" + p.GUID + "/upload", "method": "POST"},
			"download": obj{"href": c.url + "/v3/packages/" + p.GUID + "/download", "method": "GET"}, "app": c.link("apps", p.AppGUID)}}), nil
}

func (s *Server) packageRoutes(t table) {
	list(t, "/v3/packages", packageList)
	under(t, "packages", packageList)
	t.post("/v3/packages", 201, (*call).createPackage, "source_guid")
	t.get("/v3/packages/{guid}", inSpace("Package", look, showPackage))
	t.patch("/v3/packages/{guid}", inSpace("Package", develop, relabel(showPackage)))
	t.delete("/v3/packages/{guid}", 202, (*call).deletePackage)
	t.raw(http.MethodPost, "/v3/packages/{guid}/upload", (*call).upload)
	t.raw(http.MethodGet, "/v3/packages/{guid}/download", (*call).downloadPackage)
	t.post("/v3/resource_matches", 201, (*call).matchResources)
	list(t, "/v3/packages/{guid}/droplets", dropletList, func(c *call, q *cf.Query, _ []string) error {
		_, err := inSpace("Package", look, showPackage)(c)
		q.Where = append(q.Where, cf.Is("package_guid", c.param("guid")))
		return err
	})
}

func (c *call) createPackage() (any, error) {
	var b struct {
		Type          string          `json:"type"`
		Data          json.RawMessage `json:"data"` // of docker images, which are refused
		Metadata      metadata        `json:"metadata"`
		Relationships struct{ App one }
	}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	a, s, err := c.appFrom(b.Relationships.App, develop)
	if err != nil {
		return nil, err
	}
	p := &cf.Package{AppGUID: a.GUID, SpaceGUID: a.SpaceGUID, Type: b.Type, State: awaitingUpload}
	if source := c.r.URL.Query().Get("source_guid"); source != "" {
		err = c.copyPackage(p, source)
	} else if b.Type != "bits" {
		err = unprocessable("Packages of type '%s' are not supported: Docker support is disabled.", b.Type)
	}
	if err != nil {
		return nil, err
	}
	if err := b.Metadata.apply(&p.Meta); err != nil {
		return nil, err
	}
	if err := c.tx.Insert(p); err != nil {
		return nil, err
	}
	if err := c.record("audit.app.package.create", target(a), s, obj{"package_guid": p.GUID, "request": obj{"type": p.Type}}); err != nil {
		return nil, err
	}
	return showPackage(c, p)
}

// copyPackage makes p the copy of a package that the caller could download: the
// bytes are kept once.
func (c *call) copyPackage(p *cf.Package, source string) error {
	from, err := cf.First[cf.Package](c.tx, cf.Is("guid", source))
	if err != nil {
		return err
	}
	gone := unprocessable("Source package is invalid. Ensure it exists and you have access to it.")
	if from == nil || from.State != ready {
		return gone
	}
	if _, err := c.space(from.SpaceGUID, develop, "Package"); err != nil {
		return gone
	}
	p.Type, p.State, p.Checksum, p.Bytes = from.Type, from.State, from.Checksum, from.Bytes
	return nil
}

func (c *call) deletePackage() (any, error) {
	p, err := find[cf.Package](c, "Package", develop)
	if err != nil {
		return nil, err
	}
	if err := c.tx.Delete(p); err != nil {
		return nil, err
	}
	if err := c.recordBits(p, "delete"); err != nil {
		return nil, err
	}
	return c.done("package.delete")
}

// DefaultUpload is how many bytes an upload may have unless the operator says
// otherwise: CAPI's own bound. It may unpack to twice as many.
const DefaultUpload = 1 << 30

const maxFiles = 100_000

// upload takes the bits of a package. The bytes are kept outside of any
// transaction; the package is READY only once they are on disk.
func (c *call) upload(w http.ResponseWriter) error {
	var p *cf.Package
	var pool []string
	var answer any
	load := func() (err error) {
		if p, err = find[cf.Package](c, "Package", develop); err != nil {
			return err
		}
		if err := c.enabled("app_bits_upload"); err != nil {
			return err
		}
		if p.State != awaitingUpload {
			return &refusal{400, 150005, "CF-PackageBitsAlreadyUploaded", "Bits may be uploaded only once. Create a new package to upload different bits."}
		}
		pool, err = c.pool()
		return err
	}
	leave, err := c.admit(w, c.maxUpload+2*maxBody, load, func() string { return p.SpaceGUID })
	if err != nil {
		return err
	}
	defer leave()
	sum, err := c.bits(pool)
	if err != nil {
		return err
	}
	bits, err := os.Stat(c.blobs.Path(sum))
	if err != nil {
		return err
	}
	err = c.transact(true, func() error {
		if err := load(); err != nil {
			return err
		}
		if err := c.room(p.SpaceGUID, bits.Size()); err != nil {
			return err
		}
		p.State, p.Checksum, p.Bytes = ready, sum, bits.Size()
		if err := c.tx.Save(p); err != nil {
			return err
		}
		if answer, err = showPackage(c, p); err != nil {
			return err
		}
		return c.recordBits(p, "upload")
	})
	if err == nil {
		reply(w, http.StatusOK, answer)
	}
	return err
}

// bits keeps what the form has: files of older packages, named in the field
// resources, then a zip in the field bits, or one of both.
func (c *call) bits(pool []string) (sum string, err error) {
	form, err := c.form()
	if err != nil {
		return "", err
	}
	var wants []blob.Want
	matched := false
	limits := blob.Limits{Bytes: 2 * c.maxUpload, Files: maxFiles}
	for range 8 {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", c.badForm(err)
		}
		switch part.FormName() {
		case "resources":
			if err := eachResource(part, func(_ resource, w blob.Want) { wants = append(wants, w) }); err != nil {
				return "", err
			}
			matched = true
		case "bits":
			sum, err := c.blobs.PutZip(part, c.maxUpload, pool, wants, limits)
			return sum, c.uploadError(err)
		}
	}
	if !matched || len(wants) == 0 {
		return "", unprocessable("Upload must include either resources or bits")
	}
	sum, err = c.blobs.PutZip(nil, 0, pool, wants, limits)
	return sum, c.uploadError(err)
}

func (c *call) form() (*multipart.Reader, error) {
	kind, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return nil, unprocessable("Upload must be multipart/form-data")
	}
	return multipart.NewReader(c.r.Body, params["boundary"]), nil
}

func (c *call) badForm(err error) error {
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		return c.uploadError(err)
	}
	return badBody("the multipart body is broken")
}

// resource is a file as the CLI describes it, in the words of V3 or of V2.
type resource struct {
	Path     string `json:"path,omitempty"`
	Mode     string `json:"mode,omitempty"`
	Checksum *struct {
		Value string `json:"value"`
	} `json:"checksum,omitempty"`
	Size *int64 `json:"size_in_bytes,omitempty"`

	OldPath string `json:"fn,omitempty"`
	OldSHA1 string `json:"sha1,omitempty"`
	OldSize *int64 `json:"size,omitempty"`
}

func (r resource) want() (w blob.Want, err error) {
	text, size := r.OldSHA1, r.OldSize
	if r.Checksum != nil {
		text = r.Checksum.Value
	}
	if r.Size != nil {
		size = r.Size
	}
	w.Path, w.Mode = r.Path, 0o644
	if w.Path == "" {
		w.Path = r.OldPath
	}
	sum, err := hex.DecodeString(text)
	if err != nil || len(sum) != len(w.SHA1) || size == nil || *size < 0 {
		return w, unprocessable("Resources must have a SHA-1 checksum and a size")
	}
	copy(w.SHA1[:], sum)
	w.Size = *size
	if r.Mode != "" {
		mode, err := strconv.ParseUint(r.Mode, 8, 32)
		if err != nil || mode > 0o7777_777 {
			return w, unprocessable("Resources mode '%.20s' is no file mode", r.Mode)
		}
		w.Mode = fs.FileMode(mode) & fs.ModePerm
	}
	return w, nil
}

// eachResource reads an array of files one by one: "{}" a million times over is
// a small body and would be a large list.
func eachResource(r io.Reader, f func(resource, blob.Want)) error {
	bad := unprocessable("Resources must be a JSON array of files")
	d := json.NewDecoder(io.LimitReader(r, 32*maxBody))
	if open, err := d.Token(); err != nil || open != json.Delim('[') {
		return bad
	}
	for n := 0; d.More(); n++ {
		var one resource
		if n == maxFiles {
			return unprocessable("Resources are more than %d", maxFiles)
		}
		if d.Decode(&one) != nil {
			return bad
		}
		w, err := one.want()
		if err != nil {
			return err
		}
		f(one, w)
	}
	if _, err := d.Token(); err != nil {
		return bad
	}
	return nil
}

// maxPool bounds how many packages are searched for files.
const maxPool = 500

// pool is the newest package of each app whose bits the caller might download.
// Others' packages are no cache: whoever knows a digest must not get the file.
func (c *call) pool() ([]string, error) {
	q := cf.Query{Where: []cf.Cond{cf.Is("state", ready)}, Order: []cf.Order{{Key: "created_at", Descending: true}}, Limit: 4 * maxPool}
	if !c.admin() {
		developed := []string{}
		for guid, roles := range c.spaces {
			if roles[cf.SpaceDeveloper] {
				developed = append(developed, guid)
			}
		}
		q.Where = append(q.Where, cf.Is("space_guid", developed...))
	}
	list, err := cf.List[cf.Package](c.tx, q)
	sums, apps := []string{}, map[string]bool{}
	for _, p := range list {
		if !apps[p.AppGUID] && len(sums) < maxPool {
			apps[p.AppGUID] = true
			sums = append(sums, p.Checksum)
		}
	}
	return sums, err
}

func (c *call) matchResources() (any, error) {
	var b struct {
		Resources json.RawMessage `json:"resources"`
	}
	if err := c.read(&b); err != nil {
		return nil, err
	}
	matched := []resource{}
	on, err := c.flag("resource_matching")
	if err != nil || !on {
		return obj{"resources": matched}, err
	}
	pool, err := c.pool()
	if err != nil {
		return nil, err
	}
	if len(b.Resources) == 0 || string(b.Resources) == "null" {
		b.Resources = json.RawMessage("[]")
	}
	err = eachResource(bytes.NewReader(b.Resources), func(r resource, w blob.Want) {
		if w.Size > 0 && c.blobs.Has(pool, w.File) {
			matched = append(matched, r)
		}
	})
	return obj{"resources": matched}, err
}

func (c *call) uploadError(err error) error {
	var tooLong *http.MaxBytesError
	switch {
	case errors.Is(err, blob.ErrSize), errors.As(err, &tooLong):
		return &refusal{413, 290003, "CF-UploadTooLarge", fmt.Sprintf("The upload is larger than %d bytes. Leave out what is not needed to build or run: list it in .cfignore.", c.maxUpload)}
	case errors.Is(err, blob.ErrZip):
		return &refusal{400, 160001, "CF-AppBitsUploadInvalid", "The app upload is invalid: " + err.Error()}
	case errors.Is(err, blob.ErrNoFile):
		return unprocessable("%v", err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return badBody("the upload was cut off")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &cf.Error{Op: "keep the upload", Kind: cf.Exhausted, Err: err}
	}
	return err
}

func (c *call) downloadPackage(w http.ResponseWriter) error {
	return c.redirect(w, "packages", func() (string, error) {
		p, err := find[cf.Package](c, "Package", secrets)
		if err == nil && p.State != ready {
			err = unprocessable("Package has no bits to download.")
		}
		if err != nil {
			return "", err
		}
		return p.Checksum, c.recordBits(p, "download")
	})
}
