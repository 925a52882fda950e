package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAPIShowsThePasswordOnce: the first start makes admin, the second keeps it.
func TestAPIShowsThePasswordOnce(t *testing.T) {
	a := apiCmd{dataFlags: dataFlags{Data: filepath.Join(t.TempDir(), "data")}, apiFlags: apiFlags{URL: "http://api.test", Domain: "apps.test"}, Listen: "127.0.0.1:0"}
	var kept []byte
	for start := range 2 {
		var out bytes.Buffer
		f := &platform{setup: a.setup(), console: &console{out: &out, err: &out}}
		if err := f.open(t.Context()); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(a.Data, "admin-password")
		password, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v: want 0600", info.Mode(), err)
		}
		if shown := strings.Contains(out.String(), strings.TrimSpace(string(password))); shown != (start == 0) {
			t.Errorf("start %d: shown is %v:\n%s", start, shown, out.String())
		}
		if start == 1 && !bytes.Equal(kept, password) {
			t.Error("the second start changed the password")
		}
		kept = password
		w := httptest.NewRecorder()
		f.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"href":"http://api.test/v3"`) {
			t.Errorf("start %d: %d %s", start, w.Code, w.Body)
		}
		f.close()
	}
}
