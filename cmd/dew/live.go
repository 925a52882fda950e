package main

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/dewpaas/dew/breach"
	landlord "github.com/dewpaas/dew/cell"
	"github.com/dewpaas/dew/cell/window"
	"github.com/dewpaas/dew/cf"
)

// live lets hostile twins of an app try what the report predicts. It fails when
// anything went otherwise.
func (b *breachCmd) live(ctx context.Context, c *console, attacks []breach.Attack) error {
	s, err := b.look(ctx, c)
	if err != nil {
		return err
	}
	defer s.close()
	subject, err := s.subject(ctx, b.Subject, b.Process)
	if err != nil {
		return err
	}
	u, err := openSuite(ctx)
	if err != nil {
		return err
	}
	defer u.Close()
	site := &breach.Site{Subject: subject, Network: s.network, Borrow: s.places(&subject.Self)}
	findings := []breach.Finding{}
	err = u.Live(ctx, site, attacks, func(f breach.Finding) {
		findings = append(findings, f)
		if !b.JSON {
			fmt.Fprintln(c.out, c.findingLine(f))
		}
	})
	if b.JSON {
		if err := c.json(map[string]any{"report": breach.Predict(subject), "findings": findings}); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	return b.judge(c, findings)
}

// judge counts, and fails when a prediction did not hold.
func (b *breachCmd) judge(c *console, findings []breach.Finding) error {
	var bad, stopped, root, user int
	for _, f := range findings {
		if !f.Agrees {
			bad++
		}
		if f.Predicted == breach.Stopped && f.Agrees {
			stopped++
		}
		if f.Root == breach.Gained {
			root++
		}
		if f.User == breach.Gained {
			user++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d predictions did not hold", bad, len(findings))
	}
	if !b.JSON {
		fmt.Fprintf(c.out, "%d predictions held: %d attempts were stopped, %d are allowed by a rule; as a process in a container the same attacker succeeds with %d, as one without rights with %d\n",
			len(findings), stopped, len(findings)-stopped, root, user)
	}
	return nil
}

// findingLine is a finding for people.
func (c *console) findingLine(f breach.Finding) string {
	verdict := map[string]string{breach.Stopped: "stopped", breach.Gained: "allowed"}[f.Happened]
	line := fmt.Sprintf("%-9s %s (%s)", verdict, printable(f.Name), printable(f.Rule))
	switch {
	case f.Error != "":
		line = fmt.Sprintf("%-9s %s: %s", "UNKNOWN", printable(f.Name), printable(f.Error))
	case !f.Agrees:
		line = c.paint(red, "OTHERWISE") + fmt.Sprintf(" %s: predicted %s (%s), happened %s: %s", printable(f.Name), f.Predicted, printable(f.Rule), f.Happened, printable(f.How))
	case f.Predicted == breach.Gained && f.Happened == breach.Stopped:
		line += ": " + f.How
	}
	for _, one := range []struct{ where, verdict string }{{"in a container", f.Root}, {"in an unprivileged one", f.User}} {
		if one.verdict == breach.Gained {
			line += "; " + c.paint(yellow, "succeeds "+one.where)
		}
	}
	return line
}

// places borrows the parties of an attack: a twin of the app's instance, and two
// that are nobody's.
func (s *sight) places(self *cf.Endpoint) func(context.Context) (*breach.Places, error) {
	return func(ctx context.Context) (*breach.Places, error) {
		friend, stranger := "friend-"+rand.Text(), "stranger-"+rand.Text()
		open := func(from, protocol string) cf.NetworkPolicy {
			return cf.NetworkPolicy{SourceGUID: from, DestinationGUID: friend, Protocol: protocol, StartPort: breach.FriendPort, EndPort: breach.FriendPort}
		}
		l, err := window.Borrow(ctx, s.folder, []landlord.Wish{{AppGUID: self.AppGUID, SpaceGUID: self.SpaceGUID}, {AppGUID: friend, Name: "friend"}, {AppGUID: stranger, Name: "stranger"}},
			[]cf.NetworkPolicy{open(self.AppGUID, cf.TCP), open(self.AppGUID, cf.UDP), open(stranger, cf.UDP)})
		if err != nil {
			return nil, err
		}
		at := func(i int) breach.Place { return breach.Place{VNIC: l.Places[i].VNIC, Tap: l.Places[i].Tap} }
		return &breach.Places{Twin: at(0), Friend: at(1), Stranger: at(2), GiveBack: func() { l.Close() }}, nil
	}
}
