package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/process"
	"github.com/dewpaas/dew/tender/qemu"
)

// runCmd is `dew run`.
type runCmd struct {
	Droplet  string   `arg:"" help:"Droplet, folder with a Go program, PACKAGE@VERSION, or a droplet's bare ELF."`
	Args     []string `arg:"" optional:"" help:"Arguments of the program, after --."`
	Tender   string   `enum:"process,qemu" default:"process" help:"Kind of tender: ${enum}."`
	Process  string   `default:"web" help:"Process type to start."`
	Command  string   `short:"c" help:"Start command, in place of the process type's."`
	Image    string   `help:"File-system image, with a bare ELF." type:"existingfile"`
	Publish  []string `short:"p" placeholder:"HOST:GUEST" help:"Pass a port of this host to the program; with /udp behind it datagrams."`
	Uplink   bool     `help:"Let the program reach what this host reaches, but for the host itself. docs/operate/network.md says what it changes on the host."`
	Env      []string `short:"e" placeholder:"K=V" sep:"none" help:"Set an environment variable."`
	Memory   size     `short:"m" default:"256M" help:"Limit of memory, with K, M or G."`
	CPUs     float64  `name:"cpus" help:"Limit of CPUs."`
	Control  string   `help:"Socket to make for dew stacks, dew pprof and dew metrics." type:"path"`
	Timeline bool     `help:"Print the boot timeline."`
}

// grace is how long a program has to end after SIGTERM, as in Cloud Foundry.
const grace = 10 * time.Second

// Run starts the guest and stays until it has ended.
func (r *runCmd) Run(ctx context.Context, c *console) error {
	l := &launch{run: r, out: c, name: fmt.Sprintf("run-%d", os.Getpid()), begun: time.Now()}
	defer l.close()
	if err := l.prepare(ctx); err != nil {
		return err
	}
	i, err := l.start(ctx)
	if err != nil {
		return err
	}
	again := make(chan os.Signal, 2)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(again)
	e, err := attend(ctx, i, again, c)
	if err != nil {
		return err
	}
	return l.finish(ctx, e, i)
}

// attend waits for the guest's end. When ctx ends the program is asked to end;
// it is killed after a grace period, or when the user insists.
func attend(ctx context.Context, i tender.Instance, again <-chan os.Signal, c *console) (tender.Exit, error) {
	e, err := i.Wait(ctx)
	if err == nil {
		return e, nil
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	go func() {
		select {
		case <-again: // the interrupt that ended ctx
		case <-patience.Done():
			return
		}
		select {
		case <-again:
			cancel()
		case <-patience.Done():
		}
	}()
	if err := i.Link().Signal(patience, syscall.SIGTERM); err != nil {
		fmt.Fprintf(c.err, "dew: cannot ask the program to end: %v\n", err)
	}
	if e, err = i.Wait(patience); err == nil {
		return e, nil
	}
	if err := i.Kill(); err != nil {
		return tender.Exit{}, fmt.Errorf("kill the guest: %w", err)
	}
	return i.Wait(context.WithoutCancel(ctx))
}

// tenderOf makes the tender that the user asked for.
func (l *launch) tenderOf(ctx context.Context) (tender.Tender, error) {
	if l.run.Tender == "qemu" {
		root, remove, err := jail()
		if err != nil {
			return nil, err
		}
		l.onClose(remove)
		return qemu.Find(ctx, root)
	}
	t, err := process.New()
	if err != nil {
		return nil, err
	}
	return t, t.Reap(callerIsGone)
}

// callerIsGone tells of an instance's name whether it belongs to a `dew run`
// that has died.
func callerIsGone(name string) bool {
	number, ok := strings.CutPrefix(name, "run-")
	if !ok {
		return false
	}
	pid, err := strconv.Atoi(number)
	return err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// size is a number of bytes on the command line.
type size uint64

// UnmarshalText reads digits and one of K, M, G, with or without a B.
func (s *size) UnmarshalText(b []byte) error {
	text := strings.TrimSuffix(strings.ToUpper(string(b)), "B")
	shift := 0
	if n := len(text); n > 0 {
		shift = map[byte]int{'K': 10, 'M': 20, 'G': 30}[text[n-1]]
	}
	if shift > 0 {
		text = text[:len(text)-1]
	}
	n, err := strconv.ParseUint(text, 10, 64-30)
	if err != nil {
		return fmt.Errorf("%q is no size: want digits and K, M or G", b)
	}
	*s = size(n << shift)
	return nil
}
