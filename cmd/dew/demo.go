package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dewpaas/dew/cmd/dew/demo"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/qemu"
)

// demoCmd is `dew demo`.
type demoCmd struct {
	Tender []string `enum:"process,qemu" default:"process,qemu" help:"Kinds of tender to run programs under: ${enum}."`
	Only   []string `placeholder:"NAME" help:"What to show: foundation, or programs; all unless given."`
}

// foundationPart is the name of the part of the demo that pushes an app.
const foundationPart = "foundation"

// trial is one run of one program under one tender.
type trial struct {
	program *demo.Program
	kind    string
	ready   time.Duration // until it listened, from when its tender was asked
	took    []time.Duration
	failed  []error // by check, nil where it passed; fewer when the run broke off
	broken  error   // why the run as a whole was not well
	printed bytes.Buffer
}

func (demoCmd) Help() string {
	return `First a foundation of its own comes up, gets a real app with dew push, scales, rolls and breaks it, and goes down; then real programs run as droplets without one. Nothing is left behind. It needs root, Go and the module proxy.`
}

// Run builds, runs, checks and prints the table. It fails when a check does.
func (d *demoCmd) Run(ctx context.Context, c *console) error {
	programs, err := d.programs()
	if err != nil {
		return err
	}
	kinds, missing := d.kinds()
	dir, remove, err := scratch("demo")
	if err != nil {
		return err
	}
	defer remove()
	rows, err := d.show(ctx, c, filepath.Join(dir, foundationPart), len(kinds) > 0)
	if err != nil {
		return err
	}
	var trials []*trial
	for i := range programs {
		p := &programs[i]
		file := filepath.Join(dir, p.Name+".dew")
		fmt.Fprintf(c.out, "%s: building %s\n", p.Name, p.Package)
		if err := (&buildCmd{Source: p.Package, Output: file}).Run(ctx, &console{in: c.in, out: io.Discard, err: c.err}); err != nil {
			return fmt.Errorf("build %s: %w", p.Name, err)
		}
		for _, kind := range kinds {
			fmt.Fprintf(c.out, "%s: running under the %s tender\n", p.Name, kind)
			t := &trial{program: p, kind: kind}
			t.broken = t.run(ctx, file)
			trials = append(trials, t)
			rows = append(rows, t.rows()...)
		}
	}
	return conclude(c.out, rows, trials, missing)
}

// show brings up a foundation, does what there is to do with it, and takes it down.
func (d *demoCmd) show(ctx context.Context, c *console, dir string, able bool) ([]row, error) {
	if !able || len(d.Only) > 0 && !slices.Contains(d.Only, foundationPart) {
		return nil, nil
	}
	t, err := newThrowaway(dir)
	if err != nil {
		return nil, err
	}
	defer t.down(context.WithoutCancel(ctx)) // when it was broken off
	fmt.Fprintf(c.out, "%s: %s is to answer at %s\n", foundationPart, t.app.Name, t.url())
	var rows []row
	for _, deed := range t.deeds() {
		r := row{subject: t.app.Name, place: foundationPart, check: deed.name, err: errNotReached}
		if len(rows) == 0 || rows[len(rows)-1].err == nil {
			fmt.Fprintf(c.out, "%s: %s\n", foundationPart, deed.name)
			begun := time.Now()
			r.err = deed.do(ctx)
			r.took = time.Since(begun)
		}
		rows = append(rows, r)
	}
	return rows, ctx.Err()
}

func (d *demoCmd) programs() ([]demo.Program, error) {
	all := demo.Programs()
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.Name
	}
	for _, name := range d.Only {
		if name != foundationPart && !slices.Contains(names, name) {
			return nil, withHint(fmt.Errorf("the demo has no program %q", name), "it has "+foundationPart+", "+strings.Join(names, ", "))
		}
	}
	return slices.DeleteFunc(all, func(p demo.Program) bool { return len(d.Only) > 0 && !slices.Contains(d.Only, p.Name) }), nil
}

// kinds tells which of the tenders this machine can do, and why not the others.
func (d *demoCmd) kinds() (kinds, missing []string) {
	if os.Geteuid() != 0 {
		return nil, []string{"nothing was run: guests need root for their network (sudo ./do demo)"}
	}
	for _, k := range d.Tender {
		if _, err := exec.LookPath(qemu.Name); k == "qemu" && err != nil {
			missing = append(missing, "the qemu tender was left out: "+qemu.Name+" is not installed (apt-get install qemu-system-x86)")
			continue
		}
		kinds = append(kinds, k)
	}
	return kinds, missing
}

