package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dewpaas/dew/bus"
	"github.com/dewpaas/dew/bus/nats"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/desk"
	"github.com/dewpaas/dew/cmd/dew/identity"
	"github.com/dewpaas/dew/store"
	"github.com/dewpaas/dew/store/postgres"
	"github.com/dewpaas/dew/store/sqlite"
)

// memberFlags say who a process is among others, and where the APIs are.
type memberFlags struct {
	Identity string   `env:"DEW_IDENTITY" type:"path" placeholder:"FILE" help:"Who this process is among the others: a file of dew identity."`
	APIs     []string `name:"apis" env:"DEW_APIS" placeholder:"URL" help:"The private addresses of the APIs, https://HOST:PORT, the preferred one first."`
}

// fleetFlags say where the rest of a foundation is that has several machines, to the
// roles that have the ledger.
type fleetFlags struct {
	memberFlags
	Store       string `env:"DEW_STORE" placeholder:"URL" help:"The ledger that all share: postgres://USER:PASSWORD@HOST/DATABASE. SQLite in the data folder unless given."`
	Bus         string `env:"DEW_BUS" placeholder:"URL" help:"NATS that all share: tls://HOST:4222, whose server has an identity of role bus, or nats://USER:PASSWORD@HOST:4222; several with commas."`
	Credentials string `name:"bus-credentials" env:"DEW_BUS_CREDENTIALS" type:"path" placeholder:"FILE" help:"A NATS user's token and key."`
}

// alone tells whether there is no other machine.
func (f *fleetFlags) alone() bool { return f.Store == "" && f.Bus == "" && f.Identity == "" }

// check refuses a half of what a process needs among others.
func (f *fleetFlags) check(s *setup) error {
	switch {
	case f.alone() && s.whole():
		return nil
	case f.Identity == "":
		return withHint(errors.New("a process of a foundation on several machines needs an identity"), "dew identity "+s.roles.first()+" NAME --out FILE makes one; give it with --identity FILE")
	case s.asks() && len(f.APIs) == 0:
		return withHint(errors.New("nothing says where the APIs are"), "--apis https://HOST:PORT, the --private address of dew api")
	case s.asks():
		return nil
	case f.Store == "":
		return withHint(errors.New("nothing says where the ledger is"), "--store postgres://USER:PASSWORD@HOST/DATABASE, or DEW_STORE")
	case f.Bus == "":
		return withHint(errors.New("nothing says where the bus is, over which logs and hints go"), "--bus tls://HOST:4222, or DEW_BUS")
	}
	return f.checkBus()
}

// checkBus refuses a bus that anybody on the network could join.
func (f *fleetFlags) checkBus() error {
	for _, text := range strings.Split(f.Bus, ",") {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "tls" && u.Scheme != "nats" {
			return withHint(fmt.Errorf("--bus %q is no address of NATS", text), "for example --bus tls://nats.example.com:4222")
		}
		addr, err := netip.ParseAddr(u.Hostname())
		here := err == nil && addr.IsLoopback() || u.Hostname() == "localhost"
		if u.Scheme == "nats" && u.User == nil && f.Credentials == "" && !here {
			return withHint(fmt.Errorf("anybody could join the bus at %s", u.Host), "use tls://, or a user: nats://USER:PASSWORD@HOST:4222, or --bus-credentials")
		}
	}
	return nil
}

// busRole is that of NATS servers.
const busRole = "bus"

func (f *fleetFlags) openBus(id *identity.Identity, log *slog.Logger) (bus.Bus, error) {
	if f.Bus == "" {
		return nats.Embed()
	}
	o := nats.Options{URLs: f.Bus, Credentials: f.Credentials, Log: log}
	if strings.Contains(f.Bus, "tls://") {
		o.TLS = id.Client(busRole, "")
	}
	return nats.Connect(o)
}

// ledgerPatience is how long a ledger may take to answer at first: a machine that
// has just booted may not have it yet.
const ledgerPatience = 30 * time.Second

// openLedger opens the ledger; told is told of what transactions wrote.
func (f *fleetFlags) openLedger(ctx context.Context, data string, log *slog.Logger, told func(store.Changes)) (s cf.Store, close func() error, err error) {
	var db *store.DB
	if f.Store == "" {
		db, err = sqlite.Open(ctx, filepath.Join(data, "ledger.db"))
	} else {
		db, err = f.openPostgres(ctx, log)
	}
	if err != nil {
		return nil, nil, err
	}
	return store.Watch(db, told), db.Close, nil
}

