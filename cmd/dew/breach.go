package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/dewpaas/dew/breach"
)

// breachCmd is `dew breach`.
type breachCmd struct {
	Suite  bool     `help:"Make every attack of the catalogue against throw-away guests, with its guard and without."`
	Attack []string `placeholder:"NAME" help:"Make only these attacks."`
	List   bool     `help:"List the attacks and the guards that stop them; make none."`
	JSON   bool     `name:"json" help:"Print JSON."`
}

// Run lists or makes attacks. It fails when one was not stopped, or was not
// proven to be an attack.
func (b *breachCmd) Run(ctx context.Context, c *console) error {
	attacks, err := b.attacks()
	switch {
	case err != nil:
		return err
	case b.List:
		return b.list(c, attacks)
	case !b.Suite && len(b.Attack) == 0:
		return withHint(fmt.Errorf("breach: nothing to do"), "`dew breach --suite` makes every attack, `dew breach --list` tells them")
	}
	return b.suite(ctx, c, attacks)
}

func (b *breachCmd) attacks() (list []breach.Attack, err error) {
	all := breach.Catalogue()
	if len(b.Attack) == 0 {
		return all, nil
	}
	for _, name := range b.Attack {
		i := slices.IndexFunc(all, func(a breach.Attack) bool { return a.Name == name })
		if i < 0 {
			return nil, withHint(fmt.Errorf("no attack is named %s", name), "`dew breach --list` tells their names")
		}
		list = append(list, all[i])
	}
	return list, nil
}

// attackLine is an attack for `--list --json`.
type attackLine struct {
	Name   string       `json:"name"`
	Tender breach.Kind  `json:"tender"`
	Class  breach.Class `json:"class"`
	Goal   string       `json:"goal"`
	Guard  string       `json:"guard"`
	What   string       `json:"guard_is"`
}

func (b *breachCmd) list(c *console, attacks []breach.Attack) error {
	var lines []attackLine
	for _, a := range attacks {
		for _, r := range a.Rows {
			lines = append(lines, attackLine{a.Name, r.Tender, a.Class, a.Goal, r.Guard.Name, r.Guard.What})
		}
	}
	if b.JSON {
		return printJSON(c, map[string]any{"attacks": lines})
	}
	for _, l := range lines {
		fmt.Fprintf(c.out, "%-20s %-8s the attacker has: %s\n%-29s guard: %s: %s\n", l.Name, l.Tender, l.Goal, "", l.Guard, l.What)
	}
	return nil
}

func printJSON(c *console, v any) error {
	e := json.NewEncoder(c.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (b *breachCmd) suite(ctx context.Context, c *console, attacks []breach.Attack) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	u, err := breach.Open(ctx, cache)
	if err != nil {
		return err
	}
	defer u.Close()
	if !u.HasQEMU() {
		fmt.Fprintln(c.err, "dew: QEMU is not installed: only the process tender is attacked")
	}
	results := []breach.Result{}
	bad := 0
	err = u.Run(ctx, attacks, func(r breach.Result) {
		results = append(results, r)
		if !r.Good() {
			bad++
		}
		if !b.JSON {
			fmt.Fprintln(c.out, verdictLine(r))
		}
	})
	if b.JSON {
		if err := printJSON(c, map[string]any{"attacks": results}); err != nil {
			return err
		}
	}
	switch {
	case err != nil:
		return err
	case bad > 0:
		return fmt.Errorf("%d of %d attacks were not stopped, or not proven", bad, len(results))
	case !b.JSON:
		fmt.Fprintf(c.out, "%d attacks: all stopped, each succeeds without its guard\n", len(results))
	}
	return nil
}

// verdictLine is a result for people.
func verdictLine(r breach.Result) string {
	verdict := "stopped"
	switch {
	case r.Error != "":
		verdict = "not judged: " + r.Error
	case !r.Stopped:
		verdict = "NOT STOPPED: " + r.How
	case !r.Proven:
		verdict = "NOT PROVEN: fails without its guard, too: " + r.HowOff
	}
	line := fmt.Sprintf("%-20s %-8s %s (%s)", r.Name, r.Tender, verdict, r.Guard)
	var gained []string
	if r.Root == breach.Gained {
		gained = append(gained, "in a container")
	}
	if r.User == breach.Gained {
		gained = append(gained, "in an unprivileged one")
	}
	if gained != nil {
		line += "; succeeds " + strings.Join(gained, " and ")
	}
	return line
}
