package cell

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/firewall"
	"github.com/dewpaas/dew/vnet"
)

// Uplink is the way out of guests: a wire from their network to the host's, and
// the gate on the host's side. It lasts longer than the process that made it, as
// guests do; whoever opens it anew takes it over.
type Uplink struct {
	name    string
	network *vnet.Network
	log     *slog.Logger

	mu      sync.Mutex // guards what follows; one change at a time
	gate    *firewall.Gate
	wire    vnet.Uplink
	removed bool
}

// UplinkName is the name of the host's end of a cell's wire, and of the table
// beside it.
func UplinkName(cell string) string {
	return fmt.Sprintf(firewall.GatePrefix+"%08x", crc32.ChecksumIEEE([]byte(cell)))
}

// NewUplink prepares the way out of a network. Nothing is made yet. In front of
// the wire there must be a firewall.Wall.
func NewUplink(n *vnet.Network, name string, log *slog.Logger) *Uplink {
	return &Uplink{name: name, network: n, log: log}
}

// MTU is what guests may send in one piece.
func (u *Uplink) MTU() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.wire.MTU == 0 {
		return vnet.DefaultMTU
	}
	return u.wire.MTU
}

// Converge makes the way out, or repairs it. host are the host's own addresses,
// which the wall protects.
func (u *Uplink) Converge(host []netip.Addr) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.removed {
		return nil
	}
	return u.bring(host)
}

// Watch converges and tests every now and then until ctx ends, and logs what is
// wrong when it is news. host tells which addresses the wall protects.
func (u *Uplink) Watch(ctx context.Context, host func() []netip.Addr) {
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	trouble := "not looked yet"
	for {
		err := u.Converge(host())
		if err == nil {
			err = u.Test(ctx)
		}
		switch text := fmt.Sprint(err); {
		case ctx.Err() != nil:
			return
		case err != nil && text != trouble:
			u.log.Error("guests have no way out of this host", "uplink", u.name, "err", err)
			trouble = text
		case err == nil && trouble != "":
			u.log.Info("guests have a way out of this host", "uplink", u.name)
			trouble = ""
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func onHost(f func() error) error { return f() }

func (u *Uplink) bring(host []netip.Addr) (err error) {
	if u.gate == nil {
		if u.gate, err = firewall.OpenGate(onHost, u.name); err != nil {
			return err
		}
	}
	if u.wire, err = u.network.Uplink(u.name, firewall.Uplink); err != nil {
		return err
	}
	own, others, err := u.gate.Opened()
	if err != nil {
		return err
	}
	now, err := vnet.ReadForwarding()
	if err != nil {
		return err
	}
	// The gate closes behind an interface before it begins to forward, and stands
	// behind those that another gate opened: the last that goes takes them back.
	// Where somebody made the host a router it is none of our business.
	opened := slices.Concat(own, others, now.Closed)
	slices.Sort(opened)
	opened = slices.Compact(opened)
	if now.Everywhere {
		opened = nil
	}
	known := slices.DeleteFunc(slices.Clone(host), func(a netip.Addr) bool { return a == u.wire.Host })
	if _, err := u.gate.Converge(firewall.GateRules{Cell: u.wire.Guest, Host: known, Opened: opened}); err != nil {
		return err
	}
	for _, name := range now.Closed {
		if err := vnet.SetForwarding(name, true); err != nil {
			return err
		}
	}
	return nil
}

// testTime is how long a packet may take through the host's firewalls.
const testTime = 2 * time.Second

// Test sends a packet that never leaves the host the way that those of guests
// go, and looks how far it gets. An error names the remedy.
func (u *Uplink) Test(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.removed {
		return nil
	}
	to, ok := vnet.Beyond(u.name)
	if !ok {
		return errors.New("the host has no route to any network")
	}
	sent, passed, err := u.gate.Passed()
	if err == nil {
		err = u.network.Within(func() error { return firewall.Probe(to) })
	}
	if err != nil {
		return fmt.Errorf("test the uplink: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, testTime)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		sentNow, passedNow, err := u.gate.Passed()
		switch {
		case err != nil:
			return fmt.Errorf("test the uplink: %w", err)
		case passedNow > passed:
			return nil
		case ctx.Err() != nil && sentNow > sent:
			return fmt.Errorf("another firewall of this host drops what guests send: let it pass what comes from %[1]s, and the answers. With Docker: `iptables -I DOCKER-USER -i %[1]s -j ACCEPT; iptables -I DOCKER-USER -o %[1]s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`", u.name)
		case ctx.Err() != nil:
			return fmt.Errorf("the host does not forward what guests send by %s: look for a firewall that drops it, or let the host forward with `sysctl -w net.ipv4.ip_forward=1`", u.name)
		}
		select { // the first packet waits for the other end's MAC
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// Close lets go of the way out, which stays.
func (u *Uplink) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.removed = true
	if u.gate == nil {
		return nil
	}
	return u.gate.Close()
}

// Remove takes the way out away. The host is as it was before.
func (u *Uplink) Remove() error {
	u.mu.Lock()
	u.removed = true
	u.mu.Unlock()
	return RemoveUplink(u.name)
}

// SweepUplinks removes uplinks whose name begins so and of which gone says that
// nobody uses them any more.
func SweepUplinks(prefix string, gone func(name string) bool) error {
	gate, err := firewall.OpenGate(onHost, prefix)
	if err != nil {
		return err
	}
	defer gate.Close()
	names, err := gate.Gates(prefix)
	for _, name := range names {
		if gone(name) {
			err = errors.Join(err, RemoveUplink(name))
		}
	}
	return err
}

// RemoveUplink takes away what an Uplink of that name made on this host, whoever
// had it; without one there is nothing to do. Interfaces stop to forward before
// the gate goes that keeps strangers from using it.
func RemoveUplink(name string) error {
	gate, err := firewall.OpenGate(onHost, name)
	if err != nil {
		return err
	}
	defer gate.Close()
	opened, others, err := gate.Opened()
	if err != nil {
		return err
	}
	now, err := vnet.ReadForwarding()
	if err != nil {
		return err
	}
	var failed []error
	for _, one := range opened {
		if !now.Everywhere && !slices.Contains(others, one) {
			failed = append(failed, vnet.SetForwarding(one, false))
		}
	}
	if failed := errors.Join(failed...); failed != nil {
		return failed
	}
	if err := gate.Remove(); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return vnet.RemoveUplink(name)
}
