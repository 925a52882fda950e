package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/vnet"
)

// launch is one `dew run` under way.
type launch struct {
	run   *runCmd
	out   *console
	name  string
	begun time.Time

	spec    tender.Spec
	net     *vnet.Network
	ways    []net.Addr // on this host, one for each of the run's -p
	logs    sync.WaitGroup
	console tender.Console
	steps   []tender.Mark // of ours, before the guest's
	closes  []func()
}

func (l *launch) onClose(f func()) { l.closes = append(l.closes, f) }

// close undoes all, last first.
func (l *launch) close() {
	for i := len(l.closes) - 1; i >= 0; i-- {
		l.closes[i]()
	}
	l.closes = nil
}

func (l *launch) step(name string) {
	l.steps = append(l.steps, tender.Mark{Seen: time.Now(), Name: name})
}

// guestNIC is the card of the one guest of this run's network.
var guestNIC = vnet.VNIC{Name: "dew0", Addr: netip.AddrFrom4([4]byte{10, 255, 0, 2}),
	MAC: [6]byte{0x02, 0xde, 0x77, 1, 0, 2}, MTU: vnet.DefaultMTU}

// prepare opens all that the guest gets.
func (l *launch) prepare(ctx context.Context) error {
	ports, err := parsePublish(l.run.Publish)
	if err != nil {
		return err
	}
	l.spec = tender.Spec{Name: l.name, Boot: l.bootConfig(ports), DieWithCaller: true,
		Limits: tender.Limits{Memory: uint64(l.run.Memory), CPUs: l.run.CPUs}}
	if err := l.load(ctx); err != nil {
		return err
	}
	l.step("droplet")
	if err := l.wire(ctx, ports); err != nil {
		return err
	}
	l.step("network")
	return ctx.Err()
}

func (l *launch) bootConfig(ports []publish) boot.Config {
	env := l.run.Env
	if len(ports) > 0 && !hasKey(env, "PORT") {
		env = append([]string{fmt.Sprintf("PORT=%d", ports[0].guest)}, env...)
	}
	return boot.Config{
		Env: env, Hostname: l.name, OverlayQuota: uint64(l.run.Memory) / 4,
		NIC: boot.NIC{MAC: guestNIC.MAC, GatewayMAC: vnet.GatewayMAC, Addr: guestNIC.Addr.As4(),
			Gateway: vnet.Gateway.As4(), MTU: uint16(guestNIC.MTU)},
	}
}

func hasKey(env []string, key string) bool {
	for _, kv := range env {
		if strings.HasPrefix(kv, key+"=") {
			return true
		}
	}
	return false
}

// wire makes the guest's network and the ways into it.
func (l *launch) wire(ctx context.Context, ports []publish) (err error) {
	if l.net, err = vnet.New(); err != nil {
		return err
	}
	l.onClose(func() { l.net.Close() })
	card := guestNIC
	if l.run.Uplink {
		if card.MTU, err = l.openWayOut(ctx, ports); err != nil {
			return err
		}
		l.spec.Boot.NIC.MTU = uint16(card.MTU)
	}
	if l.spec.Tap, err = l.net.AddTap(card); err != nil {
		return err
	}
	l.onClose(func() { l.spec.Tap.Close() })
	for _, p := range ports {
		if err := l.forward(p); err != nil {
			return err
		}
	}
	return nil
}

// way is a way in from the host.
type way interface {
	Addr() net.Addr
	Close() error
}

func (l *launch) forward(p publish) error {
	to := netip.AddrPortFrom(guestNIC.Addr, p.guest)
	var f way
	var err error
	if p.udp {
		f, err = l.net.ForwardDatagrams(p.host, to)
	} else {
		f, err = l.net.Forward(p.host, to)
	}
	if err != nil {
		return err
	}
	l.onClose(func() { f.Close() })
	l.ways = append(l.ways, f.Addr())
	return nil
}

