package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/api/egress"
	"github.com/dewpaas/dew/bus"
	"github.com/dewpaas/dew/bus/nats"
	landlord "github.com/dewpaas/dew/cell"
	"github.com/dewpaas/dew/cell/window"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/router"
	"github.com/dewpaas/dew/router/feed"
	"github.com/dewpaas/dew/scheduler/leader"
	"github.com/dewpaas/dew/store"
	"github.com/dewpaas/dew/tender/keeper"
	"github.com/dewpaas/dew/vnet/resolver"
)

// upCmd is `dew up`: every role on one machine, in one process.
type upCmd struct {
	Data   string       `default:"/var/lib/dew" type:"path" env:"DEW_DATA" help:"Folder of the foundation: ledger, keys, uploads, droplets. Made when it is missing."`
	URL    string       `help:"How clients reach the API; http://localhost:PORT, https://localhost:PORT or https://api.DOMAIN:PORT unless given."`
	Domain string       `default:"apps.localhost" help:"Shared domain of apps, made at the first start."`
	Tender []string     `enum:"process,qemu" default:"process" help:"Kinds of tender that guests can have, the one they get unasked first: ${enum}."`
	Memory size         `help:"Memory that instances may use in all; three quarters of the machine's unless given."`
	Guests netip.Prefix `default:"10.255.0.0/16" help:"Network of the guests; nobody else sees it."`
	Uplink bool         `default:"true" negatable:"" help:"Let guests reach what their security groups allow outside of this host. docs/operate/network.md says what it changes on the host."`
	Debug  bool         `help:"Log what the scheduler decides."`

	streetFlags
}

// Run stays until it is told to end. Guests go on then, and the next dew up finds
// them again; dew down ends them too.
func (u *upCmd) Run(ctx context.Context, c *console) error {
	if os.Geteuid() != 0 {
		return withHint(errors.New("dew up makes network namespaces and seals guests, which only root may"), "run it with sudo; dew api serves the API alone without root")
	}
	f := &platform{up: u, console: c, begun: time.Now()}
	defer f.close()
	if err := f.open(ctx); err != nil {
		return explainUp(err)
	}
	fmt.Fprintf(c.out, "api: %s\napps: %s\n", f.plane.url, f.street.apps(u.Domain))
	return f.run(ctx)
}

// explainUp adds what the operator can do.
func explainUp(err error) error {
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return withHint(errors.New("another dew up uses this data folder"), "end it with dew down, or choose another folder with --data")
	case errors.Is(err, unix.EADDRINUSE):
		return withHint(err, "choose another address with --listen or --tls-listen")
	case errors.Is(err, unix.EACCES):
		return withHint(err, "--tls-cert and --tls-key must be readable for this user")
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), cf.KindOf(err) == cf.Exhausted:
		return withHint(err, "make room on the disk of the data folder")
	}
	return err
}

// platform is one dew up.
type platform struct {
	up      *upCmd
	console *console
	begun   time.Time
	log     *slog.Logger

	bus    bus.Bus
	plane  *plane
	cell   *landlord.Cell
	window *net.UnixListener // at which the cell's owner looks into it
	leader *leader.Leader
	feed   *feed.Feed
	table  *router.Table
	router *router.Server
	street *street
	socket *upSocket
	closes []func() error
}

func (f *platform) onClose(do func() error) { f.closes = append(f.closes, do) }

func (f *platform) close() {
	for i := len(f.closes) - 1; i >= 0; i-- {
		if err := f.closes[i](); err != nil && !errors.Is(err, net.ErrClosed) {
			f.log.Error("could not close in order", "err", err)
		}
	}
}

