package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/identity"
	"github.com/dewpaas/dew/cmd/dew/roster"
	"github.com/dewpaas/dew/router"
	"github.com/dewpaas/dew/router/feed"
	"github.com/dewpaas/dew/router/passage"
)

// lookup finds the addresses of hosts.
func lookup(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, network, host)
}

func (f *platform) openFeed(context.Context) error {
	f.table = router.NewTable()
	var ledger feed.Ledger = f.clerk
	if f.clerk == nil {
		ledger = &feed.Direct{Store: f.ledger}
	}
	f.feed = feed.New(ledger, f.table, f.log)
	if f.identity == nil {
		return nil
	}
	f.passage = passage.NewDialer(passage.DialerConfig{TLS: func(cell string) *tls.Config { return f.identity.Client(identity.Cell, cell) }, Drained: f.feed.Drained, Log: f.log})
	f.onClose(f.passage.Close)
	return nil
}

// openGate lets routers elsewhere in to the instances of this cell.
func (f *platform) openGate(context.Context) error {
	f.gate = passage.NewGate(passage.GateConfig{TLS: f.identity.Server(identity.Router), Log: f.log,
		Router: func(s tls.ConnectionState) (string, error) {
			p, err := f.identity.Of(s)
			return p.Name, err
		},
		Dial: func(ctx context.Context, instance string, port uint16) (net.Conn, error) {
			c, err := f.cell.Dial(ctx, instance, port)
			if err != nil {
				return nil, err
			}
			return c, nil
		}})
	f.onClose(f.gate.Close)
	f.doors.cell(f.gate)
	return nil
}

func (f *platform) openRouter(context.Context) error {
	if err := f.street.certify(f.console, f.data, f.known, f.log); err != nil {
		return err
	}
	config := router.Config{Table: f.table, Dial: f.dial, Own: map[string]bool{}, Ours: f.ours, AccessLog: accessLog{f.logs}, TLS: f.street.tls, Proxies: f.street.flags.Proxies}
	for _, host := range f.facts.Hosts {
		config.Own[host] = true
	}
	if f.plane != nil {
		config.House = f.plane.api.Handler()
	} else {
		own := roster.Transport(f.identity.Client(identity.API, ""))
		own.ForceAttemptHTTP2 = false // clients' uploads do not wait for each other
		f.onClose(func() error { own.CloseIdleConnections(); return nil })
		config.House = newHouse(f.apis, own, f.log)
	}
	f.router = router.New(config)
	f.onClose(func() error { f.router.Close(); return nil })
	return nil
}

// dial reaches instances: in the network of this process's cell, or through the
// gate of another.
func (f *platform) dial(ctx context.Context, _, address string) (net.Conn, error) {
	p, ok := f.feed.Place(address)
	if !ok {
		return nil, fmt.Errorf("%s is not routed to any more", address)
	}
	if p.Via == "" {
		if f.cell == nil {
			return nil, errors.New("the instance's cell says nothing of how routers reach it: start it with --private")
		}
		c, err := f.cell.Network().DialTCP(ctx, p.Addr)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	if f.passage == nil {
		return nil, errors.New("the instance is on another machine, and this router has no identity")
	}
	return f.passage.Dial(ctx, p.Via, p.Cell, p.Instance, p.Addr.Port())
}

// ours tells whether a host without a route is the API's.
func (f *platform) ours(host string) bool { return !f.feed.Foreign(host) }

// known tells whether certificates may be asked for a host: it has a route, or it
// is where clients find the API.
func (f *platform) known(host string) bool {
	if u, err := url.Parse(f.facts.URL); err == nil && host == strings.ToLower(u.Hostname()) {
		return true
	}
	return f.table.Routed(host) || slices.Contains(f.facts.Hosts, host)
}

// accessLog writes the router's lines into the logs of the apps.
type accessLog struct{ logs cf.Logs }

// Request implements router.AccessLog.
func (l accessLog) Request(app string, _ int, at time.Time, line []byte) {
	if app != "" {
		l.logs.Log(cf.LogLine{AppGUID: app, Time: at, Source: "RTR", Instance: "0", Text: slices.Clone(line)})
	}
}
