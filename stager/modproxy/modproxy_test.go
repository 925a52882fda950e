package modproxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func serve(t *testing.T, c Config) string {
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	return s.URL
}

// upstream is a proxy that has example.com/m at v1.0.0 and counts what it is
// asked for.
func upstream(t *testing.T) (string, *atomic.Int64) {
	asked := new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch {
		case strings.HasPrefix(r.URL.Path, "/example.com/m/"), strings.HasPrefix(r.URL.Path, "/sumdb/"):
			fmt.Fprint(w, "up", r.URL.Path)
		case strings.HasPrefix(r.URL.Path, "/broken/"):
			http.Error(w, "out of order", http.StatusInternalServerError)
		default:
			http.Error(w, "never heard of it", http.StatusGone)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

func get(t *testing.T, url string) (int, string) {
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return r.StatusCode, "cut: " + err.Error()
	}
	return r.StatusCode, string(b)
}

func TestWhatNeverChangesIsAskedForOnce(t *testing.T) {
	up, asked := upstream(t)
	cache := t.TempDir()
	for range 2 { // two builds
		url := serve(t, Config{Upstream: up + ",direct", Cache: cache})
		for _, name := range []string{"example.com/m/@v/v1.0.0.info", "example.com/m/@v/v1.0.0.mod", "example.com/m/@v/v1.0.0.zip"} {
			if status, body := get(t, url+"/"+name); status != 200 || body != "up/"+name {
				t.Errorf("%s: %d %s", name, status, body)
			}
		}
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("upstream was asked %d times", n)
	}
	for _, name := range []string{"example.com/m/@latest", "example.com/m/@v/list", "example.com/m/@v/main.info", "sumdb/sum.golang.org/lookup/example.com/m@v1.0.0"} {
		url := serve(t, Config{Upstream: up, Cache: cache})
		before := asked.Load()
		get(t, url+"/"+name)
		if status, body := get(t, url+"/"+name); status != 200 || body != "up/"+name || asked.Load() != before+2 {
			t.Errorf("%s: %d %s, asked %d times", name, status, body, asked.Load()-before)
		}
	}
}

// The go command percent-encodes the protocol's own escape.
func TestUpperCaseLettersPass(t *testing.T) {
	up, _ := upstream(t)
	url := serve(t, Config{Upstream: up, Cache: t.TempDir()})
	if status, body := get(t, url+"/example.com/m/%21upper/@v/v1.0.0.zip"); status != 200 || body != "up/example.com/m/!upper/@v/v1.0.0.zip" {
		t.Errorf("%d %s", status, body)
	}
}

func TestOnlyTheProtocolPasses(t *testing.T) {
	up, asked := upstream(t)
	url := serve(t, Config{Upstream: up, Cache: t.TempDir()})
	for _, path := range []string{"/", "/example.com/m", "/example.com/m/@v/", "/example.com/m/@v/v1.0.0", "/example.com/m/@v/v1.0.0.exe", "/example.com/m/@v/../x.zip",
		"/example.com/m/@v/..%2f..%2fx.zip", "/%2e%2e/@v/list", "/../../etc/passwd", "/sumdb/", "/sumdb/../x", "/sumdb/a?b=c/../../d", "/Example.com/m/@v/list", "/localhost:80/@v/list",
		"/example.com/m/@v/v1.0.0%0a.zip", "/example.com/m/@v/a/b.info", "//@v/list"} {
		q, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		q.URL.Opaque = "//" + q.URL.Host + path
		r, err := http.DefaultTransport.RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode == 200 && path != "/sumdb/a?b=c/../../d" {
			t.Errorf("%s passes", path)
		}
	}
	if r, err := http.Post(url+"/example.com/m/@v/list", "", nil); err != nil || r.StatusCode != http.StatusForbidden {
		t.Error(r.Status, err)
	}
	if n := asked.Load(); n > 1 {
		t.Errorf("upstream was asked %d times", n)
	}
}

func TestListOfProxies(t *testing.T) {
	up, _ := upstream(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "example.com/local/@v/list")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("v9.0.0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		list, name string
		status     int
		body       string
	}{
		{"file://" + dir, "example.com/local/@v/list", 200, "v9.0.0\n"},
		{up + ",file://" + dir, "example.com/local/@v/list", 200, "v9.0.0\n"},
		{"file://" + dir + "," + up, "example.com/m/@v/list", 200, "up/example.com/m/@v/list"},
		{up + "/broken," + up, "example.com/m/@v/list", 502, "out of order"},
		{up + "/broken|" + up, "example.com/m/@v/list", 200, "up/example.com/m/@v/list"},
		{"direct," + up, "example.com/m/@v/list", 404, "no proxy has it"},
		{"off", "example.com/m/@v/list", 404, "no proxy has it"},
		{"", "example.com/m/@v/list", 404, "no proxy has it"},
		{up, "example.com/other/@v/list", 404, "no proxy has it"},
	} {
		status, body := get(t, serve(t, Config{Upstream: c.list})+"/"+c.name)
		if status != c.status || !strings.Contains(body, c.body) {
			t.Errorf("%s: %d %s, want %d %s", c.list, status, body, c.status, c.body)
		}
	}
	if _, err := New(Config{Upstream: "ftp://x"}); err == nil {
		t.Error("ftp is taken")
	}
}

func TestFoldersAreOnlyRead(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "example.com/m/@v/v1.0.0.zip")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("have it"), 0o644); err != nil {
		t.Fatal(err)
	}
	url := serve(t, Config{Folders: []string{dir}})
	if status, body := get(t, url+"/example.com/m/@v/v1.0.0.zip"); status != 200 || body != "have it" {
		t.Errorf("%d %s", status, body)
	}
}

func TestALimitOfBytes(t *testing.T) {
	up, _ := upstream(t)
	url := serve(t, Config{Upstream: up, Limit: 40})
	name := "/example.com/m/@v/list" // 24 bytes are answered
	if status, body := get(t, url+name); status != 200 || !strings.HasPrefix(body, "up") {
		t.Errorf("%d %s", status, body)
	}
	// This one is cut off; the client asks again, and is told why.
	if status, body := get(t, url+name); status != http.StatusForbidden || !strings.Contains(body, "40 bytes") {
		t.Errorf("%d %s", status, body)
	}
}

// FuzzClassify: what passes leads to no other place on disk or upstream.
func FuzzClassify(f *testing.F) {
	for _, s := range []string{"example.com/m/@v/v1.0.0.zip", "example.com/!m/@latest", "sumdb/sum.golang.org/tile/8/0/x001/234", "a/@v/../../x.zip", "sumdb/../x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		keep, ok := classify(name)
		if ok && (!filepath.IsLocal(name) || strings.ContainsAny(name, "\\\x00\n?#%") || strings.Contains(name, "//")) {
			t.Errorf("%q passes", name)
		}
		if keep && ok && !strings.Contains(name, "/@v/") {
			t.Errorf("%q is kept", name)
		}
	})
}
