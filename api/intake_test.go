package api

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// endless is a body that nobody may read.
type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) { e.read += len(b); return len(b), nil }

// TestAnUploadThatSaysThatItIsTooLarge is refused before its end, for
// packages and droplets alike.
func TestAnUploadThatSaysThatItIsTooLarge(t *testing.T) {
	f := foundationWith(t, func(c *Config) { c.Upload = 1 << 20; c.Droplets = &bytesOfDroplets{} })
	token, _, _, app := f.tenant(f.login("admin", "pw"), "ann")
	droplet := guid(f.do(201, token, "POST", "/v3/droplets", `{"relationships":{`+to("app", app)+`}}`))
	for _, path := range []string{"/v3/packages/" + f.pack(token, app), "/v3/droplets/" + droplet} {
		body := &endless{}
		q := httptest.NewRequest("POST", path+"/upload", io.LimitReader(body, 1<<30))
		q.ContentLength = 1 << 30
		q.Header.Set("Authorization", "Bearer "+token)
		q.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		w := httptest.NewRecorder()
		f.ServeHTTP(w, q)
		if w.Code != http.StatusRequestEntityTooLarge || !strings.Contains(w.Body.String(), ".cfignore") || body.read > 1<<20 { // what a client is sending, so that it reads the answer
			t.Errorf("%s: %d %s, after %d bytes", path, w.Code, w.Body, body.read)
		}
	}
}

// TestWhatIsKeptForAnOrganization: packages are counted once for all that share
// them, and who keeps too many is told what to do.
func TestWhatIsKeptForAnOrganization(t *testing.T) {
	text := func(seed byte) string { // which does not become smaller
		b := make([]byte, 2000)
		rand.NewChaCha8([32]byte{seed}).Read(b)
		return string(b)
	}
	f := foundationWith(t, func(c *Config) { c.Kept = 3 << 10 })
	admin := f.login("admin", "pw")
	ann, _, _, app := f.tenant(admin, "ann")
	bob, _, _, theirs := f.tenant(admin, "bob")
	send := func(token, app string, c byte) (pack string, w *httptest.ResponseRecorder) {
		pack = f.pack(token, app)
		kind, body := form(t, "", zipOf(t, map[string]string{"main.go": text(c)}))
		return pack, f.send("POST", "/v3/packages/"+pack+"/upload", token, kind, body)
	}
	first, w := send(ann, app, 'a')
	if w.Code != 200 {
		t.Fatalf("the first: %d %s", w.Code, w.Body)
	}
	f.do(201, ann, "POST", "/v3/packages?source_guid="+first, `{"relationships":{`+to("app", app)+`}}`)
	refusedPack, w := send(ann, app, 'b')
	if w.Code != 422 || !strings.Contains(w.Body.String(), "cf curl -X DELETE /v3/packages/GUID") {
		t.Errorf("more than is kept: %d %s", w.Code, w.Body)
	}
	if state := f.do(200, ann, "GET", "/v3/packages/"+refusedPack, "")["state"]; state != "AWAITING_UPLOAD" {
		t.Errorf("the refused package is %v", state)
	}
	if _, w := send(bob, theirs, 'c'); w.Code != 200 {
		t.Errorf("another organization: %d %s", w.Code, w.Body)
	}
}

// TestUploadsWaitOutside: few of an organization are let in, some wait, others are
// told to come again; other organizations do not notice.
func TestUploadsWaitOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var i intake
		var leave []func()
		enter := func(org string) error {
			out, err := i.enter(t.Context(), org)
			if err == nil {
				leave = append(leave, out)
			}
			return err
		}
		for range uploadsAtOnce {
			if err := enter("a"); err != nil {
				t.Fatal(err)
			}
		}
		if err := enter("b"); err != nil {
			t.Errorf("another organization: %v", err)
		}
		// One waits, and gets the place of one that leaves.
		in := make(chan error, 1)
		go func() { in <- enter("a") }()
		synctest.Wait()
		leave[0]()
		if err := <-in; err != nil {
			t.Error(err)
		}
		// Nobody leaves any more: it is a refusal, after a while or at once.
		begun := time.Now()
		var r *refusal
		if err := enter("a"); !errors.As(err, &r) || r.status != 429 || time.Since(begun) != uploadPatience {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		gone, cancel := context.WithCancel(t.Context())
		left := make(chan error, uploadsWaiting)
		for range uploadsWaiting {
			go func() { _, err := i.enter(gone, "a"); left <- err }()
		}
		synctest.Wait()
		begun = time.Now()
		if err := enter("a"); !errors.As(err, &r) || r.status != 429 || time.Since(begun) != 0 {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		cancel()
		for range uploadsWaiting {
			if err := <-left; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		for _, out := range leave[1:] {
			out()
		}
		if len(i.lines) > 0 {
			t.Errorf("%d lines are left", len(i.lines))
		}
	})
}
