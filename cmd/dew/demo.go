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
	Tender []string `enum:"process,qemu" default:"process,qemu" help:"Kinds of tender to run them under: ${enum}."`
	Only   []string `placeholder:"NAME" help:"Programs to take; all unless given."`
}

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

// Run builds, runs, checks and prints the table. It fails when a check does.
func (d *demoCmd) Run(ctx context.Context, c *console) error {
	programs, err := d.programs()
	if err != nil {
		return err
	}
	kinds, missing := d.kinds()
	dir, err := os.MkdirTemp("", "dew-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
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
		}
	}
	return conclude(c.out, trials, missing)
}

func (d *demoCmd) programs() ([]demo.Program, error) {
	all := demo.Programs()
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.Name
	}
	for _, name := range d.Only {
		if !slices.Contains(names, name) {
			return nil, withHint(fmt.Errorf("the demo has no program %q", name), "it has "+strings.Join(names, ", "))
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

// conclude prints the table of what was checked, then what failed.
func conclude(w io.Writer, trials []*trial, missing []string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nprogram\ttender\tcheck\tresult\tms")
	bad, total := 0, 0
	for _, t := range trials {
		name := t.program.Name + "\t" + t.kind + "\t"
		fmt.Fprintf(table, "%slistens on port %d\t%s\t%d\n", name, t.program.Port, verdict(t.broken), t.ready.Milliseconds())
		total++
		if t.broken != nil {
			bad++
		}
		for i, k := range t.program.Checks {
			total++
			if i >= len(t.failed) {
				bad++
				fmt.Fprintf(table, "%s%s\tnot reached\t\n", name, k.Name)
				continue
			}
			if t.failed[i] != nil {
				bad++
			}
			fmt.Fprintf(table, "%s%s\t%s\t%d\n", name, k.Name, verdict(t.failed[i]), t.took[i].Milliseconds())
		}
	}
	table.Flush()
	for _, t := range trials {
		if t.broken != nil {
			fmt.Fprintf(w, "\n%s under the %s tender printed:\n%s\n", t.program.Name, t.kind, t.printed.Bytes())
		}
	}
	for _, m := range missing {
		fmt.Fprintln(w, m)
	}
	fmt.Fprintf(w, "%d of %d checks passed\n", total-bad, total)
	if bad > 0 {
		return fmt.Errorf("%d of %d checks failed", bad, total)
	}
	return nil
}

func verdict(err error) string {
	if err == nil {
		return "ok"
	}
	return "FAILED: " + err.Error()
}