// open makes everything and starts nothing.
func (f *platform) open(ctx context.Context) (err error) {
	u := f.up
	level := slog.LevelInfo
	if u.Debug {
		level = slog.LevelDebug
	}
	f.log = slog.New(slog.NewTextHandler(f.console.err, &slog.HandlerOptions{Level: level}))
	if err := os.MkdirAll(u.Data, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	if err := f.lock(); err != nil {
		return err
	}
	if f.street, err = u.listen(u.URL, u.Domain); err != nil {
		return err
	}
	f.onClose(f.street.close)
	if f.bus, err = nats.Embed(); err != nil {
		return err
	}
	f.onClose(f.bus.Close)
	tell := func(c store.Changes) { bus.Changes().Publish(f.bus, bus.NewChange(c)) } // who misses it looks by itself
	if f.plane, err = openPlane(ctx, plane{data: u.Data, url: f.street.public, domain: u.Domain, log: f.log}, tell); err != nil {
		return err
	}
	f.onClose(f.plane.close)
	f.table = router.NewTable()
	f.feed = feed.New(f.plane.ledger, f.table, f.log)
	f.leader = leader.New(leader.Config{Store: f.plane.ledger, Holder: "up", API: f.plane.url, Logs: f.plane.logs, Log: f.log})
	if err := f.openCell(ctx); err != nil {
		return err
	}
	runtime := &leader.Runtime{Store: f.plane.ledger, Sync: f.leader.Sync, Rewire: f.cell.Rewired, Usage: f.cell.Usage}
	if err := f.plane.serve(ctx, f.console, runtime, f.guard()); err != nil {
		return err
	}
	if err := f.street.certify(f.console, u.Data, f.known, f.log); err != nil {
		return err
	}
	f.router = router.New(router.Config{Table: f.table, Dial: f.dial, House: f.plane.handler(), Own: f.plane.api.Hosts(), Ours: f.ours, AccessLog: accessLog{f.plane.logs}, TLS: f.street.tls})
	f.onClose(func() error { f.router.Close(); return nil })
	if f.socket, err = listenUp(u.Data); err != nil {
		return err
	}
	f.onClose(f.socket.listener.Close)
	return nil
}

// guard keeps what tenants make the API connect to from the guests, and from
// what else listens on this machine.
func (f *platform) guard() egress.Guard {
	g := egress.Guard{Deny: []netip.Prefix{f.up.Guests}, Gates: f.street.ports()}
	var err error
	if g.Self, err = resolver.HostAddresses(); err != nil {
		f.log.Warn("syslog drains and brokers of tenants may reach this machine", "err", err)
	}
	return g
}

// lock makes sure that one process uses the folder. The kernel gives it back
// however the process ends.
func (f *platform) lock() error {
	file, err := os.OpenFile(filepath.Join(f.up.Data, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		return fmt.Errorf("lock the data folder: %w", err)
	}
	f.onClose(file.Close)
	return nil
}

// idFile is where the name of this machine's cell is kept.
const idFile = "id"

// cellID is the name of this machine's cell, made once.
func cellID(folder string) (string, error) {
	name := filepath.Join(folder, idFile)
	b, err := os.ReadFile(name)
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var random [4]byte
	rand.Read(random[:]) // never fails since Go 1.24
	id := "cell-" + hex.EncodeToString(random[:])
	return id, os.WriteFile(name, []byte(id+"\n"), 0o600)
}

func (f *platform) openCell(ctx context.Context) error {
	u := f.up
	folder := filepath.Join(u.Data, "cell")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	id, err := cellID(folder)
	if err != nil {
		return err
	}
	droplets, err := droplet.OpenStore(filepath.Join(u.Data, "droplets"))
	if err != nil {
		return err
	}
	f.warnOfOverlap()
	memory := uint64(u.Memory)
	if memory == 0 {
		if memory, err = mostOfTheMemory(); err != nil {
			return err
		}
	}
	config := landlord.Config{ID: id, Zone: "z1", MemoryMB: int(memory >> 20), DiskMB: unlimitedDisk, Tenders: u.Tender, Store: f.plane.ledger, Droplets: droplets,
		Logs: f.plane.logs, Log: f.log, Guests: u.Guests, Uplink: u.Uplink, Upstreams: func() ([]netip.AddrPort, error) { return resolver.Upstreams(resolvConf) }, Drain: f.feed.Drained,
		Keeper: func(ctx context.Context) (*keeper.Client, error) {
			return keeper.Open(ctx, folder, func() *exec.Cmd { return keeperCommand(folder) })
		}}
	if f.cell, err = landlord.New(ctx, config); err != nil {
		return fmt.Errorf("open the cell: %w", err)
	}
	f.onClose(f.cell.Close)
	f.window, err = window.Listen(folder)
	return err
}

// warnOfOverlap tells of networks of this host that the guests' own hides from
// guests.
func (f *platform) warnOfOverlap() {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Overlaps(f.up.Guests) {
			f.log.Warn("guests cannot reach a network of this host: choose another one for them with --guests", "host", p.Masked(), "guests", f.up.Guests)
		}
	}
}

// resolvConf is where the host keeps whom it asks for names.
const resolvConf = "/etc/resolv.conf"

// unlimitedDisk: what guests write is kept in their memory, so memory alone
// bounds how many there can be.
const unlimitedDisk = 1 << 30

// mostOfTheMemory is three quarters of the machine's, in bytes.
func mostOfTheMemory() (uint64, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("ask for the machine's memory: %w", err)
	}
	return info.Totalram * uint64(info.Unit) / 4 * 3, nil
}