// start starts the guest and its caretaking.
func (l *launch) start(ctx context.Context) (tender.Instance, error) {
	t, err := l.tenderOf(ctx)
	if err != nil {
		return nil, err
	}
	for _, log := range []struct {
		to   io.Writer
		file **os.File
	}{{l.out.out, &l.spec.Stdout}, {l.out.err, &l.spec.Stderr}} {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		*log.file = w
		defer w.Close()
		l.logs.Go(func() {
			kept := l.console.Stream()
			io.Copy(io.MultiWriter(log.to, kept), r)
			kept.Close()
			r.Close()
		})
	}
	i, err := t.Start(ctx, &l.spec)
	if err != nil {
		return nil, err
	}
	l.spec.Tap.Close() // the guest has its own; see tender.Tender
	l.step(l.run.Tender + " tender")
	if l.run.Control != "" {
		o, err := serveOperator(l.run.Control, i, l.spec.Program.Name())
		if err != nil {
			i.Kill()
			return nil, err
		}
		l.onClose(o.close)
	}
	return i, nil
}

// finish says how it ended and returns the exit status.
func (l *launch) finish(ctx context.Context, e tender.Exit, i tender.Instance) error {
	l.spec.Stdout.Close()
	l.spec.Stderr.Close()
	l.logs.Wait()
	for _, line := range i.Link().Reports() {
		fmt.Fprintf(l.out.err, "dew: guest: %s\n", line)
	}
	if l.run.Timeline {
		writeTimeline(l.out.err, l.begun, l.steps, i.Link())
	}
	asked := ctx.Err() != nil
	if e.Reason != tender.Exited && !asked {
		fmt.Fprintf(l.out.err, "dew: the guest ended: %s\n", e)
	}
	if e.Code() != 0 && !asked {
		l.recordCrash(e, i)
	}
	if e.Code() == 0 {
		return nil
	}
	return exitStatus(e.Code())
}

// writeTimeline prints the steps of the boot in the order in which they were
// seen, in milliseconds since the command began.
func writeTimeline(w io.Writer, begun time.Time, steps []tender.Mark, link *tender.Link) {
	all := append(append([]tender.Mark(nil), steps...), link.Marks()...)
	for _, p := range link.Ports() {
		all = append(all, tender.Mark{Seen: p.Seen, Name: fmt.Sprintf("listening on %s %d", p.Protocol, p.Number)})
	}
	slices.SortStableFunc(all, func(a, b tender.Mark) int { return a.Seen.Compare(b.Seen) })
	last := begun
	for _, m := range all {
		fmt.Fprintf(w, "%9.2f ms  +%8.2f  %s\n", milliseconds(m.Seen.Sub(begun)), milliseconds(m.Seen.Sub(last)), m.Name)
		last = m.Seen
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// publish is one -p.
type publish struct {
	host  string // address to listen on
	guest uint16
	udp   bool
}

// parsePublish reads HOST:GUEST, where HOST is a port on loopback or
// ADDRESS:PORT, with /udp or /tcp behind it.
func parsePublish(list []string) ([]publish, error) {
	var ports []publish
	for _, s := range list {
		s, protocol, _ := strings.Cut(s, "/")
		if protocol != "" && protocol != "tcp" && protocol != "udp" {
			return nil, fmt.Errorf("-p %s/%s: want /tcp or /udp", s, protocol)
		}
		cut := strings.LastIndexByte(s, ':')
		if cut < 0 {
			return nil, fmt.Errorf("-p %s: want HOST:GUEST, for example 8080:8080", s)
		}
		guest, err := strconv.ParseUint(s[cut+1:], 10, 16)
		if err != nil || guest == 0 {
			return nil, fmt.Errorf("-p %s: %q is no port", s, s[cut+1:])
		}
		host := s[:cut]
		if !strings.Contains(host, ":") {
			host = "127.0.0.1:" + host
		}
		_, port, err := net.SplitHostPort(host)
		if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
			return nil, fmt.Errorf("-p %s: %q is no port of this host", s, host)
		}
		ports = append(ports, publish{host, uint16(guest), protocol == "udp"})
	}
	return ports, nil
}
