package scheduler

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGoldenScripts plays every story of testdata and compares the whole
// trace. A story is commands, each followed by a line "----" and what the
// scheduler did. Instances are named #1, #2, ... in the order of their making.
func TestGoldenScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d stories, %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			story, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(story))
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(story) {
				t.Errorf("the trace differs (go test -run Golden -update, then review):\n%s", got)
			}
		})
	}
}

// stage is a scheduler under a script, with pretend cells.
type stage struct {
	t      *testing.T
	s      *State
	now    time.Time
	silent map[string]bool
	names  map[string]string // GUID to #N
	out    strings.Builder
}

func play(t *testing.T, story string) string {
	st := &stage{t: t, s: New([32]byte{1}), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), silent: map[string]bool{}, names: map[string]string{}}
	var whole strings.Builder
	skipping := false
	for line := range strings.Lines(story) {
		text := strings.TrimSpace(line)
		switch {
		case text == "----":
			skipping = true
			continue
		case skipping && text != "":
			continue
		case skipping:
			skipping = false
		}
		whole.WriteString(line)
		if text == "" || text[0] == '#' {
			continue
		}
		st.out.Reset()
		st.command(strings.Fields(text))
		fmt.Fprintf(&whole, "----\n%s", st.out.String())
	}
	return whole.String()
}

// arguments are the words KEY=VALUE of a command.
type arguments map[string]string

func (a arguments) number(t *testing.T, key string, otherwise int) int {
	v, ok := a[key]
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("%s=%s: %v", key, v, err)
	}
	return n
}

func (a arguments) text(key, otherwise string) string {
	if v, ok := a[key]; ok {
		return v
	}
	return otherwise
}

func parse(words []string) (plain []string, a arguments) {
	a = arguments{}
	for _, w := range words {
		if k, v, ok := strings.Cut(w, "="); ok {
			a[k] = v
		} else {
			plain = append(plain, w)
		}
	}
	return plain, a
}

func (st *stage) command(words []string) {
	plain, a := parse(words[1:])
	has := func(w string) bool { return slices.Contains(plain, w) }
	name := ""
	if len(plain) > 0 {
		name = plain[0]
	}
	switch words[0] {
	case "cell":
		st.step(Heard{Cell{ID: name, Zone: a.text("zone", "z1"), MemoryMB: a.number(st.t, "memory", 1000), DiskMB: a.number(st.t, "disk", 10000), Tenders: strings.FieldsFunc(a["tenders"], func(r rune) bool { return r == ',' }), Leaving: has("leaving")}})
	case "forget":
		st.step(Forget{name})
	case "want":
		st.step(Desire{LRP{Process: name, App: a.text("app", name), Type: a.text("type", "web"), Version: a.text("version", "1"), Interim: has("interim"), Stopped: has("stopped"),
			Instances: a.number(st.t, "n", 1), MemoryMB: a.number(st.t, "memory", 100), DiskMB: a.number(st.t, "disk", 100), Tender: a["tender"]}})
	case "unwant":
		st.step(Undesire{name})
	case "is":
		st.step(Status{GUID: st.guid(name), Phase: phases[plain[1]], Routable: has("ready"), Exit: Exit{a.number(st.t, "status", 0), strings.ReplaceAll(a["why"], "_", " ")}})
	case "restart":
		index, _ := strconv.Atoi(plain[1])
		st.step(Restart{name, index})
	case "deploy":
		st.step(Deploy{Deployment{GUID: name, App: a["app"], New: a["new"], Strategy: a.text("strategy", "rolling"), Target: a.number(st.t, "target", 1), Original: a.number(st.t, "original", 1),
			MaxInFlight: a.number(st.t, "flight", 1), Canary: a.number(st.t, "canary", 1), Keep: a.number(st.t, "keep", 1),
			Step: a.number(st.t, "step", 0), Pausing: has("pausing"), Canceling: has("canceling")}})
	case "undeploy":
		st.step(Undeploy{name})
	case "task":
		st.step(Run{Task{GUID: name, App: "app", MemoryMB: a.number(st.t, "memory", 100), DiskMB: 100, Tender: a["tender"], Canceling: has("canceling")}})
	case "silent":
		st.silent[name] = true
	case "back":
		delete(st.silent, name)
		st.beat()
	case "wait":
		d, err := time.ParseDuration(name)
		if err != nil {
			st.t.Fatal(err)
		}
		st.wait(d)
	case "work":
		st.work(a.number(st.t, "rounds", 100))
	case "show":
		st.show()
	default:
		st.t.Fatalf("no command %q", words[0])
	}
}