func (f *fleetFlags) openPostgres(ctx context.Context, log *slog.Logger) (*store.DB, error) {
	if u, err := url.Parse(f.Store); err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Host == "" && u.Query().Get("host") == "" {
		return nil, withHint(errors.New("--store is no address of a ledger"), "for example --store postgres://dew:PASSWORD@db.example.com/dew?sslmode=verify-full")
	}
	deadline := time.Now().Add(ledgerPatience)
	for said := false; ; said = true {
		db, err := postgres.Open(ctx, f.Store)
		if cf.KindOf(err) != cf.Unavailable || ctx.Err() != nil || time.Now().After(deadline) {
			if cf.KindOf(err) == cf.Unavailable {
				return nil, withHint(err, "is PostgreSQL up, and does --store name its host and port?")
			}
			if err != nil {
				return nil, withHint(err, "does --store name a database that exists, and a user who may make tables in it?")
			}
			return db, nil
		}
		if !said {
			log.Warn("the ledger does not answer, trying again", "for", ledgerPatience, "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// protected are the machines of the foundation that guests reach under no broad
// security group: whoever has the ledger has everything.
func (f *fleetFlags) protected(ctx context.Context, lookup func(context.Context, string, string) ([]netip.Addr, error)) (list []cf.Protected) {
	hosts := map[string]string{}
	for what, urls := range map[string][]string{"the ledger": {f.Store}, "the bus": strings.Split(f.Bus, ","), "an API": f.APIs} {
		for _, text := range urls {
			if u, err := url.Parse(text); err == nil && u.Hostname() != "" {
				hosts[u.Hostname()] = what
			}
		}
	}
	for host, what := range hosts {
		addrs, err := lookup(ctx, "ip4", host)
		if err != nil {
			continue // who cannot be found by us cannot be by guests, by that name
		}
		for _, a := range addrs {
			list = append(list, cf.Protected{Prefix: netip.PrefixFrom(a.Unmap(), 32), What: what})
		}
	}
	slices.SortFunc(list, func(a, b cf.Protected) int { return a.Prefix.Addr().Compare(b.Prefix.Addr()) })
	return list
}

// facts are what an API tells the other roles, through the ledger.
type facts struct {
	URL, Domain string
	Hosts       []string // of the API
	TokenKey    string   // fingerprint of the public one
}

// publish writes the facts, and which machines guests are kept from. An API whose
// tokens others would refuse may not serve, unless it is alone.
func (f *facts) publish(ctx context.Context, ledger cf.Store, alone bool, machines []cf.Protected) error {
	return ledger.Update(ctx, func(tx cf.Tx) error {
		env := map[string]string{"url": f.URL, "domain": f.Domain, "hosts": strings.Join(f.Hosts, ","), "token_key": f.TokenKey}
		s, err := cf.First[cf.Setting](tx, cf.Is("guid", cf.FoundationSetting))
		if err != nil {
			return err
		}
		if s == nil {
			s = &cf.Setting{Meta: cf.Meta{GUID: cf.FoundationSetting}, Env: env}
			s.Protect(machines)
			return tx.Insert(s)
		}
		if !alone && s.Env["token_key"] != "" && s.Env["token_key"] != f.TokenKey {
			return withHint(errors.New("this API signs tokens with another key than the foundation's other APIs"),
				"copy token-key.pem from the data folder of the API that was started first; if it is lost, remove the setting "+cf.FoundationSetting+" from the ledger, and everybody logs in again")
		}
		s.Env = env
		s.Protect(machines)
		return tx.Save(s)
	})
}

// inLedger reads what publish wrote.
func inLedger(ledger cf.Store) func(context.Context) (*cf.Setting, error) {
	return func(ctx context.Context) (*cf.Setting, error) { return desk.Facts(ctx, ledger) }
}

// readFacts waits until an API has been here.
func readFacts(ctx context.Context, read func(context.Context) (*cf.Setting, error), log *slog.Logger) (f facts, err error) {
	deadline := time.Now().Add(ledgerPatience)
	for said := false; ; said = true {
		s, err := read(ctx)
		late := time.Now().After(deadline)
		switch {
		case err != nil && (late || cf.KindOf(err) != cf.Unavailable):
			return f, withHint(fmt.Errorf("read what the API says of the foundation: %w", err), "is dew api up, and does --apis name its --private address?")
		case s != nil:
			return facts{URL: s.Env["url"], Domain: s.Env["domain"], Hosts: strings.Split(s.Env["hosts"], ","), TokenKey: s.Env["token_key"]}, nil
		case late:
			return f, withHint(errors.New("no API was ever started on this ledger"), "start dew api first")
		}
		if !said {
			log.Info("waiting for an API", "err", err)
		}
		select {
		case <-ctx.Done():
			return f, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// tlsPeer is who is at the other end of a connection.
func tlsPeer(id *identity.Identity, s *tls.ConnectionState) identity.Peer {
	if s == nil {
		return identity.Peer{}
	}
	p, err := id.Of(*s)
	if err != nil {
		return identity.Peer{}
	}
	return p
}
