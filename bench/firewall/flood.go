package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/tender/cgroup"
)

// flood measures what a neighbour still serves while two guests flood. The
// victim is an instance behind a cable that a client in the cell asks. The
// flooders have taps and a share of the CPU each, as guests have; so the
// comparison is with the same two guests computing as hard as they may, which
// takes the same CPU and sends nothing.
type flood struct {
	Rounds  int     `default:"40"`
	Seconds float64 `default:"0.2" help:"of each measurement"`
	CPUs    float64 `name:"cpus" default:"0.25" help:"that each flooder may use; 0: all there are"`
	Shares  bool    `help:"give the neighbour nearly all of a CPU that a flooder wants too, so that what is left to measure is the network"`
	Wall    bool    `default:"true" negatable:"" help:"have a firewall at all"`
}

// Run prints a line for each sort of flood.
func (f *flood) Run() error {
	t := floodTopology()
	top := &t
	if !f.Wall {
		top = nil
	}
	y, err := newYard(top)
	defer y.close()
	if err != nil {
		return err
	}
	if f.Shares {
		if y.first, err = share("neighbour", cgroup.Limits{Memory: 4 << 30, PIDs: 1000}, true); err != nil {
			return err
		}
		defer y.first.Remove()
	}
	// Here the end of the cable is the server: an instance like the others.
	if err := y.serving(y.client); err != nil {
		return err
	}
	fmt.Printf("two flooders with %g CPUs each; shares: %v; firewall: %v; %d rounds of %gs, medians; x = paired ratio\n", f.CPUs, f.Shares, f.Wall, f.Rounds, f.Seconds)
	fmt.Printf("%-14s %12s %12s %12s %8s %8s\n", "flood", "quiet", "computing", "flooding", "x quiet", "x comp.")
	for _, what := range []string{"spoofed", "denied", "connections", "datagrams", "large"} {
		if err := f.one(y, what); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if y.wall == nil {
		return nil
	}
	drops, err := y.wall.Drops()
	for _, name := range []string{"dew5", "dew6"} {
		fmt.Printf("dropped of %s: %v\n", name, drops[name])
	}
	return err
}

// floodTopology lets the flooders reach the victim, with the rates that every
// instance has.
func floodTopology() cf.Topology {
	t := world(10)
	for _, protocol := range []string{cf.TCP, cf.UDP} {
		t.Policies = append(t.Policies, cf.NetworkPolicy{SourceGUID: appGUID(1), DestinationGUID: appGUID(0), Protocol: protocol, StartPort: requestPort, EndPort: requestPort})
	}
	return t
}

func (f *flood) one(y *yard, what string) error {
	var groups [3]*crowd // nobody, who computes, who floods
	for i, noise := range []string{"", "spin", what} {
		groups[i] = &crowd{}
		if noise == "" {
			continue
		}
		for _, as := range []int{5, 6} {
			if err := groups[i].add(y, as, noise, f.CPUs); err != nil {
				return errors.Join(err, groups[i].end())
			}
		}
		defer groups[i].end()
	}
	var rate [3][]float64
	var xq, xc []float64
	for range f.Rounds {
		for i, g := range groups {
			g.signal(unix.SIGCONT)
			n, err := y.asking(y.cell, "keep", netip.AddrPortFrom(endpoint(0, 0).Addr, requestPort), f.Seconds)
			g.signal(unix.SIGSTOP)
			if err != nil {
				return err
			}
			rate[i] = append(rate[i], n)
		}
		last := len(rate[0]) - 1
		xq, xc = append(xq, rate[2][last]/rate[0][last]), append(xc, rate[2][last]/rate[1][last])
	}
	fmt.Printf("%-14s %12.0f %12.0f %12.0f %8.3f %8.3f\n", what, median(rate[0]), median(rate[1]), median(rate[2]), median(xq), median(xc))
	return nil
}

// crowd are guests that make noise while they are not stopped.
type crowd struct {
	all    []*exec.Cmd
	groups []*cgroup.Group
	taps   []*os.File
}

// add starts a guest on a tap of its own, within its share of the CPU, and
// stops it.
func (c *crowd) add(y *yard, as int, noise string, cpus float64) error {
	var files []*os.File
	if noise != "spin" {
		tap, err := plug(y.cell, as, 1)
		if err != nil {
			return err
		}
		c.taps, files = append(c.taps, tap), []*os.File{tap}
	}
	group, err := share(fmt.Sprintf("%s-%d", noise, as), cgroup.Limits{Memory: 1 << 30, CPUs: cpus, PIDs: 100}, false)
	if err != nil {
		return err
	}
	c.groups = append(c.groups, group)
	cmd, out, err := run(y.cell, files, "shout", noise, fmt.Sprint(as))
	if err != nil {
		return err
	}
	c.all = append(c.all, cmd)
	if err := enter(group, cmd.Process.Pid); err != nil {
		return err
	}
	line, err := out.ReadString('\n')
	c.signal(unix.SIGSTOP)
	if err != nil || strings.TrimSpace(line) != "ready" {
		return fmt.Errorf("the flooder says %q: %w", line, err)
	}
	return nil
}

func (c *crowd) signal(s os.Signal) {
	for _, cmd := range c.all {
		cmd.Process.Signal(s)
	}
}

func (c *crowd) end() error {
	var errs []error
	for _, cmd := range c.all {
		cmd.Process.Kill()
		cmd.Wait()
	}
	for _, tap := range c.taps {
		tap.Close()
	}
	for _, g := range c.groups {
		errs = append(errs, g.Remove())
	}
	return errors.Join(errs...)
}

// share makes a control group that comes first where the CPU is wanted by many,
// or last. Both are below the same parent, so the one is weighed against the
// other.
func share(name string, l cgroup.Limits, first bool) (*cgroup.Group, error) {
	host, err := cgroup.Probe()
	if err != nil {
		return nil, err
	}
	g, err := host.Create(fmt.Sprintf("dew-bench-%d-%s", os.Getpid(), name), l)
	if err != nil {
		return nil, err
	}
	files, err := g.Procs()
	for _, f := range files {
		dir := filepath.Dir(f.Name())
		for file, v := range map[string][2]string{"cpu.shares": {"2", "262144"}, "cpu.weight": {"1", "10000"}} {
			weight := v[0]
			if first {
				weight = v[1]
			}
			if failed := os.WriteFile(filepath.Join(dir, file), []byte(weight), 0); failed != nil && !errors.Is(failed, os.ErrNotExist) && !errors.Is(failed, os.ErrPermission) {
				err = errors.Join(err, failed)
			}
		}
		err = errors.Join(err, f.Close())
	}
	return g, err
}

// enter moves a process with all its threads into a group.
func enter(g *cgroup.Group, pid int) error {
	files, err := g.Procs()
	for _, f := range files {
		failed := os.WriteFile(filepath.Join(filepath.Dir(f.Name()), "cgroup.procs"), fmt.Append(nil, pid), 0)
		err = errors.Join(err, failed, f.Close())
	}
	return err
}