// keeperCommand starts the process that holds the guests: of a session of its
// own, so that nothing that ends dew up ends it.
func keeperCommand(folder string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", "keep", folder)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	if f, err := os.OpenFile(filepath.Join(folder, "keeper.log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600); err == nil {
		cmd.Stderr = f // ours may stay open: the process ends soon or never
	}
	return cmd
}

// hint wakes whom a change concerns. It does not block.
func (f *platform) hint(c bus.Change) {
	if c.About(leader.Concerns()) {
		f.leader.Wake()
	}
	if c.About(feed.Concerns()) {
		f.feed.Wake()
	}
	if c.About([]cf.Noun{"placements"}) {
		f.cell.Wake()
	}
	if c.About(landlord.Concerns()) {
		f.cell.Rewire()
	}
}

// dial reaches instances, in the cell's network.
func (f *platform) dial(ctx context.Context, _, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	c, err := f.cell.Network().DialTCP(ctx, to)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// ours tells whether a host without a route is the API's.
func (f *platform) ours(host string) bool { return !f.feed.Foreign(host) }

// known tells whether certificates may be asked for a host: it has a route, or it
// is where clients find the API.
func (f *platform) known(host string) bool {
	if u, err := url.Parse(f.street.public); err == nil && host == u.Hostname() {
		return true
	}
	return f.table.Routed(host) || host == "api."+f.up.Domain
}

// accessLog writes the router's lines into the logs of the apps.
type accessLog struct{ logs cf.Logs }

// Request implements router.AccessLog.
func (l accessLog) Request(app string, _ int, at time.Time, line []byte) {
	if app != "" {
		l.logs.Log(cf.LogLine{AppGUID: app, Time: at, Source: "RTR", Instance: "0", Text: slices.Clone(line)})
	}
}

// run starts everything, and ends it in an order in which nobody misses anybody.
func (f *platform) run(ctx context.Context) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	if _, err := bus.Changes().Subscribe(f.bus, f.hint); err != nil {
		stop()
		return err
	}
	leading, resign := context.WithCancel(running)
	var all, leads sync.WaitGroup
	failed := make(chan error, 2)
	leads.Go(func() { f.leader.Run(leading) })
	all.Go(func() { f.plane.run(running) })
	all.Go(func() { router.Follow(running, f.table, f.feed, f.log) })
	all.Go(func() {
		if err := f.cell.Run(running); err != nil {
			failed <- err
		}
	})
	all.Go(func() {
		if err := window.Serve(running, f.window, f.cell); err != nil {
			f.log.Error("nobody can look into the cell", "err", err)
		}
	})
	// Nobody is answered before it is known whose hosts are whose: who comes
	// earlier waits.
	first, cancel := context.WithTimeout(ctx, drainTime)
	if err := f.feed.Sync(first); err != nil && ctx.Err() == nil {
		f.log.Error("the router does not know its routes yet", "err", err)
	}
	cancel()
	all.Go(func() {
		if err := f.street.serve(f.router); err != nil {
			failed <- err
		}
	})
	f.log.Info("up", "after", time.Since(f.begun).Round(time.Millisecond).String())
	var down *downing
	var err error
	select {
	case <-ctx.Done():
		f.log.Info("ending; guests go on")
	case err = <-failed:
	case down = <-f.socket.down:
		f.log.Info("going down: guests end")
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if e := f.street.shutdown(grace, f.router); e != nil {
		f.log.Warn("requests were cut off", "err", e)
	}
	resign()
	leads.Wait()
	if down != nil {
		err = f.cell.Shut(grace)
	}
	stop()
	all.Wait()
	if down != nil {
		down.done(err)
	}
	return err
}

// drainTime is how long requests under way, and then guests, may take to end.
const drainTime = 40 * time.Second
