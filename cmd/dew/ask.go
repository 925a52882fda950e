package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/dewpaas/dew/abi/control"
	"github.com/dewpaas/dew/cmd/dew/profile"
	"github.com/dewpaas/dew/tender"

	pprof "github.com/google/pprof/profile"
)

// stacksCmd is `dew stacks`.
type stacksCmd struct {
	Socket string `arg:"" help:"Control socket of the run (dew run --control)." type:"path"`
}

// Run prints the stacks of all goroutines of a running guest.
func (s *stacksCmd) Run(ctx context.Context, c *console) error {
	return printAnswer(ctx, c, s.Socket, control.Stacks)
}

// metricsCmd is `dew metrics`.
type metricsCmd struct {
	Socket string `arg:"" help:"Control socket of the run (dew run --control)." type:"path"`
}

// Run prints the runtime metrics of a running guest.
func (m *metricsCmd) Run(ctx context.Context, c *console) error {
	return printAnswer(ctx, c, m.Socket, control.Metrics)
}

func printAnswer(ctx context.Context, c *console, socket string, kind control.Kind) error {
	l, err := dialOperator(ctx, socket)
	if err != nil {
		return err
	}
	defer l.Close()
	b, err := l.Ask(ctx, kind, nil)
	if err != nil {
		return err
	}
	_, err = c.out.Write(b)
	return err
}

// dialOperator connects to the socket of a `dew run`.
func dialOperator(ctx context.Context, socket string) (*tender.Link, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, withHint(fmt.Errorf("connect to the run: %w", err), "start it with `dew run --control "+socket+"`")
	}
	return tender.NewLink(conn), nil
}

// pprofCmd is `dew pprof`.
type pprofCmd struct {
	Socket  string `arg:"" help:"Control socket of the run (dew run --control)." type:"path"`
	Kind    string `arg:"" enum:"heap,cpu" help:"What to profile: ${enum}."`
	Seconds int    `default:"10" help:"How long to sample the CPU."`
	Output  string `short:"o" default:"dew.pprof" help:"File to write, for go tool pprof." type:"path"`
}

// cpuRate is how often a busy thread is sampled, per second of CPU: runtime/pprof's.
const cpuRate = 100

// Run takes a profile of a running guest and writes it for go tool pprof.
func (p *pprofCmd) Run(ctx context.Context, c *console) error {
	l, err := dialOperator(ctx, p.Socket)
	if err != nil {
		return err
	}
	defer l.Close()
	elf, err := l.Ask(ctx, program, nil)
	if err != nil {
		return err
	}
	symbols, err := profile.OpenSymbols(string(elf))
	if err != nil {
		return err
	}
	out, err := p.take(ctx, l, symbols)
	if err != nil {
		return err
	}
	if err := writeProfile(p.Output, out); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%d samples in %s; look at them with: go tool pprof -http=: %s\n", len(out.Sample), p.Output, p.Output)
	return err
}

func (p *pprofCmd) take(ctx context.Context, l *tender.Link, s *profile.Symbols) (*pprof.Profile, error) {
	if p.Kind == "heap" {
		b, err := l.Ask(ctx, control.Heap, nil)
		if err != nil {
			return nil, err
		}
		return profile.Heap(b, s)
	}
	if _, err := l.Ask(ctx, control.CPUStart, binary.LittleEndian.AppendUint32(nil, cpuRate)); err != nil {
		return nil, err
	}
	select {
	case <-time.After(time.Duration(p.Seconds) * time.Second):
	case <-ctx.Done(): // what was sampled so far is still of use
	}
	b, err := l.Ask(context.WithoutCancel(ctx), control.CPUStop, nil)
	if err != nil {
		return nil, err
	}
	return profile.CPU(b, s)
}

func writeProfile(path string, p *pprof.Profile) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := p.Write(f); err != nil {
		f.Close()
		return fmt.Errorf("write profile: %w", err)
	}
	return f.Close()
}
