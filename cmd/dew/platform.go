package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/bus"
	landlord "github.com/dewpaas/dew/cell"
	"github.com/dewpaas/dew/cell/window"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/depot"
	"github.com/dewpaas/dew/cmd/dew/desk"
	"github.com/dewpaas/dew/cmd/dew/identity"
	"github.com/dewpaas/dew/cmd/dew/roster"
	"github.com/dewpaas/dew/router"
	"github.com/dewpaas/dew/router/feed"
	"github.com/dewpaas/dew/router/passage"
	"github.com/dewpaas/dew/scheduler/leader"
	"github.com/dewpaas/dew/stager/staging"
	"github.com/dewpaas/dew/store"
)

// platform is one process of a foundation: all of it, or some roles. Parts that
// this process does not have are nil; what they would do for others here comes
// over the ledger, the bus and the private addresses of other processes.
type platform struct {
	*setup
	console *console
	begun   time.Time
	log     *slog.Logger

	identity *identity.Identity // nil: there is no other process
	bus      bus.Bus            // nil: APIs tell what is said there
	ledger   cf.Store           // tells of changes; nil: APIs are asked
	facts    facts
	apis     *roster.Roster  // nil: there is no API elsewhere
	reach    *http.Transport // to those
	clerk    *desk.Client    // asks them; nil: the ledger is here
	peers    *depot.Peers    // fetches from them; nil: there are none
	logs     cf.Logs
	trunk    *trunk // nil: the log cache is here

	plane  *plane     // the API
	desk   *desk.Desk // answers roles elsewhere; nil: there are none
	usage  *usage     // hears cells elsewhere; nil: there are none
	stager *staging.Stager
	leader *leader.Leader

	cell   *landlord.Cell
	window *net.UnixListener // at which the cell's owner looks into it
	gate   *passage.Gate     // by which routers elsewhere come to this cell

	feed    *feed.Feed
	table   *router.Table
	router  *router.Server
	street  *street
	passage *passage.Dialer // to cells elsewhere

	entrance net.Listener // the private address; nil: there is none
	doors    *doors       // what is served there, and the API's plain HTTP
	socket   *upSocket
	closes   []func() error
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
	level := slog.LevelInfo
	if f.debug {
		level = slog.LevelDebug
	}
	f.log = slog.New(slog.NewTextHandler(f.console.err, &slog.HandlerOptions{Level: level}))
	if err := f.fleet.check(f.setup); err != nil {
		return err
	}
	if err := os.MkdirAll(f.data, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	if err := f.lock(); err != nil {
		return err
	}
	if err := f.listenAll(); err != nil {
		return err
	}
	if err := f.join(ctx); err != nil {
		return err
	}
	type step struct {
		needed bool
		open   func(context.Context) error
	}
	for _, s := range []step{
		{f.roles.api, f.openPlane}, {!f.roles.api, f.readFacts}, {true, f.openLogs}, {f.roles.stager, f.openStager},
		{f.roles.router, f.openFeed}, {f.roles.scheduler, f.openLeader}, {f.roles.cell && f.entrance != nil, f.openGate}, {f.roles.cell, f.openCell},
		{f.roles.api, f.openAPI}, {f.roles.router, f.openRouter}, {f.roles.cell, f.openSocket}, {f.figures != "", f.openFigures},
	} {
		if s.needed {
			if err := s.open(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// listenAll takes the addresses, so that whoever cannot have them learns it first.
func (f *platform) listenAll() (err error) {
	f.doors = &doors{log: f.log}
	f.onClose(f.doors.close)
	if f.setup.street != nil {
		if f.street, err = f.setup.street.listen(f.setup.api.URL, f.setup.api.Domain); err != nil {
			return err
		}
		f.onClose(f.street.close)
	}
	if f.listen != "" {
		if f.doors.plain, err = net.Listen("tcp", f.listen); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	}
	if f.figures != "" {
		if f.doors.figures, err = net.Listen("tcp", f.figures); err != nil {
			return fmt.Errorf("listen for who reads figures: %w", err)
		}
	}
	if f.private.Private != "" {
		if f.entrance, err = net.Listen("tcp", f.private.Private); err != nil {
			return fmt.Errorf("listen for other roles: %w", err)
		}
		f.doors.private = f.entrance
	}
	return nil
}

// join finds the others: who this is, the bus, the ledger, the APIs.
func (f *platform) join(ctx context.Context) (err error) {
	if f.fleet.Identity != "" {
		if f.identity, err = identity.Load(f.fleet.Identity); err != nil {
			return withHint(err, "dew identity "+f.roles.first()+" NAME --out FILE makes one")
		}
		if f.identity.Role != f.roles.first() {
			return withHint(fmt.Errorf("the identity is of %s, and this is dew %s", f.identity.Peer, f.roles.first()), "dew identity "+f.roles.first()+" NAME --out FILE makes one")
		}
	}
	if f.private.Private != "" && f.identity == nil {
		return withHint(errors.New("nobody serves others without an identity"), "give one with --identity, or leave out --private")
	}
	if f.identity != nil && len(f.fleet.APIs) > 0 {
		if f.apis, err = roster.Parse(f.fleet.APIs); err != nil {
			return withHint(err, "give it with --apis or DEW_APIS")
		}
		f.reach = roster.Transport(f.identity.Client(identity.API, ""))
		f.onClose(func() error { f.reach.CloseIdleConnections(); return nil })
		f.peers = depot.NewPeers(f.apis, f.reach)
	}
	if f.roles.asks() {
		f.clerk = desk.NewClient(f.apis, f.reach, f.log)
		if os.Getenv("DEW_STORE") != "" {
			f.log.Warn("this role needs no ledger: whoever takes this machine over finds its password in DEW_STORE")
		}
		return nil
	}
	if f.bus, err = f.fleet.openBus(f.identity, f.log); err != nil {
		return withHint(err, "does --bus name the servers of NATS?")
	}
	f.onClose(f.bus.Close)
	tell := func(c store.Changes) { bus.Changes().Publish(f.bus, bus.NewChange(c)) } // who misses it looks by itself
	var end func() error
	if f.ledger, end, err = f.fleet.openLedger(ctx, f.data, f.log, tell); err != nil {
		return err
	}
	f.onClose(end)
	return nil
}

// holder is the name of this process among all that share a ledger.
func (f *platform) holder() string {
	if f.identity == nil {
		return "up"
	}
	return f.identity.Name
}

// among is the name of this process among others of its role; "" where it is alone.
func (f *platform) among() string {
	if f.fleet.alone() {
		return ""
	}
	return f.holder()
}

// lock makes sure that one process of a role uses the folder. The kernel gives it
// back however the process ends.
func (f *platform) lock() error {
	for _, role := range f.roles.list() {
		file, err := os.OpenFile(filepath.Join(f.data, "lock-"+role), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			file.Close()
			return fmt.Errorf("lock the data folder: %w", err)
		}
		f.onClose(file.Close)
	}
	return nil
}

func (f *platform) readFacts(ctx context.Context) (err error) {
	read := inLedger(f.ledger)
	if f.clerk != nil {
		read = f.clerk.Facts
	}
	f.facts, err = readFacts(ctx, read, f.log)
	if err == nil && f.street != nil {
		f.street.public = f.facts.URL
	}
	return err
}

// openLogs: lines go to the log cache in this process, or to those of all APIs.
func (f *platform) openLogs(context.Context) error {
	if f.plane != nil {
		f.logs = f.plane.logs
		return nil
	}
	f.trunk = newTrunk(f.carry)
	f.logs = f.trunk
	return nil
}

func (f *platform) openLeader(context.Context) error {
	f.leader = leader.New(leader.Config{Store: f.ledger, Holder: f.holder(), API: f.facts.URL, Logs: f.logs, Log: f.log})
	return nil
}

func (f *platform) openSocket(context.Context) (err error) {
	if f.socket, err = listenUp(f.data); err != nil {
		return err
	}
	f.onClose(f.socket.listener.Close)
	return nil
}

// hint wakes whom a change concerns. It does not block.
func (f *platform) hint(c bus.Change) {
	if f.desk != nil {
		f.desk.Hint(c)
	}
	if f.leader != nil && c.About(leader.Concerns()) {
		f.leader.Wake()
	}
	if f.feed != nil && c.About(feed.Concerns()) {
		f.feed.Wake()
	}
	if f.cell != nil && c.About(landlord.Orders()) {
		f.cell.Wake()
	}
	if f.cell != nil && c.About(landlord.Concerns()) {
		f.cell.Rewire()
	}
	if f.stager != nil && c.About(staging.Concerns()) {
		f.stager.Stage(context.Background(), "") // it only says that there is one
	}
	if f.plane != nil && c.About([]cf.Noun{"packages", "droplets"}) {
		f.plane.copier.wake()
	}
}

// run starts everything, and ends it in an order in which nobody misses anybody.
func (f *platform) run(ctx context.Context) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if err := f.subscribe(); err != nil {
		return err
	}
	leading, resign := context.WithCancel(running)
	defer resign()
	var all, leads sync.WaitGroup
	failed := make(chan error, 4)
	must := func(do func() error) {
		all.Go(func() {
			if err := do(); err != nil {
				failed <- err
			}
		})
	}
	if f.leader != nil {
		leads.Go(func() { f.leader.Run(leading) })
	}
	f.background(running, &all)
	if f.cell != nil {
		must(func() error { return f.cell.Run(running) })
		all.Go(func() {
			if err := window.Serve(running, f.window, f.cell); err != nil {
				f.log.Error("nobody can look into the cell", "err", err)
			}
		})
	}
	must(f.doors.serve)
	if f.router != nil {
		f.meetRoutes(ctx)
		must(func() error { return f.street.serve(f.router) })
	}
	f.log.Info("up", "after", time.Since(f.begun).Round(time.Millisecond).String())
	down, err := f.await(ctx, failed)
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if f.router != nil {
		if e := f.street.shutdown(grace, f.router); e != nil {
			f.log.Warn("requests were cut off", "err", e)
		}
	}
	resign()
	leads.Wait()
	if down != nil {
		err = f.cell.Shut(grace)
	}
	f.doors.shutdown(grace)
	stop()
	all.Wait()
	if down != nil {
		down.done(err)
	}
	return err
}

// drainTime is how long requests under way, and then guests, may take to end.
const drainTime = 40 * time.Second

// background starts what runs as long as the process.
func (f *platform) background(ctx context.Context, all *sync.WaitGroup) {
	if f.plane != nil {
		all.Go(func() { f.plane.run(ctx) })
	}
	if f.stager != nil {
		all.Go(func() {
			if err := f.stager.Run(ctx); err != nil && ctx.Err() == nil {
				f.log.Error("the stager ended", "err", err)
			}
		})
	}
	if f.feed != nil {
		all.Go(func() { router.Follow(ctx, f.table, f.feed, f.log) })
	}
	if f.trunk != nil {
		all.Go(func() { f.trunk.run(ctx) })
	}
	if f.clerk != nil {
		all.Go(func() { f.clerk.Follow(ctx, f.hintOf) })
	}
	if f.clerk != nil && f.cell != nil {
		all.Go(func() { f.tellUsage(ctx) })
	}
}

// await returns why the process ends: a dew down that waits, what failed, or
// neither when it was told to.
func (f *platform) await(ctx context.Context, failed <-chan error) (*downing, error) {
	var downs chan *downing
	if f.socket != nil {
		downs = f.socket.down
	}
	select {
	case <-ctx.Done():
		f.log.Info("ending; guests go on")
		return nil, nil
	case err := <-failed:
		return nil, err
	case down := <-downs:
		f.log.Info("going down: guests end")
		return down, nil
	}
}

// meetRoutes waits until it is known whose hosts are whose: who comes earlier
// waits.
func (f *platform) meetRoutes(ctx context.Context) {
	first, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	if err := f.feed.Sync(first); err != nil && ctx.Err() == nil {
		f.log.Error("the router does not know its routes yet", "err", err)
	}
}
