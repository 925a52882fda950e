package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dewpaas/dew/breach"
	"github.com/dewpaas/dew/tender"
)

// breached runs `dew breach` with arguments.
func breached(t *testing.T, args ...string) (status int, out, errs string) {
	var stdout, stderr bytes.Buffer
	status = run(t.Context(), &console{out: &stdout, err: &stderr}, append([]string{"breach"}, args...))
	return status, stdout.String(), stderr.String()
}

// TestBreachTellsAndProves makes one attack, in both forms of output.
func TestBreachTellsAndProves(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: attacks are made in namespaces")
	}
	status, out, errs := breached(t, "--attack", "memory-file", "--json")
	var told struct {
		Attacks []map[string]any `json:"attacks"`
	}
	if err := json.Unmarshal([]byte(out), &told); status != 0 || err != nil || len(told.Attacks) != 1 {
		t.Fatalf("%d, %v: %s%s", status, err, out, errs)
	}
	a := told.Attacks[0]
	if a["name"] != "memory-file" || a["tender"] != "process" || a["stopped"] != true || a["succeeds_without_guard"] != true || a["container"] != "gained" {
		t.Errorf("%v", a)
	}
	status, out, errs = breached(t, "--attack", "memory-file")
	if status != 0 || !strings.Contains(out, "memory-file          process  stopped (seccomp); succeeds in a container") {
		t.Errorf("%d: %s%s", status, out, errs)
	}
}

func TestBreachLists(t *testing.T) {
	status, out, _ := breached(t, "--list", "--json")
	var told struct{ Attacks []attackLine }
	if err := json.Unmarshal([]byte(out), &told); status != 0 || err != nil || len(told.Attacks) < 60 {
		t.Fatalf("%d, %v: %d attacks", status, err, len(told.Attacks))
	}
	for _, a := range told.Attacks {
		if a.Goal == "" || a.Guard == "" || a.What == "" {
			t.Errorf("%+v", a)
		}
	}
	if status, _, errs := breached(t, "--attack", "nonsense"); status != 1 || !strings.Contains(errs, "dew: hint: `dew breach --list`") {
		t.Errorf("%d: %s", status, errs)
	}
	if status, _, errs := breached(t); status != 1 || !strings.Contains(errs, "dew: hint: `dew breach APP` or `dew breach DROPLET` reports") {
		t.Errorf("%d: %s", status, errs)
	}
}

func TestVerdictLine(t *testing.T) {
	for want, r := range map[string]breach.Result{
		"NOT STOPPED: it holds":                {How: "it holds"},
		"NOT PROVEN: fails without its guard,": {Stopped: true},
		"not judged: why":                      {Error: "why", Stopped: true, Proven: true},
	} {
		if got := verdictLine(r); !strings.Contains(got, want) {
			t.Errorf("%q, want %q in it", got, want)
		}
	}
}

// TestBreachReports is about a report in words, and about one that holds more
// than the file of what is allowed.
func TestBreachReports(t *testing.T) {
	r := breach.Predict(breach.Alone("hello", breach.Process, map[string]string{"API_KEY": "hunter2"}, 3, tender.Limits{Memory: 1 << 20}))
	var out strings.Builder
	if err := describeBreach(&out, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"secrets (1):\n    API_KEY (environment)", "reaches (0):", "host calls (22): arch_prctl ", "files to read: 3; what persists: nothing"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	allowed := r
	allowed.Secrets = nil
	path := filepath.Join(t.TempDir(), "allowed.json")
	for want, a := range map[string]breach.Report{"": r, "secret API_KEY from environment": allowed} {
		b, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		err = expected(path, r)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
