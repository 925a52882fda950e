package api

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dewpaas/dew/api/broker/brokertest"
	"github.com/dewpaas/dew/api/egress"
)

// TestCF lets the real cf CLI talk to the API: what it prints is the contract.
// Cells and stager are those of cells_test.go. $CF names the program.
func TestCF(t *testing.T) {
	program := os.Getenv("CF")
	if program == "" {
		t.Skip("needs the cf CLI: set $CF to it (build github.com/cloudfoundry/cli)")
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "cf"),
		Setup: func(e *testscript.Env) error {
			f, url := listening(t)
			broker := brokertest.New(t)
			e.Setenv("API", url)
			e.Setenv("BROKER", broker.URL)
			e.Setenv("CF", program)
			e.Setenv("CF_HOME", e.WorkDir)
			e.Setenv("HOME", e.WorkDir)
			e.Values["foundation"] = f
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			// cf runs the CLI; both of its streams are looked at as stdout.
			"cf": func(ts *testscript.TestScript, neg bool, args []string) {
				// One after the other is how people see them.
				err := ts.Exec("sh", append([]string{"-c", `exec "$0" "$@" 2>&1`, program}, args...)...)
				if (err != nil) != neg {
					ts.Fatalf("cf %q: %v", args, err)
				}
			},
			// fail makes the next builds fail with a text.
			"fail": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Value("foundation").(*foundation).cells.fail = args[0]
			},
		},
	})
}

// listening is a foundation behind a real port, which ends with the test.
func listening(t *testing.T) (*foundation, string) {
	var later http.Handler
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { later.ServeHTTP(w, r) }))
	t.Cleanup(s.Close)
	c := &cells{auto: true}
	f := foundationWith(t, func(config *Config) {
		c.store = config.Store
		config.Stager, config.Runtime, config.URL = c, c, s.URL
		config.Droplets = &bytesOfDroplets{kept: map[string][]byte{}}
		config.Egress = egress.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	})
	f.cells, later = c, f.Handler
	f.background()
	return f, s.URL
}