// run starts the droplet, makes all checks and stops it.
func (t *trial) run(ctx context.Context, file string) error {
	r := &runCmd{Droplet: file, Args: t.program.Args, Tender: t.kind, Process: "web", Env: t.program.Env, Memory: 512 << 20,
		Publish: []string{fmt.Sprintf("0:%d", t.program.Port)}}
	l := &launch{run: r, out: &console{out: &t.printed, err: &t.printed}, name: fmt.Sprintf("run-%d", os.Getpid()), begun: time.Now()}
	defer l.close()
	if err := l.prepare(ctx); err != nil {
		return err
	}
	begun := time.Now()
	i, err := l.start(ctx)
	if err != nil {
		return err
	}
	ended, stop := context.WithCancelCause(ctx)
	go func() {
		e, err := i.Wait(ctx)
		if err == nil {
			err = fmt.Errorf("it ended: %v", e)
		}
		stop(err)
	}()
	err = awaitPort(ended, i.Link(), t.program.Port)
	t.ready = time.Since(begun)
	if err == nil {
		t.check(ended, l.ways[0].String())
	}
	if over := t.stop(ctx, i); err == nil {
		err = over
	}
	l.spec.Stdout.Close()
	l.spec.Stderr.Close()
	l.logs.Wait()
	return err
}

// awaitPort returns when the guest has said that it listens on the port.
func awaitPort(ctx context.Context, l *tender.Link, port uint16) error {
	ctx, cancel := context.WithTimeoutCause(ctx, demo.CheckTimeout, errors.New("it does not listen"))
	defer cancel()
	for {
		changed := l.Changed()
		if slices.ContainsFunc(l.Ports(), func(p tender.Port) bool { return p.Number == port }) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// check makes all checks, each within its time.
func (t *trial) check(ctx context.Context, addr string) {
	for _, k := range t.program.Checks {
		one, cancel := context.WithTimeout(ctx, demo.CheckTimeout)
		begun := time.Now()
		err := k.Do(one, addr)
		cancel()
		t.took = append(t.took, time.Since(begun))
		t.failed = append(t.failed, err)
	}
}

// stop asks the program to end and compares its exit status.
func (t *trial) stop(ctx context.Context, i tender.Instance) error {
	over, cancel := context.WithCancel(ctx)
	cancel()
	e, err := attend(over, i, nil, &console{err: &t.printed})
	if err == nil && e.Code() != t.program.StopStatus {
		err = fmt.Errorf("after SIGTERM it %v, want status %d", e, t.program.StopStatus)
	}
	return err
}

// row is one line of the table of what was checked.
type row struct {
	subject, place, check string
	took                  time.Duration
	err                   error
}

var errNotReached = errors.New("not reached")

// rows of a trial: that it came up, and its checks.
func (t *trial) rows() []row {
	rows := []row{{t.program.Name, t.kind, fmt.Sprintf("listens on port %d", t.program.Port), t.ready, t.broken}}
	for i, k := range t.program.Checks {
		r := row{subject: t.program.Name, place: t.kind, check: k.Name, err: errNotReached}
		if i < len(t.failed) {
			r.took, r.err = t.took[i], t.failed[i]
		}
		rows = append(rows, r)
	}
	return rows
}

// conclude prints the table, what broken programs wrote, and what is missing.
func conclude(w io.Writer, rows []row, trials []*trial, missing []string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nprogram\ttender\tcheck\tresult\tms")
	bad := 0
	for _, r := range rows {
		if r.err != nil {
			bad++
		}
		first, _, _ := strings.Cut(verdict(r.err), "\n")
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\n", r.subject, r.place, r.check, first, r.took.Milliseconds())
	}
	table.Flush()
	for _, r := range rows {
		if text := verdict(r.err); strings.Contains(text, "\n") {
			fmt.Fprintf(w, "\n%s: %s\n", r.check, text)
		}
	}
	for _, t := range trials {
		if t.broken != nil {
			fmt.Fprintf(w, "\n%s under the %s tender printed:\n%s\n", t.program.Name, t.kind, t.printed.Bytes())
		}
	}
	for _, m := range missing {
		fmt.Fprintln(w, m)
	}
	fmt.Fprintf(w, "%d of %d checks passed\n", len(rows)-bad, len(rows))
	if bad > 0 {
		return fmt.Errorf("%d of %d checks failed", bad, len(rows))
	}
	return nil
}

func verdict(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, errNotReached):
		return err.Error()
	}
	return "FAILED: " + err.Error()
}
