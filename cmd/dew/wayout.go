package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"

	landlord "github.com/dewpaas/dew/cell"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall"
	"github.com/dewpaas/dew/vnet"
	"github.com/dewpaas/dew/vnet/resolver"
)

// runUplink begins the name of the uplink of a `dew run`; its process follows.
const runUplink = firewall.GatePrefix + "run"

// uplinkIsLeft tells whether an uplink is that of a `dew run` that has died.
func uplinkIsLeft(name string) bool {
	return callerIsGone("run-" + strings.TrimPrefix(name, runUplink))
}

// openWayOut lets the guest reach what a process of this host would, but for the
// host itself and metadata services, and tells of what it tries there. The
// network has a firewall and a name server then, as that of a cell. It returns
// the MTU for the guest.
func (l *launch) openWayOut(ctx context.Context, ports []publish) (mtu int, err error) {
	if err := landlord.SweepUplinks(runUplink, uplinkIsLeft); err != nil {
		return 0, err
	}
	if err := l.net.GuardOffloads(); err != nil {
		return 0, err
	}
	host, err := landlord.HostAddresses()
	if err != nil {
		return 0, err
	}
	wall, err := firewall.Open(l.net.Within)
	if err != nil {
		return 0, err
	}
	l.onClose(func() { wall.Close() })
	t := l.topology(ports, host)
	if _, err := wall.Apply(t); err != nil {
		return 0, err
	}
	up := landlord.NewUplink(l.net, runUplink+strconv.Itoa(os.Getpid()), slog.New(slog.DiscardHandler))
	l.onClose(func() {
		if err := up.Remove(); err != nil {
			fmt.Fprintf(l.out.err, "dew: %v\n", err)
		}
		up.Close()
	})
	if err := up.Converge(host); err != nil {
		return 0, err
	}
	if err := up.Test(ctx); err != nil {
		return 0, err
	}
	return up.MTU(), l.attendWayOut(wall, t)
}

// attendWayOut answers the guest's questions for names, and tells which of its
// connections were denied.
func (l *launch) attendWayOut(wall *firewall.Wall, t cf.Topology) error {
	upstreams, err := resolver.Upstreams(resolvConf)
	if err != nil {
		fmt.Fprintf(l.out.err, "dew: the program finds no names: %v\n", err)
	}
	names := resolver.New(resolver.Config{Upstreams: upstreams})
	if err := names.Update(resolver.SnapshotOf(t)); err != nil {
		return err
	}
	packets, streams, err := l.net.ListenGateway(t.Resolvers[0].Port())
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	l.onClose(func() { stop(); all.Wait() })
	all.Go(func() { names.Serve(ctx, packets, streams) })
	all.Go(func() { wall.Flows(ctx, func(f firewall.Flow) { fmt.Fprintf(l.out.err, "dew: %v\n", f) }) })
	return nil
}

// topology has one guest, and one security group.
func (l *launch) topology(ports []publish, host []netip.Addr) cf.Topology {
	e := cf.Endpoint{GUID: l.name, AppGUID: l.name, AppName: l.name, Stage: cf.Running, Addr: guestNIC.Addr, VNIC: guestNIC.Name, MAC: guestNIC.MAC, MTU: guestNIC.MTU}
	for _, p := range ports {
		if p.udp {
			e.Datagrams = append(e.Datagrams, p.guest)
		} else {
			e.Ports = append(e.Ports, p.guest)
		}
	}
	return cf.Topology{
		Endpoints: []cf.Endpoint{e}, Guests: []netip.Prefix{netip.PrefixFrom(guestNIC.Addr, 32)},
		Groups:  []cf.SecurityGroup{{Meta: cf.Meta{GUID: "uplink"}, Name: "--uplink", Running: true, Rules: []cf.Rule{{Protocol: "all", Destination: "0.0.0.0/0"}}}},
		Gateway: vnet.Gateway, GatewayMAC: vnet.GatewayMAC, Resolvers: []netip.AddrPort{netip.AddrPortFrom(vnet.Gateway, 53)},
		Protected: landlord.Protected(nil, host),
	}
}
