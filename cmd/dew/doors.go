package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"

	"github.com/dewpaas/dew/cmd/dew/depot"
	"github.com/dewpaas/dew/cmd/dew/desk"
	"github.com/dewpaas/dew/cmd/dew/identity"
	"github.com/dewpaas/dew/cmd/dew/roster"
	"github.com/dewpaas/dew/router"
	"github.com/dewpaas/dew/router/passage"
)

// doors are where a process is reached without a router in it: plain HTTP of an
// API, the private address of an API or a cell, and the figures of all.
type doors struct {
	log            *slog.Logger
	plain, private net.Listener // nil: not served
	figures        net.Listener // nil: not served
	servers        []*http.Server
	serves         []func() error
}

// api serves an API: at the plain door to clients, at the private one to peers.
func (d *doors) api(house http.Handler, keeper *depot.Depot, clerk *desk.Desk, id *identity.Identity) {
	if d.plain != nil {
		d.http(d.plain, house)
	}
	if d.private == nil {
		return
	}
	peer := func(r *http.Request) identity.Peer { return tlsPeer(id, r.TLS) }
	mux := http.NewServeMux()
	mux.Handle(depot.Path, keeper.Handler(peer))
	mux.Handle(desk.Path, clerk.Handler(peer))
	mux.Handle("/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if peer(r).Role != identity.Router {
			http.Error(w, "only routers bring clients", http.StatusForbidden)
			return
		}
		r.RemoteAddr = router.ForwardedFor(r)
		house.ServeHTTP(w, r)
	}))
	d.http(tls.NewListener(d.private, id.Server(identity.API, identity.Stager, identity.Cell, identity.Router)), mux)
}

func (d *doors) http(l net.Listener, h http.Handler) {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: silent()}
	d.servers = append(d.servers, s)
	d.serves = append(d.serves, func() error {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("serve: %w", err)
		}
		return nil
	})
}

// cell serves a cell's gate.
func (d *doors) cell(g *passage.Gate) {
	d.serves = append(d.serves, func() error { return g.Serve(d.private) })
}

// serve lets others in until shutdown, or until a listener fails.
func (d *doors) serve() error {
	ended := make(chan error, len(d.serves))
	for _, f := range d.serves {
		go func() { ended <- f() }()
	}
	for range d.serves {
		if err := <-ended; err != nil {
			return err
		}
	}
	return nil
}

// shutdown lets requests under way end.
func (d *doors) shutdown(ctx context.Context) {
	var all sync.WaitGroup
	for _, s := range d.servers {
		all.Go(func() {
			if err := s.Shutdown(ctx); err != nil {
				d.log.Warn("requests were cut off", "err", err)
				s.Close()
			}
		})
	}
	all.Wait()
	d.close()
}

func (d *doors) close() error {
	for _, l := range []net.Listener{d.plain, d.private, d.figures} {
		if l != nil {
			l.Close() // who is let in by then is served
		}
	}
	return nil
}

// house brings clients of the API to APIs elsewhere: to the first that answers,
// so that what one has just taken is asked of it again.
type house struct {
	roster    *roster.Roster
	proxy     *httputil.ReverseProxy
	log       *slog.Logger
	transport http.RoundTripper
}

func newHouse(r *roster.Roster, t http.RoundTripper, log *slog.Logger) *house {
	h := &house{roster: r, transport: t, log: log}
	h.proxy = &httputil.ReverseProxy{Transport: h, FlushInterval: -1, ErrorLog: silent(),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.Header["X-Forwarded-For"] = p.In.Header["X-Forwarded-For"]
			p.SetXForwarded()
			p.Out.Host = p.In.Host
			p.Out.URL.Scheme = "https"
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			h.log.Warn("router: no API answers", "err", err)
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"errors":[{"code":10015,"title":"CF-ServiceUnavailable","detail":"No API answers. Try again."}]}`+"\n")
		}}
	return h
}

func silent() *log.Logger { return log.New(io.Discard, "", 0) }

// ServeHTTP implements http.Handler.
func (h *house) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.proxy.ServeHTTP(w, r) }

// RoundTrip implements http.RoundTripper: it asks one API after the other, as
// long as nothing was sent or asking again changes nothing.
func (h *house) RoundTrip(r *http.Request) (*http.Response, error) {
	var last error
	for _, host := range h.roster.Order() {
		q := r.Clone(r.Context())
		if r.Body != nil && r.Body != http.NoBody {
			q.Body = io.NopCloser(r.Body) // a try that sends nothing leaves it to the next; the server closes it
		}
		q.URL.Host = host
		a, err := h.transport.RoundTrip(q)
		if err == nil {
			return a, nil
		}
		last = err
		h.roster.Down(host)
		var dial *net.OpError
		unsent := errors.As(err, &dial) && dial.Op == "dial"
		harmless := (r.Method == http.MethodGet || r.Method == http.MethodHead) && (r.Body == nil || r.Body == http.NoBody)
		if !unsent && !harmless || r.Context().Err() != nil {
			break
		}
	}
	return nil, last
}
