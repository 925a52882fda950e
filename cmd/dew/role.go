package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/identity"
)

// roleVerbs run one role each, and make what they need to know each other.
type roleVerbs struct {
	API       apiCmd       `cmd:"" name:"api" help:"Run the role api: the Cloud Controller API, log cache, packages and droplets. Without --store it also stages."`
	Stager    stagerCmd    `cmd:"" help:"Run the role stager: build droplets of packages."`
	Scheduler schedulerCmd `cmd:"" help:"Run the role scheduler: decide what runs where. Of several, one leads."`
	Cell      cellCmd      `cmd:"" help:"Run the role cell: run guests on this machine."`
	Router    routerCmd    `cmd:"" help:"Run the role router: bring requests to apps and the API."`
	Identity  identityCmd  `cmd:"" help:"Make the file by which a process of a foundation on several machines proves its role to others."`
}

// roles are what one process does of a foundation's work.
type roles struct{ api, stager, scheduler, cell, router bool }

// list names them, for people and for the locks on the data folder.
func (r roles) list() (names []string) {
	for _, x := range []struct {
		has  bool
		name string
	}{{r.api, identity.API}, {r.stager, identity.Stager}, {r.scheduler, identity.Scheduler}, {r.cell, identity.Cell}, {r.router, identity.Router}} {
		if x.has {
			names = append(names, x.name)
		}
	}
	return names
}

func (r roles) first() string { return r.list()[0] }

// whole tells whether all that serves an API is here, so that nobody else is
// needed.
func (r roles) whole() bool { return r.api && r.stager }

// asks tells whether an API must be asked for what the ledger says: only APIs and the
// scheduler have it.
func (r roles) asks() bool { return !r.api && !r.scheduler }

// setup is what the command line says of one process.
type setup struct {
	roles
	data    string
	debug   bool
	figures string // address of /metrics; "": nowhere
	fleet   fleetFlags
	api     apiFlags
	cell    cellFlags
	street  *streetFlags // of a router
	listen  string       // where an API without a router serves plain HTTP; "": nowhere
	private privateFlags
}

// dataFlags say where a process keeps what is its own.
type dataFlags struct {
	Data    string `default:"/var/lib/dew" type:"path" env:"DEW_DATA" help:"Folder for what this machine keeps. Made when it is missing."`
	Debug   bool   `help:"Log what the scheduler decides."`
	Metrics string `placeholder:"ADDRESS" help:"Address at which anybody may read figures for Prometheus, http://ADDRESS/metrics, for example 127.0.0.1:9100."`
}

// apiFlags say what an API tells of itself.
type apiFlags struct {
	URL       string        `help:"How clients reach the API; unless given http://localhost:PORT, or with HTTPS https://localhost:PORT or https://api.DOMAIN:PORT."`
	Domain    string        `default:"apps.localhost" help:"Shared domain of apps, made at the first start."`
	KeepUsage time.Duration `default:"744h" help:"How long the events are kept that say what apps and services used, for whoever bills for it."`
}

// cellFlags say what a cell has to offer.
type cellFlags struct {
	Tender []string     `enum:"process,qemu" default:"process" help:"Kinds of tender that guests can have, the one they get unasked first: ${enum}."`
	Memory size         `help:"Memory that instances may use in all; three quarters of the machine's unless given."`
	Guests netip.Prefix `default:"10.255.0.0/16" help:"Network of the guests; nobody else sees it. No two cells have the same."`
	Uplink bool         `default:"true" negatable:"" help:"Let guests reach what their security groups allow outside of this host. docs/operate/network.md says what it changes on the host."`
	Zone   string       `default:"z1" help:"Where this machine stands or fails together with others."`
}

// privateFlags say where the other roles find this one.
type privateFlags struct {
	Private   string `placeholder:"ADDRESS" help:"Address for the other roles, who must prove who they are, for example 10.0.0.5:8444."`
	Advertise string `placeholder:"HOST:PORT" help:"How they reach it, where that is not the address itself."`
}

// upCmd is `dew up`: every role on one machine, in one process.
type upCmd struct {
	dataFlags
	apiFlags
	cellFlags
	streetFlags
}

// Run stays until it is told to end. Guests go on then, and the next dew up finds
// them again; dew down ends them too.
func (u *upCmd) Run(ctx context.Context, c *console) error {
	return serve(ctx, c, &setup{roles: roles{true, true, true, true, true}, data: u.Data, debug: u.Debug, figures: u.Metrics, api: u.apiFlags, cell: u.cellFlags, street: &u.streetFlags})
}

// apiCmd is the role api. Without a ledger that others share it stages too: then
// nobody else could.
type apiCmd struct {
	dataFlags
	apiFlags
	fleetFlags
	privateFlags
	Listen string `default:"127.0.0.1:8080" help:"Address for plain HTTP; routers come by --private."`
}

func (a *apiCmd) setup() *setup {
	r := roles{api: true, stager: a.Store == ""}
	return &setup{roles: r, data: a.Data, debug: a.Debug, figures: a.Metrics, fleet: a.fleetFlags, api: a.apiFlags, listen: a.Listen, private: a.privateFlags}
}

