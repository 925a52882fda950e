package cell

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/tender"
)

// ending is how an instance ended, in the words of the ledger.
type ending struct {
	status int
	text   string
	reason string // of a crash, see cf.Crash; "": it was asked to end, and did
	exit   tender.Exit
}

// goDied is the status of a program that the Go runtime ended (runtime/panic.go).
const goDied = 2

var reasons = [...]string{tender.Exited: cf.CrashExited, tender.Killed: cf.CrashKilled, tender.Crashed: cf.CrashFault,
	tender.OutOfMemory: cf.CrashMemory, tender.Forbidden: cf.CrashForbidden, tender.HostFailed: cf.CrashHostFailure}

// describe puts an exit in the words of Cloud Foundry. problem is what the cell
// ended the guest for, if it did.
func (i *instance) describe(e tender.Exit, problem string) ending {
	end := ending{status: e.Code(), exit: e, reason: reasons[e.Reason]}
	end.text = fmt.Sprintf("%s: Exited with status %d", i.out.line.Source, end.status)
	dying := i.console.Dying()
	switch {
	case problem != "":
		end.text, end.reason = problem, cf.CrashUnhealthy
	case e.Reason == tender.OutOfMemory:
		end.text += " (out of memory)"
	case e.Reason == tender.HostFailed:
		end.text = "The host failed: " + e.Detail
	case dying != "" && (e.Reason == tender.Crashed || e.Reason == tender.Exited && e.Status == goDied):
		end.reason = cf.CrashPanic
		end.text += " (" + dying + ")"
	case i.asked() && (e.Reason == tender.Exited || e.Reason == tender.Killed):
		end.reason = ""
	case e.Reason != tender.Exited:
		end.text += " (" + e.String() + ")"
	}
	return end
}

// asked tells whether it should end.
func (i *instance) asked() bool {
	select {
	case <-i.stop:
		return true
	default:
		return false
	}
}

// epilogue tells the app's log how it ended.
func (i *instance) epilogue(end ending) {
	l := i.out.line
	l.Time, l.Text = time.Now(), fmt.Appendf(nil, "Exit status %d", end.status)
	if _, why, ok := strings.Cut(end.text, " ("); ok && end.reason != cf.CrashUnhealthy {
		l.Text = fmt.Appendf(l.Text, " (%s", why)
	}
	i.c.cfg.Logs.Log(l)
	i.tell(false, "Cell %s destroying container for instance %s", i.c.cfg.ID, i.label.Placement.GUID)
}

// step notes that a step of the boot is done. Only the instance's life may.
func (i *instance) step(name string) {
	i.steps = append(i.steps, cf.Step{Name: name, After: i.since(time.Now())})
}

// since is how long after the placement something was.
func (i *instance) since(at time.Time) time.Duration {
	return max(0, at.Sub(i.label.Placement.UpdatedAt))
}

// maxSteps bounds a timeline: a guest can tell of many.
const maxSteps = 40

// timeline is the boot as far as it has come: the cell's steps and the guest's.
// The times of the guest's are those of their arrival.
func (i *instance) timeline() []cf.Step {
	if i.adopted != nil && len(i.adopted.Boot) > 0 {
		return i.adopted.Boot
	}
	all := slices.Clone(i.steps)
	if i.guest != nil {
		marks := i.guest.Link().Marks()
		started := slices.IndexFunc(all, func(s cf.Step) bool { return s.Name == "tender" })
		if started >= 0 && len(marks) > 0 { // a guest can be quicker than the keeper's word that it started
			all[started].After = min(all[started].After, i.since(marks[0].Seen))
		}
		for _, m := range marks {
			all = append(all, cf.Step{Name: m.Name, After: i.since(m.Seen)})
		}
		for _, p := range i.guest.Link().Ports() {
			all = append(all, cf.Step{Name: fmt.Sprintf("listening on %s %d", p.Protocol, p.Number), After: i.since(p.Seen)})
		}
	}
	slices.SortStableFunc(all, func(a, b cf.Step) int { return cmp.Compare(a.After, b.After) })
	return all[:min(len(all), maxSteps)]
}

// crash is what is kept of the instance, nil when it ended as it should.
func (i *instance) crash(end ending) *cf.Crash {
	p := &i.label.Placement
	if end.reason == "" || end.reason == cf.CrashExited && end.status == 0 && p.TaskGUID != "" {
		return nil
	}
	c := &cf.Crash{Meta: cf.Meta{GUID: p.GUID}, AppGUID: p.AppGUID, ProcessGUID: p.ProcessGUID, TaskGUID: p.TaskGUID, Type: p.Type, Index: p.Index, Version: p.Version,
		CellID: i.c.cfg.ID, Tender: i.label.Tender, Began: i.label.Started.UTC(), Ended: time.Now().UTC(), Reason: end.reason, Description: end.text, Status: end.status,
		CPUSeconds: end.exit.CPUTime.Seconds(), PeakMemory: int64(end.exit.MaxRSS), Boot: i.timeline(), Stack: i.console.Stack(), Console: i.console.Tail()}
	if p.Launch != nil {
		c.Droplet = p.Launch.DropletSHA256
	}
	if i.guest != nil {
		c.Reports = i.guest.Link().Reports()
	}
	return c
}
