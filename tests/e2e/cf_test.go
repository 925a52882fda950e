package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dewpaas/dew/api/broker/brokertest"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestCF runs the scripts of testdata with the real cf CLI, which $CF names,
// against `dew up` with real guests. tests/foundation does without cf.
func TestCF(t *testing.T) {
	cf := os.Getenv("CF")
	if cf == "" {
		t.Skip("needs the cf CLI: set $CF to it (build github.com/cloudfoundry/cli)")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: dew up makes network namespaces")
	}
	address, password := up(t)
	scripts(t, cf, address, password)
}

// scripts runs those of testdata against a foundation. Each has an organization
// of its own, called $NAME, and $PROBE is an app that does what it is asked to.
func scripts(t *testing.T, cf, address, password string) {
	probe, err := filepath.Abs(filepath.Join("testdata", "probe"))
	if err != nil {
		t.Fatal(err)
	}
	site, broker, log := &street{address: address}, brokertest.New(t), &ears{cf: cf, to: map[string]*memory{}}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			name := "t" + regexp.MustCompile(`[^a-z0-9]`).ReplaceAllString(filepath.Base(e.WorkDir), "")
			for k, v := range map[string]string{"CF_HOME": e.WorkDir, "HOME": e.WorkDir, "NAME": name, "API": "http://" + address, "PASSWORD": password,
				"PROBE": probe, "BROKER": broker.URL} {
				e.Setenv(k, v)
			}
			return fill(e)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"cf": func(ts *testscript.TestScript, neg bool, args []string) {
				err := ts.Exec("sh", append([]string{"-c", `exec "$0" "$@" 2>&1`, cf}, args...)...)
				if (err != nil) != neg {
					ts.Fatalf("cf %q: %v", args, err)
				}
			},
			"get":    site.get,
			"ask":    site.asked,
			"hammer": site.hammer,
			"calm":   site.calm,
			"follow": log.follow,
			"hears":  log.hears,
			"lead":   lead(cf),
		},
	})
}

// fill puts what the environment says into the manifests of a script.
func fill(e *testscript.Env) error {
	files, err := filepath.Glob(filepath.Join(e.WorkDir, "*.yml"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err == nil {
			err = os.WriteFile(f, []byte(os.Expand(string(text), e.Getenv)), 0o644)
		}
		if err != nil {
			return err
		}
	}
	return err
}

// lead HOST APP PORT maps a route to another port of an app, which has no command.
func lead(cf string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		ask := func(args ...string) string {
			if err := ts.Exec(cf, args...); err != nil {
				ts.Fatalf("cf %q: %v", args, err)
			}
			return strings.TrimSpace(ts.ReadFile("stdout"))
		}
		app := ask("app", args[1], "--guid")
		var routes struct{ Resources []struct{ GUID string } }
		if err := json.Unmarshal([]byte(ask("curl", "/v3/routes?hosts="+args[0])), &routes); err != nil || len(routes.Resources) != 1 {
			ts.Fatalf("route %s: %v %v", args[0], routes, err)
		}
		ask("curl", "--fail", "-X", "POST", "/v3/routes/"+routes.Resources[0].GUID+"/destinations", "-d", `{"destinations":[{"app":{"guid":"`+app+`"},"port":`+args[2]+`}]}`)
	}
}

// up starts a foundation with the machine's build caches.
func up(t *testing.T) (address, password string) {
	dew := build(t, filepath.Join("..", "..", "cmd", "dew"))
	data := filepath.Join(t.TempDir(), "data")
	shareCaches(t, data)
	address = freeAddress(t)
	t.Cleanup(func() {
		if out, err := exec.Command(dew, "down", "--data", data).CombinedOutput(); err != nil {
			t.Errorf("dew down: %v\n%s", err, out)
		}
	})
	start(t, address, nil, dew, "up", "--data", data, "--listen", address, "--memory", "4G")
	p := &platform{t: t, url: "http://" + address}
	p.do("GET", "/", "")
	text, err := os.ReadFile(filepath.Join(data, "admin-password"))
	if err != nil {
		t.Fatal(err)
	}
	return address, strings.TrimSpace(string(text))
}

// shareCaches gives a foundation the machine's build caches, so that the standard
// library is compiled once and not once a test.
func shareCaches(t *testing.T, data string) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Join(cache, "dew", "stager"), 0o755), os.MkdirAll(data, 0o700))
	}
	if err == nil {
		err = os.Symlink(filepath.Join(cache, "dew", "stager"), filepath.Join(data, "stager"))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// street asks apps for things through the router.
type street struct {
	address string
	mu      sync.Mutex // guards loads
	loads   map[string]func() (int, []string)
}

func (s *street) ask(ctx context.Context, host, path string) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+path, nil)
	if err != nil {
		return 0, "", err
	}
	r.Host = host
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// get HOST PATH PATTERN: soon the answer is 200 and matches; with ! it is not 200.
func (s *street) get(ts *testscript.TestScript, neg bool, args []string) {
	pattern := regexp.MustCompile(strings.Join(args[2:], ""))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		status, text, err := s.ask(ctx, args[0], args[1])
		if err == nil && (status == http.StatusOK) != neg && pattern.MatchString(text) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("get %v: %d %q %v", args, status, text, err)
		}
	}
}

// asked HOST PATH: whatever the answer is.
func (s *street) asked(_ *testscript.TestScript, _ bool, args []string) {
	s.ask(context.Background(), args[0], args[1])
}

// hammer HOST PATH begins to ask for it without end; calm HOST stops and wants
// that every answer was 200.
func (s *street) hammer(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var failures []string
	sent := 0
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				status, text, err := s.ask(ctx, args[0], args[1])
				mu.Lock()
				sent++
				if ctx.Err() == nil && (err != nil || status != http.StatusOK) {
					failures = append(failures, fmt.Sprint(status, " ", err, " ", text))
				}
				mu.Unlock()
			}
		})
	}
	stop := func() (int, []string) { cancel(); wg.Wait(); return sent, failures }
	ts.Defer(func() { stop() })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loads == nil {
		s.loads = map[string]func() (int, []string){}
	}
	s.loads[args[0]] = stop
}

func (s *street) calm(ts *testscript.TestScript, _ bool, args []string) {
	s.mu.Lock()
	stop := s.loads[args[0]]
	s.mu.Unlock()
	if stop == nil {
		ts.Fatalf("nobody hammers %s", args[0])
	}
	sent, failures := stop()
	if len(failures) > 0 || sent == 0 {
		ts.Fatalf("%d of %d requests failed, first: %s", len(failures), sent, strings.Join(failures[:min(3, len(failures))], "; "))
	}
	ts.Logf("%d requests, none failed", sent)
}