func (a *apiCmd) Run(ctx context.Context, c *console) error { return serve(ctx, c, a.setup()) }

// stagerCmd is the role stager.
type stagerCmd struct {
	dataFlags
	memberFlags
}

func (s *stagerCmd) Run(ctx context.Context, c *console) error {
	return serve(ctx, c, &setup{roles: roles{stager: true}, data: s.Data, debug: s.Debug, figures: s.Metrics, fleet: fleetFlags{memberFlags: s.memberFlags}})
}

// schedulerCmd is the role scheduler. Of several one leads.
type schedulerCmd struct {
	dataFlags
	fleetFlags
}

func (s *schedulerCmd) Run(ctx context.Context, c *console) error {
	return serve(ctx, c, &setup{roles: roles{scheduler: true}, data: s.Data, debug: s.Debug, figures: s.Metrics, fleet: s.fleetFlags})
}

// cellCmd is the role cell.
type cellCmd struct {
	dataFlags
	memberFlags
	cellFlags
	privateFlags
}

func (l *cellCmd) Run(ctx context.Context, c *console) error {
	if l.Private == "" {
		return withHint(errors.New("nothing says where routers find this cell"), "--private ADDRESS:PORT, an address of this machine that they reach")
	}
	return serve(ctx, c, &setup{roles: roles{cell: true}, data: l.Data, debug: l.Debug, figures: l.Metrics, fleet: fleetFlags{memberFlags: l.memberFlags}, cell: l.cellFlags, private: l.privateFlags})
}

// routerCmd is the role router.
type routerCmd struct {
	dataFlags
	memberFlags
	streetFlags
}

func (r *routerCmd) Run(ctx context.Context, c *console) error {
	return serve(ctx, c, &setup{roles: roles{router: true}, data: r.Data, debug: r.Debug, figures: r.Metrics, fleet: fleetFlags{memberFlags: r.memberFlags}, street: &r.streetFlags})
}

// serve runs one process of a foundation until it is told to end.
func serve(ctx context.Context, c *console, s *setup) error {
	if s.roles.cell && os.Geteuid() != 0 {
		return withHint(errors.New("a cell makes network namespaces and seals guests, which only root may"), "run it with sudo; dew api serves the API alone without root")
	}
	f := &platform{setup: s, console: c, begun: time.Now()}
	defer f.close()
	if err := f.open(ctx); err != nil {
		return explainUp(err)
	}
	f.announce()
	return f.run(ctx)
}

// explainUp adds what the operator can do.
func explainUp(err error) error {
	var known *hinted
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, unix.EWOULDBLOCK):
		return withHint(errors.New("another dew with this role uses this data folder"), "end it with dew down, or choose another folder with --data")
	case errors.Is(err, unix.EADDRINUSE), errors.Is(err, unix.EADDRNOTAVAIL):
		return withHint(err, "choose another address with --listen, --tls-listen or --private")
	case errors.Is(err, unix.EACCES):
		return withHint(err, "the files of --tls-cert, --tls-key and --identity must be readable for this user")
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), cf.KindOf(err) == cf.Exhausted:
		return withHint(err, "make room on the disk of the data folder")
	}
	return err
}

// announce says where things are.
func (f *platform) announce() {
	switch {
	case f.street != nil:
		fmt.Fprintf(f.console.out, "api: %s\napps: %s\n", f.facts.URL, f.street.apps(f.facts.Domain))
	case f.roles.api:
		fmt.Fprintf(f.console.out, "api: %s\n", f.facts.URL)
	}
}

// identityCmd makes the files by which processes know each other.
type identityCmd struct {
	Role string        `arg:"" enum:"api,stager,scheduler,cell,router,bus" help:"What it is of: ${enum}. A NATS server is of role bus."`
	Name string        `arg:"" help:"Its name, which no other of this role has."`
	CA   string        `name:"ca" default:"." type:"path" help:"Folder of the foundation's CA. Made when it is missing; its ca-key.pem belongs on none of the machines."`
	Out  string        `required:"" type:"path" placeholder:"FILE" help:"File to write: certificate, key and the CA's certificate."`
	Life time.Duration `default:"8760h" help:"How long it is good for. A new file in the place of the old one is used without a restart."`
}

func (i *identityCmd) Run(c *console) error {
	now := time.Now()
	ca, err := identity.OpenCA(i.CA, now)
	if err != nil {
		return err
	}
	text, err := ca.Issue(i.Role, i.Name, now, i.Life)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(i.Out+".new", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the identity: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the identity: %w", err)
	}
	if err := os.Rename(f.Name(), i.Out); err != nil {
		return fmt.Errorf("write the identity: %w", err)
	}
	fmt.Fprintf(c.out, "%s: %s %s, until %s\n", i.Out, i.Role, i.Name, now.Add(i.Life).Format(time.DateOnly))
	return nil
}

// advertised is how others reach the private address.
func (p *privateFlags) advertised(l net.Listener) string {
	if p.Advertise != "" {
		return p.Advertise
	}
	return l.Addr().String()
}
