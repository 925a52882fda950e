package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/dewpaas/dew/breach"
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
	if status, _, errs := breached(t); status != 1 || !strings.Contains(errs, "dew: hint: `dew breach --suite`") {
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
