package cell

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/tender"
)

// watch looks after the health of one guest: until it is healthy, again and
// again within a time; from then on now and then, and whether it is ready.
type watch struct {
	i                 *instance
	health, readiness check
	to                netip.AddrPort
	begun             time.Time
	healthy, ready    bool
	problem           string // of the last check
	silent            int    // checks in a row without an answer in time
	reports           int    // that were told
	served            bool   // it has answered somebody
	said              cf.Report
	nextHealth        time.Time
	nextReady         time.Time
}

func newWatch(i *instance) *watch {
	l := i.label.Placement.Launch
	// Its time counts from here, by the clock that cannot be set: what an earlier
	// cell has written of its start need not be of the clock of now.
	w := &watch{i: i, to: netip.AddrPortFrom(i.label.Addr, cf.AppPort), begun: time.Now()}
	if l != nil {
		w.health, w.readiness = newCheck(l.Health), newCheck(l.Readiness)
	}
	if i.label.Placement.TaskGUID != "" {
		w.health, w.readiness = check{}, check{}
	}
	if i.adopted != nil && i.adopted.State == cf.InstanceRunning {
		w.healthy, w.ready, w.served = true, i.adopted.Routable, true
		// Not all that were adopted at a time: a cell that looks at hundreds at
		// once is itself why they do not answer.
		w.nextHealth = time.Now().Add(rand.N(w.health.interval + 1))
		w.nextReady = time.Now().Add(rand.N(w.readiness.interval + 1))
		w.say(cf.Report{Routable: w.ready, Since: i.adopted.Since, Details: i.adopted.Details})
	}
	return w
}

// due is when there is something to look at; ever is false when there will not
// be.
func (w *watch) due() (at time.Time, ever bool) {
	switch {
	case !w.healthy:
		return w.nextHealth, true
	case w.health.trivial() && w.readiness.trivial():
		return time.Time{}, false
	case w.health.trivial():
		return w.nextReady, true
	case w.readiness.trivial() || w.nextHealth.Before(w.nextReady):
		return w.nextHealth, true
	}
	return w.nextReady, true
}

// say reports that the guest runs.
func (w *watch) say(r cf.Report) {
	r.State, r.Boot = cf.InstanceRunning, w.i.timeline()
	if r.Since.IsZero() {
		r.Since = time.Now().UTC()
	}
	w.said = r
	w.i.report(r)
}

// hear takes in what the guest has told: the library OS's reports, which go into
// the app's log, and that it has answered somebody, which ends its boot. What an
// adopted guest tells an earlier cell was told of.
func (w *watch) hear() {
	link := w.i.guest.Link()
	if reports := link.Reports(); w.i.adopted == nil {
		for _, text := range reports[w.reports:] {
			w.i.tell(true, "guest: %s", text)
		}
		w.reports = len(reports)
	}
	if w.healthy && !w.served && slices.ContainsFunc(link.Marks(), func(m tender.Mark) bool { return m.Name == "first byte" }) {
		w.served = true
		w.say(w.said)
	}
}

// look makes the checks that are due. It returns why the guest must end, or "".
func (w *watch) look(ctx context.Context) string {
	dial := w.i.c.network.DialTCP
	if !w.healthy {
		return w.begin(ctx, dial)
	}
	now := time.Now()
	if !w.health.trivial() && !now.Before(w.nextHealth) {
		if w.problem = w.health.do(ctx, dial, w.to); w.ill(now) {
			return "Instance became unhealthy: Liveness check unsuccessful: " + w.problem
		}
	}
	if !w.readiness.trivial() && !now.Before(w.nextReady) {
		w.setReady(w.readiness.do(ctx, dial, w.to))
	}
	return ""
}

// silences is how many checks in a row must get no answer in time before a guest that
// was healthy is ended: one that gets none says as much about a busy host. An answer
// that is wrong, or a refusal, is believed at once.
const silences = 3

// silence is how long after one the next check is made: a host is busy for longer
// than a moment.
const silence = 5 * time.Second

// ill tells whether a guest that was healthy must end for what its last check found,
// and otherwise says when the next is due.
func (w *watch) ill(now time.Time) bool {
	w.nextHealth = now.Add(w.health.interval)
	if w.silent++; !strings.HasSuffix(w.problem, timedOut) {
		w.silent = 0
		return w.problem != ""
	}
	if w.silent < silences {
		w.nextHealth = now.Add(min(silence, w.health.interval))
		return false
	}
	return true
}

// begin looks whether the guest has become healthy.
func (w *watch) begin(ctx context.Context, dial dialer) string {
	trying, stop := w.untilListening(ctx)
	w.problem = w.health.do(trying, dial, w.to)
	again := trying.Err() != nil
	stop()
	now := time.Now()
	if w.problem != "" {
		if now.Sub(w.begun) >= w.health.timeout {
			w.i.tellHealth(w.problem)
			return fmt.Sprintf("Instance never healthy after %s: %s%s", w.health.timeout, w.problem, w.health.advice())
		}
		if w.nextHealth = now; !again {
			w.nextHealth = now.Add(startInterval)
		}
		return ""
	}
	w.healthy = true
	w.i.step("healthy")
	w.nextHealth = now.Add(w.health.interval)
	if !w.health.trivial() {
		w.i.tell(false, "Container became healthy")
	}
	if w.readiness.trivial() {
		w.ready = true
		w.say(cf.Report{Routable: true})
		return ""
	}
	w.say(cf.Report{})
	w.setReady(w.readiness.do(ctx, dial, w.to))
	return ""
}

// untilListening is ctx until the guest says that it accepts on one port more, or
// ends. A check that began before that may wait long for a packet that nobody was
// there to answer: a virtual machine boots slower than the first SYN arrives.
func (w *watch) untilListening(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	link := w.i.guest.Link()
	before := len(link.Ports())
	go func() {
		for {
			changed := link.Changed()
			if len(link.Ports()) > before {
				cancel()
				return
			}
			select {
			case <-changed:
			case <-link.Done():
				cancel()
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, cancel
}

// setReady notes the outcome of a readiness check. What is not ready yet is
// looked at again soon.
func (w *watch) setReady(problem string) {
	ready := problem == ""
	w.nextReady = time.Now().Add(w.readiness.interval)
	if !ready && !w.ready {
		w.nextReady = time.Now().Add(time.Second)
	}
	if ready == w.ready {
		return
	}
	w.ready = ready
	if ready {
		w.i.tell(false, "Container passed the readiness health check")
	} else {
		w.i.tell(true, "Container failed the readiness health check: %s", problem)
	}
	w.say(cf.Report{Routable: ready, Details: problem})
}

// tellHealth says in the app's log what the health check found.
func (i *instance) tellHealth(problem string) {
	l := i.out.line
	l.Time, l.Source, l.Err, l.Text = time.Now(), "HEALTH", true, []byte(problem)
	i.c.cfg.Logs.Log(l)
}
