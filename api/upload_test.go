package api

import (
	"archive/zip"
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dewpaas/dew/api/blob"
	"github.com/dewpaas/dew/store/sqlite"
)

// form is an upload: the resources that were matched, and a zip, either of which
// may be absent.
func form(t testing.TB, resources string, zipped []byte) (kind string, body []byte) {
	var b bytes.Buffer
	f := multipart.NewWriter(&b)
	if resources != "" {
		if err := f.WriteField("resources", resources); err != nil {
			t.Fatal(err)
		}
	}
	if zipped != nil {
		part, err := f.CreateFormFile("bits", "package.zip")
		if err == nil {
			_, err = part.Write(zipped)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.FormDataContentType(), b.Bytes()
}

func zipOf(t testing.TB, files map[string]string, links ...string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	add := func(name, body string, mode fs.FileMode) {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(mode)
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(w, body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, body := range files {
		add(name, body, 0o644)
	}
	for _, link := range links {
		name, target, _ := strings.Cut(link, " ")
		add(name, target, fs.ModeSymlink|0o777)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (f *foundation) pack(token, app string) string {
	f.t.Helper()
	return guid(f.do(201, token, "POST", "/v3/packages", `{"type":"bits","relationships":{`+to("app", app)+`}}`))
}

func TestUpload(t *testing.T) {
	f := foundationWith(t, func(c *Config) { c.Upload = 1 << 20 })
	token, _, _, app := f.tenant(f.login("admin", "pw"), "ann")
	good := zipOf(t, map[string]string{"main.go": "package main", "static/a": "x"}, "link static/a")
	big := make([]byte, 3<<20)
	for _, c := range []struct {
		say  string
		kind string
		body []byte
		want int
		text string
	}{
		{"a path that leaves", "", zipOf(t, map[string]string{"../main.go": "x"}), 400, "leaves the package"},
		{"a link that leaves", "", zipOf(t, nil, "link ../../etc/passwd"), 400, "leaves the package"},
		{"a file below a link", "", zipOf(t, map[string]string{"d/x": "y"}, "d ."), 400, "which is no folder"},
		{"a bomb", "", zipOf(t, map[string]string{"zeros": strings.Repeat("0", 3<<20)}), 400, "more bytes than are allowed"},
		{"a broken zip", "", good[:len(good)/2], 400, "not a zip"},
		{"no zip", "", []byte("hello"), 400, "not a zip"},
		{"too large", "", big, 413, "larger than 1048576 bytes"},
		{"no form", "application/zip", good, 422, "multipart/form-data"},
		{"a cut form", "multipart/form-data; boundary=x", []byte("--x\r\nContent-Disposition: form-data; name=\"bits\"\r\n\r\nPK"), 400, ""},
		{"a package", "", good, 200, ""},
	} {
		pack := f.pack(token, app)
		kind, body := c.kind, c.body
		if kind == "" {
			kind, body = form(t, "", c.body)
		}
		w := f.send("POST", "/v3/packages/"+pack+"/upload", token, kind, body)
		if w.Code != c.want || !strings.Contains(w.Body.String(), c.text) {
			t.Errorf("%s: %d %s, want %d %s", c.say, w.Code, w.Body, c.want, c.text)
		}
		state := f.do(200, token, "GET", "/v3/packages/"+pack, "")["state"]
		if (state == "READY") != (c.want == 200) {
			t.Errorf("%s: the package is %v", c.say, state)
		}
		if c.want == 200 {
			if w := f.send("POST", "/v3/packages/"+pack+"/upload", token, kind, body); w.Code != 400 {
				t.Errorf("a second upload: %d", w.Code)
			}
			f.download(token, pack, good)
		}
	}
}

// download follows the ticket, as clients do: without a token.
func (f *foundation) download(token, pack string, want []byte) {
	f.t.Helper()
	w := f.send("GET", "/v3/packages/"+pack+"/download", token, "", nil)
	to := w.Header().Get("Location")
	if w.Code != 302 || !strings.HasPrefix(to, home+"/blobs/packages/") {
		f.t.Fatalf("download: %d to %q", w.Code, to)
	}
	if got := f.send("GET", to, "", "", nil); got.Code != 200 || !bytes.Equal(got.Body.Bytes(), want) {
		f.t.Errorf("the ticket gave %d and %d bytes, want %d", got.Code, got.Body.Len(), len(want))
	}
	for _, forged := range []string{strings.Replace(to, "signature=", "signature=0", 1), strings.Replace(to, "expires=", "expires=9", 1), strings.Replace(to, "/packages/", "/droplets/", 1)} {
		if got := f.send("GET", forged, "", "", nil); got.Code != 403 {
			f.t.Errorf("a forged ticket %s: %d", forged, got.Code)
		}
	}
}

func resourceOf(path, content, mode string) string {
	sum := sha1.Sum([]byte(content))
	return fmt.Sprintf(`{"path":%q,"mode":%q,"checksum":{"value":%q},"size_in_bytes":%d}`, path, mode, hex.EncodeToString(sum[:]), len(content))
}

// TestResourceCache: a second push of the same files uploads only what is new,
// and nobody gets a file by knowing its digest.
func TestResourceCache(t *testing.T) {
	f := newFoundation(t)
	admin := f.login("admin", "pw")
	ann, _, _, app := f.tenant(admin, "ann")
	bob, _, _, theirs := f.tenant(admin, "bob")
	old := f.pack(ann, app)
	kind, body := form(t, "", zipOf(t, map[string]string{"main.go": "package main", "secret.txt": "the secret"}))
	f.send("POST", "/v3/packages/"+old+"/upload", ann, kind, body)
	wanted := "[" + resourceOf("main.go", "package main", "0644") + "," + resourceOf("copy/secret.txt", "the secret", "0755") + "," + resourceOf("new.txt", "new", "0644") + "]"
	matched := func(token string) []any {
		return f.do(201, token, "POST", "/v3/resource_matches", `{"resources":`+wanted+`}`)["resources"].([]any)
	}
	if got := matched(ann); len(got) != 2 {
		t.Fatalf("matched %v", got)
	}
	if got := matched(bob); len(got) != 0 {
		t.Fatalf("another tenant's files are matched: %v", got)
	}
	text, err := json.Marshal(matched(ann))
	if err != nil {
		t.Fatal(err)
	}
	kind, body = form(t, string(text), zipOf(t, map[string]string{"new.txt": "new"}))
	if w := f.send("POST", "/v3/packages/"+f.pack(bob, theirs)+"/upload", bob, kind, body); w.Code != 422 {
		t.Errorf("another tenant got files by their digest: %d %s", w.Code, w.Body)
	}
	next := f.pack(ann, app)
	if w := f.send("POST", "/v3/packages/"+next+"/upload", ann, kind, body); w.Code != 200 {
		t.Fatalf("upload: %d %s", w.Code, w.Body)
	}
	f.contents(ann, next, map[string]string{"main.go": "package main", "copy/secret.txt": "the secret", "new.txt": "new"})
	// Everything matched: there is no zip at all.
	kind, body = form(t, string(text), nil)
	next = f.pack(ann, app)
	if w := f.send("POST", "/v3/packages/"+next+"/upload", ann, kind, body); w.Code != 200 {
		t.Fatalf("upload without a zip: %d %s", w.Code, w.Body)
	}
	f.contents(ann, next, map[string]string{"main.go": "package main", "copy/secret.txt": "the secret"})
	for say, c := range map[string]struct {
		resources string
		zipped    []byte
		want      int
	}{
		"nothing": {"[]", nil, 422}, "no list": {"{}", nil, 422}, "a path that leaves": {"[" + resourceOf("../x", "package main", "0644") + "]", nil, 400},
		"a path that is uploaded too": {"[" + resourceOf("a", "package main", "0644") + "]", zipOf(t, map[string]string{"a": "b"}), 400},
		"a list cut off":              {"[" + resourceOf("a", "package main", "0644"), nil, 422},
		"too many":                    {"[" + strings.Repeat(resourceOf("a", "package main", "0644")+",", maxFiles) + resourceOf("b", "package main", "0644") + "]", nil, 422},
		"a mode that is none":         {"[" + resourceOf("a", "package main", "rwx") + "]", nil, 422},
	} {
		kind, body := form(t, c.resources, c.zipped)
		if w := f.send("POST", "/v3/packages/"+f.pack(ann, app)+"/upload", ann, kind, body); w.Code != c.want {
			t.Errorf("%s: %d %s, want %d", say, w.Code, w.Body, c.want)
		}
	}
	f.do(200, admin, "PATCH", "/v3/feature_flags/resource_matching", `{"enabled":false}`)
	if got := matched(ann); len(got) != 0 {
		t.Errorf("matched although it is off: %v", got)
	}
}

func (f *foundation) contents(token, pack string, want map[string]string) {
	f.t.Helper()
	sum, _ := at(f.do(200, token, "GET", "/v3/packages/"+pack, ""), "data.checksum.value").(string)
	z, err := zip.OpenReader(f.api.blobs.Path(sum))
	if err != nil {
		f.t.Fatal(err)
	}
	defer z.Close()
	got := map[string]string{}
	for _, file := range z.File {
		in, err := file.Open()
		if err != nil {
			f.t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			f.t.Fatal(err)
		}
		got[file.Name] = string(text)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		f.t.Errorf("the package holds %v, want %v", got, want)
	}
}

func TestCopies(t *testing.T) {
	f := newRunning(t)
	admin := f.login("admin", "pw")
	ann, _, space, app := f.tenant(admin, "ann")
	bob, _, _, theirs := f.tenant(admin, "bob")
	droplet := f.staged(ann, app)
	source := at(f.do(200, ann, "GET", "/v3/apps/"+app+"/packages", ""), "resources.0.guid").(string)
	second := guid(f.do(201, ann, "POST", "/v3/apps", `{"name":"second","relationships":{`+to("space", space)+`}}`))
	f.want(f.do(201, ann, "POST", "/v3/packages?source_guid="+source, `{"relationships":{`+to("app", second)+`}}`), "state", "READY")
	copied := f.do(201, ann, "POST", "/v3/droplets?source_guid="+droplet, `{"relationships":{`+to("app", second)+`}}`)
	f.want(copied, "state", "STAGED")
	f.want(copied, "process_types.web", "./app")
	f.do(422, bob, "POST", "/v3/packages?source_guid="+source, `{"relationships":{`+to("app", theirs)+`}}`)
	f.do(404, bob, "POST", "/v3/droplets?source_guid="+droplet, `{"relationships":{`+to("app", theirs)+`}}`)
	f.cells.fail = "main.go:1:1: expected 'package'"
	build := f.do(201, ann, "POST", "/v3/builds", `{"package":{"guid":"`+source+`"}}`)
	f.want(f.do(200, ann, "GET", "/v3/builds/"+guid(build), ""), "error", f.cells.fail)
	f.want(f.do(400, ann, "POST", "/v3/builds", `{"package":{"guid":"`+f.pack(ann, app)+`"}}`), "errors.0.detail", "Bad request: Cannot stage package whose state is not ready.")
}

// small is a file system of so many bytes, in memory, for one test.
func small(t *testing.T, size int) string {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("needs root to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestFullDisk: a full disk is said clearly, breaks nothing, and once there is
// room again everything goes on.
func TestFullDisk(t *testing.T) {
	dir := small(t, 2<<20)
	f := foundationWith(t, func(c *Config) {
		blobs, err := blob.Open(filepath.Join(dir, "blobs"))
		if err != nil {
			t.Fatal(err)
		}
		c.Blobs = blobs
	})
	token, _, _, app := f.tenant(f.login("admin", "pw"), "ann")
	hog := filepath.Join(dir, "hog")
	if err := os.WriteFile(hog, make([]byte, 3<<19), 0o600); err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(i * i >> 3)
	}
	zipped := zipOf(t, map[string]string{"noise": string(noise) + strings.Repeat("x", 1<<16)})
	for len(zipped) < 1<<20 { // what compresses well fits
		zipped = append(zipped, zipped...)
	}
	kind, body := form(t, "", zipped)
	pack := f.pack(token, app)
	w := f.send("POST", "/v3/packages/"+pack+"/upload", token, kind, body)
	if w.Code != 507 || !strings.Contains(w.Body.String(), "disk is full") {
		t.Errorf("upload to a full disk: %d %s", w.Code, w.Body)
	}
	f.want(f.do(200, token, "GET", "/v3/packages/"+pack, ""), "state", "AWAITING_UPLOAD")
	if err := os.Remove(hog); err != nil {
		t.Fatal(err)
	}
	kind, body = form(t, "", zipOf(t, map[string]string{"main.go": "package main"}))
	if w := f.send("POST", "/v3/packages/"+pack+"/upload", token, kind, body); w.Code != 200 {
		t.Errorf("once there is room: %d %s", w.Code, w.Body)
	}
	left, err := filepath.Glob(filepath.Join(dir, "blobs", "upload-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestFullLedger: what cannot be written is refused, what was written stays.
func TestFullLedger(t *testing.T) {
	dir := small(t, 4<<20)
	f := foundationWith(t, func(c *Config) {
		db, err := sqlite.Open(t.Context(), filepath.Join(dir, "l.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		c.Store = db
	})
	token := f.login("admin", "pw")
	hog := filepath.Join(dir, "hog")
	file, err := os.Create(hog)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil { // until nothing fits
		_, err = file.Write(make([]byte, 4096))
	}
	file.Close()
	made, full := 0, false
	for i := 0; i < 2000 && !full; i++ {
		w := f.send("POST", "/v3/organizations", token, "application/json", fmt.Appendf(nil, `{"name":"o%d"}`, i))
		if w.Code == 201 {
			made++
			continue
		}
		if w.Code != 507 || !strings.Contains(w.Body.String(), "Nothing was changed") {
			t.Fatalf("organization %d on a full disk: %d %s", i, w.Code, w.Body)
		}
		full = true
	}
	if !full {
		t.Fatal("the disk never was full")
	}
	f.want(f.do(200, token, "GET", "/v3/organizations", ""), "pagination.total_results", float64(made))
	if err := os.Remove(hog); err != nil {
		t.Fatal(err)
	}
	f.do(201, token, "POST", "/v3/organizations", `{"name":"room"}`)
	f.want(f.do(200, token, "GET", "/v3/organizations", ""), "pagination.total_results", float64(made+1))
}