var phases = map[string]Phase{"starting": Starting, "running": Running, "ended": Ended}

func (st *stage) guid(name string) string {
	for guid, n := range st.names {
		if n == name {
			return guid
		}
	}
	return name
}

// step steps, applies what a ledger would keep, and writes the trace.
func (st *stage) step(events ...Event) []Action {
	actions := st.s.Step(st.now, events...)
	for _, a := range actions {
		if _, ok := a.(Wake); ok {
			continue
		}
		fmt.Fprintln(&st.out, st.named(a))
	}
	return actions
}

func (st *stage) named(a Action) string {
	text := a.String()
	for _, guid := range guids(a) {
		if st.names[guid] == "" {
			st.names[guid] = fmt.Sprint("#", len(st.names)+1)
		}
		text = strings.ReplaceAll(text, "#"+guid, st.names[guid])
	}
	return text
}

func guids(a Action) []string {
	switch a := a.(type) {
	case Put:
		return []string{a.Instance.GUID}
	case Drop:
		return []string{a.Instance.GUID}
	case Crashed:
		return []string{a.Instance.GUID}
	}
	return nil
}

// beat lets every cell that is not silent say that it lives.
func (st *stage) beat() {
	var events []Event
	for _, id := range keys(st.s.Cells) {
		if !st.silent[id] {
			events = append(events, Heard{*st.s.Cells[id]})
		}
	}
	st.step(events...)
}

// wait lets time pass, waking the scheduler when it asked for it.
func (st *stage) wait(d time.Duration) {
	end := st.now.Add(d)
	for {
		next := st.now.Add(10 * time.Second) // a heartbeat
		if at := st.s.next(); !at.IsZero() && at.Before(next) {
			next = at
		}
		if next.After(end) {
			next = end
		}
		st.now = next
		mark := st.out.Len()
		st.beat()
		if st.out.Len() > mark {
			lines := st.out.String()[mark:]
			kept := st.out.String()[:mark]
			st.out.Reset()
			fmt.Fprintf(&st.out, "%safter %s:\n%s", kept, d-end.Sub(st.now), lines)
		}
		if !st.now.Before(end) {
			return
		}
	}
}

// work lets the cells that are not silent do what they are told: start what
// was placed, end what should stop, until nothing is left to do.
func (st *stage) work(rounds int) {
	for range rounds {
		var events []Event
		for _, i := range st.s.sorted() {
			switch {
			case i.Cell == "" || st.silent[i.Cell]:
			case i.Stopping:
				events = append(events, Status{GUID: i.GUID, Phase: Ended})
			case i.Phase < Starting:
				events = append(events, Status{GUID: i.GUID, Phase: Starting})
			case i.Phase == Starting:
				events = append(events, Status{GUID: i.GUID, Phase: Running, Routable: true})
			}
		}
		if events == nil {
			return
		}
		st.step(events...)
	}
}

func (st *stage) show() {
	for _, i := range st.s.sorted() {
		where := i.Cell
		if where == "" {
			where = "nowhere"
		}
		state := i.Phase.String()
		switch {
		case i.Stopping:
			state = "stopping"
		case i.Cell == "":
			state = "waiting: " + i.Problem
		case i.Routable:
			state += " ready"
		}
		fmt.Fprintf(&st.out, "%s on %s %s\n", strings.ReplaceAll(i.name(), "#"+i.GUID, st.names[i.GUID]), where, state)
	}
}
