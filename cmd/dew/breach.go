package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dewpaas/dew/breach"
	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/tender"
)

// breachCmd is `dew breach`.
type breachCmd struct {
	Subject string   `arg:"" optional:"" placeholder:"APP|DROPLET" help:"App of the targeted space that runs on this machine's cell; or a droplet that would run alone: a file, or a folder with an OCI image layout."`
	Tender  string   `enum:"process,qemu" default:"process" help:"Kind of tender that the report on a droplet is for: ${enum}."`
	Env     []string `short:"e" placeholder:"K=V" sep:"none" help:"An environment variable that the droplet would get."`
	Memory  size     `short:"m" default:"256M" help:"The droplet's limit of memory, with K, M or G."`
	CPUs    float64  `name:"cpus" help:"The droplet's limit of CPUs."`
	Process string   `default:"web" help:"Process type of the app."`
	Expect  string   `help:"Fail when the report has more than this one, JSON as --json prints it." type:"existingfile"`

	Live   bool     `help:"Start hostile twins of the app in its cell, that try all of it, and compare."`
	Suite  bool     `help:"Make every attack of the catalogue against throw-away guests, with its guard and without."`
	Attack []string `placeholder:"NAME" help:"Of the catalogue, make only these attacks."`
	List   bool     `help:"List the attacks and the guards that stop them; make none."`
	JSON   bool     `name:"json" help:"Print JSON."`
	cellFlag
}

func (breachCmd) Help() string {
	return `Of an app or a droplet it tells what an attacker gets who owns it: secrets by name, what it reaches and what reaches it, host calls, files, what persists, limits.

Exit status: 0 all is as predicted and no more than --expect allows, 1 it is not, or something failed.`
}

// Run reports on a droplet, lists attacks or makes them. It fails when one was not stopped, or was not
// proven to be an attack.
func (b *breachCmd) Run(ctx context.Context, c *console) error {
	attacks, err := b.attacks()
	switch {
	case err != nil:
		return err
	case b.List:
		return b.list(c, attacks)
	case b.Live && b.Subject == "":
		return withHint(fmt.Errorf("breach: a twin of which app?"), "`dew breach APP --live`")
	case b.Live:
		return b.live(ctx, c, attacks)
	case b.Subject != "":
		return b.report(ctx, c)
	case !b.Suite && len(b.Attack) == 0:
		return withHint(fmt.Errorf("breach: nothing to do"), "`dew breach APP` or `dew breach DROPLET` reports, `dew breach --suite` makes every attack, `dew breach --list` tells them")
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
		return c.json(map[string]any{"attacks": lines})
	}
	for _, l := range lines {
		fmt.Fprintf(c.out, "%-20s %-8s the attacker has: %s\n%-29s guard: %s: %s\n", l.Name, l.Tender, l.Goal, "", l.Guard, l.What)
	}
	return nil
}

// openSuite makes ready to attack; what it builds is kept in the user's cache.
func openSuite(ctx context.Context) (*breach.Suite, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	return breach.Open(ctx, cache)
}

func (b *breachCmd) suite(ctx context.Context, c *console, attacks []breach.Attack) error {
	u, err := openSuite(ctx)
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
		if err := c.json(map[string]any{"attacks": results}); err != nil {
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

// report tells what an attacker gets who owns the subject.
func (b *breachCmd) report(ctx context.Context, c *console) error {
	subject, err := b.subject(ctx, c)
	if err != nil {
		return err
	}
	r := breach.Predict(subject)
	if b.JSON {
		err = c.json(r)
	} else {
		err = describeBreach(c.out, r)
	}
	if err != nil || b.Expect == "" {
		return err
	}
	return expected(b.Expect, r)
}

// subject is an app, or a droplet where the name is that of one's file.
func (b *breachCmd) subject(ctx context.Context, c *console) (breach.Subject, error) {
	if info, err := os.Stat(b.Subject); err == nil && (!info.IsDir() || isLayout(b.Subject)) {
		return b.droplet()
	}
	s, err := b.look(ctx, c)
	if err != nil {
		return breach.Subject{}, err
	}
	defer s.close()
	return s.subject(ctx, b.Subject, b.Process)
}

// droplet is one that runs alone.
func (b *breachCmd) droplet() (breach.Subject, error) {
	d, err := droplet.Open(b.Subject)
	if err != nil {
		return breach.Subject{}, err
	}
	defer d.Close()
	files, err := verified(d)
	if err != nil {
		return breach.Subject{}, err
	}
	env := map[string]string{}
	for _, kv := range b.Env {
		key, value, _ := strings.Cut(kv, "=")
		env[key] = value
	}
	return breach.Alone(filepath.Base(b.Subject), breach.Kind(b.Tender), env, len(files), tender.Limits{Memory: uint64(b.Memory), CPUs: b.CPUs}), nil
}

// expected compares a report with the file of what is allowed.
func expected(path string, r breach.Report) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var allowed breach.Report
	if err := json.Unmarshal(text, &allowed); err != nil {
		return withHint(fmt.Errorf("%s is no report: %w", path, err), "`dew breach APP --json` prints one")
	}
	if more := r.Violations(allowed); len(more) > 0 {
		return fmt.Errorf("an attacker gets more than %s allows:\n%s", path, strings.Join(more, "\n"))
	}
	return nil
}

// describeBreach is a report for people.
func describeBreach(w io.Writer, r breach.Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Who owns %s under the %s tender has:\n", r.Subject, r.Tender)
	fmt.Fprintf(&b, "  secrets (%d):\n", len(r.Secrets))
	for _, s := range r.Secrets {
		fmt.Fprintf(&b, "    %s (%s)\n", printable(s.Name), s.From)
	}
	for _, way := range []struct {
		title string
		links []breach.Link
	}{{"reaches", r.Reaches}, {"is reached by", r.ReachedBy}} {
		fmt.Fprintf(&b, "  %s (%d):\n", way.title, len(way.links))
		for _, l := range way.links {
			fmt.Fprintf(&b, "    %s: %s\n", printable(strings.TrimSpace(l.Peer+", "+l.Protocol+" "+l.Ports)), printable(l.Rule))
		}
	}
	fmt.Fprintf(&b, "  host calls (%d): %s\n", len(r.HostCalls), strings.Join(r.HostCalls, " "))
	fmt.Fprintf(&b, "  files to read: %d; what persists: %s\n", r.Files, cmp.Or(strings.Join(r.Persists, ", "), "nothing"))
	fmt.Fprintf(&b, "  limits: %d bytes of memory, %g CPUs, %d threads (0: none)\n", r.Limits.MemoryBytes, r.Limits.CPUs, r.Limits.Threads)
	_, err := io.WriteString(w, b.String())
	return err
}
