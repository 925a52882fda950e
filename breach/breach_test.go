package breach

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var (
	update = flag.Bool("update", false, "write docs/breach.md from what happens")
	only   = flag.String("attack", "", "make only these, with commas between them")
)

// TestMain also leads puppets.
func TestMain(m *testing.M) {
	if Leads() {
		os.Exit(Lead())
	}
	os.Exit(m.Run())
}

func open(t *testing.T) *Suite {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: attacks are made in namespaces")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	u, err := Open(t.Context(), cache)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

// chosen attacks: all, or those of the flag.
func chosen() (list []Attack) {
	for _, a := range Catalogue() {
		if *only == "" || strings.Contains(","+*only+",", ","+a.Name+",") {
			list = append(list, a)
		}
	}
	return list
}

const page = "../docs/breach.md"

// TestEveryAttackIsStoppedAndProven runs the whole catalogue, and compares
// what happened with the page that tells of it.
func TestEveryAttackIsStoppedAndProven(t *testing.T) {
	u := open(t)
	var results []Result
	err := u.Run(t.Context(), chosen(), func(r Result) {
		results = append(results, r)
		t.Logf("%-20s %-8s %5d ms | %s | %s | %s %s", r.Name, r.Tender, r.Elapsed, r.How, r.HowOff, r.Root, r.User)
		if !r.Good() {
			t.Errorf("%s behind %s: stopped %v, succeeds without its guard %v. %s", r.Name, r.Tender, r.Stopped, r.Proven, r.Error)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if *only != "" || t.Failed() {
		return
	}
	if !u.HasQEMU() {
		t.Skip("needs qemu-system-x86_64: only the process tender was attacked")
	}
	text := Table(results)
	if *update {
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	was, err := os.ReadFile(page)
	if err != nil || string(was) != text {
		t.Errorf("%s is not what happens here: run with -update and look at the difference: %v\n%s", page, err, text)
	}
}

func TestTheCatalogueIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range Catalogue() {
		if seen[a.Name] || a.Goal == "" || len(a.Rows) == 0 {
			t.Errorf("%q: a second one of that name, or without a goal or a tender", a.Name)
		}
		seen[a.Name] = true
		for _, r := range a.Rows {
			if r.Guard.off == nil || r.Witness.gained == nil || len(r.Steps) == 0 {
				t.Errorf("%s behind %s has no guard, no witness or no steps", a.Name, r.Tender)
			}
		}
	}
	if len(seen) < 60 {
		t.Errorf("%d attacks, want 60", len(seen))
	}
}

func TestTable(t *testing.T) {
	got := Table([]Result{
		{Name: "fork", Tender: Process, Class: Privilege, Goal: "a second process", Guard: "seccomp", Stopped: true, Root: Gained, User: Stopped},
		{Name: "spin", Tender: Process, Class: Resources, Goal: "more", Guard: "limit", Stopped: true},
		{Name: "spin", Tender: QEMU, Class: Resources, Goal: "more", Guard: "machine"},
	})
	for _, want := range []string{
		"| attacks made | 2 | 1 | 1 | 1 |\n| gained | 0 | 1 | 1 | 0 |",
		"## Rights over the host's kernel\n",
		"| fork | a second process | seccomp | stopped | - | **gained** | stopped |",
		"| spin | more | limit; machine | stopped | **gained** | - | - |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
