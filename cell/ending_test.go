package cell

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dewpaas/dew/cf"
)

// crashes are the records of an app, oldest first.
func (h *house) crashes(app string) (list []*cf.Crash) {
	h.Helper()
	err := h.store.View(h.Context(), func(tx cf.Tx) (err error) {
		list, err = cf.List[cf.Crash](tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", app)}, Order: []cf.Order{{Key: "created_at"}}})
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	return list
}

// owned makes the app that crashes are kept for, and returns its guid.
func (h *house) owned(name string) string {
	h.Helper()
	a := &cf.App{Name: name}
	h.update(func(tx cf.Tx) error {
		org := &cf.Organization{Name: name}
		if err := tx.Insert(org); err != nil {
			return err
		}
		space := &cf.Space{Name: name, OrgGUID: org.GUID}
		if err := tx.Insert(space); err != nil {
			return err
		}
		a.SpaceGUID = space.GUID
		return tx.Insert(a)
	})
	return a.GUID
}

func TestCrashesAreKept(t *testing.T) {
	h := newHouse(t)
	app := h.owned("app")
	h.open()
	for _, c := range []struct{ command, reason, stack, console string }{
		{"./app panic", cf.CrashPanic, "panic: all is lost\n\ngoroutine 1 [running]:\nmain.main()\n", "panic: all is lost\n"},
		{"./app nil", cf.CrashPanic, "panic: runtime error: invalid memory address or nil pointer dereference\n[signal SIGSEGV: segmentation violation", "main.go:"},
		{"./app exit 3", cf.CrashExited, "", "last words\n"},
		{"./app hog", cf.CrashMemory, "", ""},
		{"./app wall", cf.CrashForbidden, "", ""},
		{"./app exec", cf.CrashExited, "", "/bin/sh"},
	} {
		p := h.place(h.placement(app, c.command))
		r := h.untilState(p, cf.InstanceEnded)
		list := h.crashes(app)
		last := list[len(list)-1]
		if last.GUID != p.GUID || last.Reason != c.reason || last.Description != r.Details || last.Status != r.Status || !strings.HasPrefix(last.Stack, c.stack) || !strings.Contains(last.Console, c.console) {
			t.Errorf("%s: %+v", c.command, last)
		}
		if last.Tender != "process" || last.Droplet != h.digest || last.Ended.Before(last.Began) || c.stack == "" && last.Stack != "" {
			t.Errorf("%s: %+v", c.command, last)
		}
		if !inOrder(last.Boot, "cell", "droplet", "network", "tender", "runtime", "main") {
			t.Errorf("%s: boot was %v", c.command, last.Boot)
		}
	}
	if n := len(h.crashes(app)); n != keptCrashes {
		t.Errorf("%d crashes are kept", n)
	}
	h.untilLogged("[APP/PROC/WEB/0] OUT Exit status 2 (panic: all is lost)\n")
	h.untilLogged("[APP/PROC/WEB/0] OUT Exit status 137 (out of memory)\n")
}

// inOrder tells whether steps of these names follow each other. Others may come
// between: what the guest tells and what the cell sees are two threads of events.
func inOrder(steps []cf.Step, names ...string) bool {
	for _, s := range steps {
		if len(names) > 0 && strings.HasPrefix(s.Name, names[0]) {
			names = names[1:]
		}
	}
	return len(names) == 0
}

// TestWhatIsNoCrash leaves no record: an end that was asked for, or a task's good one.
// What crashes after its app was deleted leaves none either, and nothing stops for it.
func TestWhatIsNoCrash(t *testing.T) {
	h := newHouse(t)
	app := h.owned("app")
	h.open()
	p := h.place(h.placement(app, "./app graceful"))
	h.untilState(p, cf.InstanceRunning)
	h.unplace(p)
	h.untilState(p, cf.InstanceEnded)
	task := h.placement(app, "./app exit 0")
	task.TaskGUID, task.ProcessGUID, task.Type = "t", "", "job"
	h.untilState(h.place(task), cf.InstanceEnded)
	h.untilState(h.place(h.placement("deleted", "./app panic")), cf.InstanceEnded)
	if list := slices.Concat(h.crashes(app), h.crashes("deleted")); len(list) > 0 {
		t.Errorf("%+v", list[0])
	}
}

// TestBootIsTold: step by step, to the first byte that the program sent; a cell
// that comes later has it too.
func TestBootIsTold(t *testing.T) {
	h := newHouse(t)
	h.open()
	p := h.place(h.placement("app", "./app"))
	r := h.untilState(p, cf.InstanceRunning)
	h.get(r, "/env")
	h.until("the first byte", func() bool {
		boot := h.report(p.GUID).Boot
		return inOrder(boot, "cell", "droplet", "network", "tender", "healthy") && inOrder(boot, "tender", "runtime", "main", "listening", "first byte")
	})
	before := fmt.Sprint(h.report(p.GUID).Boot)
	h.close()
	h.open()
	h.untilState(p, cf.InstanceRunning)
	if after := fmt.Sprint(h.report(p.GUID).Boot); after != before {
		t.Errorf("%s, was %s", after, before)
	}
}

// TestStoppedWhileItWaits: an instance that was not started before it is not
// wanted any more has not crashed.
func TestStoppedWhileItWaits(t *testing.T) {
	h := newHouse(t)
	h.open()
	for range startsAtOnce { // others are being started
		h.cell.starts <- struct{}{}
	}
	p := h.place(h.placement("app", "./app serve"))
	h.until("it waits", func() bool { return len(h.cell.list()) == 1 })
	h.unplace(p)
	if r := h.untilState(p, cf.InstanceEnded); r.Status != 0 || r.Details != "It was stopped before it was started." {
		t.Errorf("%+v", r)
	}
	if err := h.store.View(t.Context(), func(tx cf.Tx) error {
		crashes, err := cf.List[cf.Crash](tx, cf.Query{})
		if len(crashes) != 0 {
			t.Errorf("it is said to have crashed: %+v", crashes[0])
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for range startsAtOnce {
		<-h.cell.starts
	}
}
