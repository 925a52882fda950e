package foundation

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const day = 24 * time.Hour

// setClock puts the clock of who was started with that file so far off.
func setClock(t *testing.T, file string, off time.Duration) {
	t.Helper()
	next := file + ".next"
	err := os.WriteFile(next, strconv.AppendInt(nil, int64(off/time.Second), 10), 0o600)
	if err == nil {
		err = os.Rename(next, file)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestClockSteps: while the clock of the machine is set by minutes, days and years,
// ahead and back, no request fails and no guest is replaced; what is wanted happens,
// what crashes is started again, what is built is built once.
func TestClockSteps(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clock")
	setClock(t, file, 0)
	t.Setenv("DEW_TEST_CLOCK", file)
	s := newSiteOf(t, dewWithClock, "")
	s.must("push", "app", "-m", "64M", "-i", "2")
	s.must("push", "other", "-m", "64M", "-i", "1")
	stays := s.instances("app", 2)
	stop := s.load("app", 2)
	check := func(when string) { t.Helper(); stayed(t, when, stays, s.instances("app", 2)) }
	set := func(off time.Duration) {
		t.Helper()
		setClock(t, file, off)
		s.until("dew takes the clock for right", func() bool { apart := s.clock().Sub(time.Now().Add(off)); return apart.Abs() < time.Hour })
	}

	for n, off := range []time.Duration{4 * time.Minute, -90 * time.Minute, 26 * time.Hour, 800 * day, -2000 * day, 0} {
		when := fmt.Sprint("the clock is off by ", off)
		set(off)
		want := 1 + n%3
		s.must("scale", "other", "-i", fmt.Sprint(want))
		s.until(when+": what is wanted runs", func() bool { return s.running("other") == want })
		if n < 3 { // a fourth crash in a row would wait
			s.crash("other")
			s.until(when+": what crashed runs again", func() bool { return s.running("other") == want })
		}
		check(when)
	}

	// A build during which the clock is set is neither given up nor done twice.
	pushed := make(chan string, 1)
	go func() {
		out, err := s.run("push", "other", "-m", "64M", "-i", "1")
		if err != nil {
			out += "\n" + err.Error()
		} else {
			out = ""
		}
		pushed <- out
	}()
	s.until("it is built", func() bool { return s.count("/v3/builds?states=STAGING") > 0 })
	set(3 * day)
	set(-3 * day)
	if problem := <-pushed; problem != "" {
		t.Errorf("the clock is set while it is built: %s", problem)
	}
	if n := s.count("/v3/builds?states=FAILED"); n > 0 {
		t.Errorf("%d builds failed", n)
	}
	check("a build")

	// dew up comes back and believes another date than when it went.
	sent, failures := stop()
	if len(failures) > 0 || sent < 50 {
		t.Errorf("%d of %d requests failed, first %s", len(failures), sent, append(failures, "none")[0])
	}
	for _, off := range []time.Duration{20 * day, -20 * day} {
		when := fmt.Sprint("killed, and back with a clock that is off by ", off)
		s.kill()
		setClock(t, file, off)
		s.start()
		check(when)
		s.must("scale", "other", "-i", "2")
		s.until(when+": what is wanted runs", func() bool { return s.running("other") == 2 })
		s.must("scale", "other", "-i", "1")
		s.until(when+": what is wanted runs", func() bool { return s.running("other") == 1 })
		check(when)
	}
	s.until("nothing else runs", func() bool { return s.guests() == 3 })
	if logs := s.must("logs", "other", "--recent"); !strings.Contains(logs, "version 1") { // the load's lines are in that of app
		t.Errorf("the log of other is gone:\n%s", logs)
	}
}

// clock is what dew takes the time for.
func (s *site) clock() time.Time {
	var list struct {
		Resources []struct {
			Usage struct{ Time time.Time }
		}
	}
	s.read(s.process("app")+"/stats", &list)
	if len(list.Resources) == 0 {
		return time.Time{}
	}
	return list.Resources[0].Usage.Time
}

// count is how many of a resource there are.
func (s *site) count(path string) int {
	var list struct {
		Pagination struct {
			Total int `json:"total_results"`
		}
	}
	s.read(path, &list)
	return list.Pagination.Total
}

// TestClocksApart: no two of the machines have the same clock, and some are set while
// all is at work. The schedulers neither fight nor place anything twice, and a build
// stays with the stager that does it. Identities are only good for a year, and not
// before an hour before they were made, so clocks are apart by less.
func TestClocksApart(t *testing.T) {
	dir := t.TempDir()
	clock := func(name string) string { return filepath.Join(dir, name) }
	off := map[string]time.Duration{"scheduler-1": 200 * day, "scheduler-2": -50 * time.Minute, "cell-1": 30 * day, "cell-2": -40 * time.Minute,
		"stager-1": 100 * day, "stager-2": -30 * time.Minute, "router-1": 10 * day, "router-2": -20 * time.Minute, "api-1": 0, "api-2": 30 * time.Second}
	f := newFleet(t, dewWithClock, func(p *part) {
		setClock(t, clock(p.name), off[p.name])
		p.env = append(p.env[:len(p.env):len(p.env)], "DEW_TEST_CLOCK="+clock(p.name))
	})
	app := f.push("app")
	if err := f.scale(0, app, 4); err != nil {
		t.Fatal(err)
	}
	stays := f.instances("app", 4)
	f.until("instances are on both cells", func() bool { return f.guests("cell-1") == 2 && f.guests("cell-2") == 2 })
	stop := f.load("app")
	check := func(when string) { t.Helper(); stayed(t, when, stays, f.instances("app", 4)) }

	other := f.push("other")
	for n := range 2 {
		leader := f.holder("scheduler")
		f.kill(leader)
		want := 3 - n
		if err := f.scale(n, other, want); err != nil {
			t.Fatal(err)
		}
		f.until("the other scheduler does it", func() bool { return f.running(other) == want && f.holder("scheduler") != leader })
		check(leader + " is dead")
		f.start(leader)
		f.until(leader+" is up", func() bool { return f.up(leader) })
	}
	token := f.query("SELECT doc::jsonb->>'token' FROM leases WHERE guid = 'scheduler'")

	t.Log("clocks are set while it is built")
	b := f.api("POST", "/v3/builds", fmt.Sprintf(`{"package":{"guid":%q}}`, f.upload(other))).GUID
	var builder string
	f.until("somebody builds", func() bool { builder = f.holder("build-" + b); return builder != "" })
	for _, by := range []time.Duration{90 * day, -30 * time.Minute} {
		for _, name := range []string{"stager-1", "stager-2", "scheduler-1", "scheduler-2", "cell-1", "cell-2"} {
			setClock(t, clock(name), off[name]/2+by)
		}
		if now := f.holder("build-" + b); now != builder && now != "" {
			t.Errorf("%s took the build of %s", now, builder)
		}
	}
	f.staged(other, b)
	if n := bytes.Count(f.logOf("stager-1"), []byte("another stager has taken the build")) + bytes.Count(f.logOf("stager-2"), []byte("another stager has taken the build")); n > 0 {
		t.Errorf("builds were taken from each other %d times", n)
	}
	check("clocks were set")
	f.until("all that is wanted runs, and nothing else", func() bool {
		return f.running(other) == 2 && f.running(app) == 4 && f.guests("cell-1")+f.guests("cell-2") == 6
	})
	if now := f.query("SELECT doc::jsonb->>'token' FROM leases WHERE guid = 'scheduler'"); now != token {
		t.Errorf("the schedulers took the lease from each other: token %s, was %s", now, token)
	}
	if sent, failures := stop(); len(failures) > 0 || sent < 20 {
		t.Errorf("%d of %d requests were answered by neither router, first %s", len(failures), sent, append(failures, "none")[0])
	}
}

func (f *fleet) logOf(name string) []byte {
	p := f.parts[name]
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.said.Bytes())
}
