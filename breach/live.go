package breach

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dewpaas/dew/firewall"
)

// Finding is one prediction about an app, and what happened when a hostile twin
// of it tried.
type Finding struct {
	Name      string `json:"name"`
	Class     Class  `json:"class"`
	Goal      string `json:"goal"`      // what the twin has when it succeeds
	Predicted string `json:"predicted"` // Stopped or Gained
	Rule      string `json:"rule"`      // that decides, or the guard
	Happened  string `json:"happened"`  // Stopped or Gained, or "" when it cannot be told
	How       string `json:"how,omitempty"`
	Agrees    bool   `json:"agrees"`
	Error     string `json:"error,omitempty"`     // why it cannot be told
	Root      string `json:"container,omitempty"` // the same attacker as a process in a container, as root
	User      string `json:"user,omitempty"`      // and as a user without rights
}

// Live lets twins of an app try everything that applies to it, in its cell's
// network, and tells of each prediction whether it held. Twins are started one
// after the other by the kind of tender that the app has; each ends, and its
// places are given back, before the next begins. attacks are those of the
// Catalogue that are made beside what the topology tells to try.
func (u *Suite) Live(ctx context.Context, site *Site, attacks []Attack, tell func(Finding)) error {
	kind := site.Subject.Tender
	if kind == QEMU && u.qemu == nil {
		return errors.New("the app runs in QEMU, which is not installed here")
	}
	for _, do := range []func(context.Context, *Site, func(Finding)) error{u.tryWays, u.tryNames, u.tryFloods} {
		if err := do(ctx, site, tell); err != nil {
			return err
		}
	}
	for _, a := range attacks {
		for _, row := range a.Rows {
			if row.Tender == kind && applies(&a) && ctx.Err() == nil {
				tell(u.tryAttack(ctx, site, &a, &row))
			}
		}
	}
	return ctx.Err()
}

// applies tells whether an attack of the catalogue has its meaning on a site.
// Some are about a topology of their own: ways and names of the real one are
// tried instead; and floods about rates that are not the cell's.
func applies(a *Attack) bool {
	switch a.Class {
	case Names:
		return false
	case Wire:
		return !slices.ContainsFunc(floods(), func(f Attack) bool { return f.Name == a.Name })
	case Reach:
		return slices.Contains([]string{"reach-neighbour", "reach-closed-port", "connect-neighbour", "answer-unasked", "all-flags", "ping-neighbour",
			"reach-host", "scan-host", "reach-metadata", "tunnel-ipip", "tunnel-gre", "receive-neighbour"}, a.Name)
	}
	return true
}

// tryAttack makes one attack of the catalogue as a twin, and in the containers.
func (u *Suite) tryAttack(ctx context.Context, site *Site, a *Attack, row *Row) Finding {
	f := Finding{Name: a.Name, Class: a.Class, Goal: a.Goal, Predicted: Stopped, Rule: row.Guard.Name}
	o, err := u.twin(ctx, site, row, nil)
	if err == nil && !o.Tried {
		err = fmt.Errorf("no sign that the attack was made: %s", o.How)
	}
	f.settle(o.Gained, err)
	f.How = o.How
	baseline := *row
	baseline.Tender = Process // a container has but one kind
	if a.Rows[0].Tender == Process {
		baseline = a.Rows[0]
	} else {
		baseline.NoBaseline = true
	}
	r := Result{}
	u.compare(ctx, &baseline, &r)
	f.Root, f.User = r.Root, r.User
	if r.Error != "" && f.Error == "" {
		f.Error = r.Error
	}
	return f
}

// settle compares what happened with what was predicted.
func (f *Finding) settle(gained bool, err error) {
	if err != nil {
		f.Error = err.Error()
		return
	}
	f.Happened = Stopped
	if gained {
		f.Happened = Gained
	}
	f.Agrees = f.Happened == f.Predicted
}

// twin makes one run of an attack on the site, up to three times where the
// machine is too busy for it. after, if there is any, looks at the scene.
func (u *Suite) twin(ctx context.Context, site *Site, row *Row, after func(*scene)) (o Outcome, err error) {
	for range attempts {
		if o, err = u.twinOnce(ctx, site, row, after); err == nil || ctx.Err() != nil {
			break
		}
	}
	return o, err
}

func (u *Suite) twinOnce(ctx context.Context, site *Site, row *Row, after func(*scene)) (Outcome, error) {
	s, err := u.newScene(row, guarded)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	s.site = site
	o, err := s.play(ctx)
	if err != nil {
		return o, err
	}
	if s.street != nil && s.street.lost != nil && s.final {
		if n, err := s.street.lost(); err != nil || n > 0 {
			return o, errors.Join(err, fmt.Errorf("%d frames of the cell's network were not looked at: it is too busy", n))
		}
	}
	if after != nil {
		after(s)
	}
	return o, nil
}

// tryFloods has a twin send more than its share: of beginnings of connections,
// of datagrams, of pings. What arrives stays within the rates of its vNIC.
func (u *Suite) tryFloods(ctx context.Context, site *Site, tell func(Finding)) error {
	usual := firewall.DefaultRates()
	for _, one := range []struct {
		name, goal, step     string
		packet               func(*street) packet
		rate, burst, allowed uint32
	}{
		{"flood-syn", "beginnings of connections beyond its rate", "syns {frame} 12000", func(t *street) packet { return tcp(t.mal.at(1000), t.bob.at(openPort), flagSYN, nil) }, usual.Connections, usual.ConnectionBurst, 12000},
		{"flood-udp", "datagrams beyond its rate", "send {frame} 100000", func(t *street) packet { return udp(t.mal.at(1000), t.bob.at(openPort), make([]byte, 64)) }, usual.Packets, usual.PacketBurst, 100000},
		{"flood-icmp", "pings, which no policy opens", "send {frame} 20000", func(t *street) packet { return icmp(t.mal.addr, t.bob.addr, 8, make([]byte, 64)) }, 0, 0, 20000},
	} {
		var arrived uint64
		var took time.Duration
		var begun time.Time
		w := Witness{arrange: []func(*scene) error{onStreet(nil, nil), func(s *scene) error {
			s.set("frame", s.street.ip(one.packet(s.street)))
			begun = time.Now()
			return nil
		}}, after: func(*scene) error { took = time.Since(begun); return nil }}
		w.gained = func(s *scene) (bool, error) {
			n, err := s.street.offered(&s.street.bob)
			arrived, took = n, max(took, time.Since(begun))
			return float64(n) > float64(one.burst)+float64(one.rate)*took.Seconds(), err
		}
		f := Finding{Name: one.name, Class: Wire, Goal: one.goal, Predicted: Stopped, Rule: fmt.Sprintf("%d a second after a burst of %d", one.rate, one.burst)}
		o, err := u.twin(ctx, site, &Row{Tender: site.Subject.Tender, Steps: []string{one.step, "hold"}, Witness: w}, nil)
		f.settle(o.Gained, err)
		f.How = fmt.Sprintf("%d of %d arrived within %v", arrived, one.allowed, took.Round(time.Millisecond))
		tell(f)
	}
	return ctx.Err()
}
