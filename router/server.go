package router

import (
	"context"
	crand "crypto/rand"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config says how a router behaves. Zero fields get the defaults named.
type Config struct {
	Table *Table // required
	Dial  Dial   // net.Dialer

	// House answers what comes for its Own hosts, whatever routes say: a tenant's
	// route must not catch the passwords of others. It also answers for hosts that
	// no route names and Ours claims. Hosts are in lower case and have no port.
	// nil: none.
	House http.Handler
	Own   map[string]bool
	Ours  func(host string) bool

	AccessLog AccessLog // none
	TLS       *tls.Config

	// Proxies are where load balancers in front of the router are. From them
	// X-Forwarded-Proto and X-Forwarded-Client-Cert are kept as they come, and
	// the house is told the client that they wrote last into X-Forwarded-For.
	Proxies []netip.Prefix
	// SessionCookies are the app's cookies that make a session sticky; JSESSIONID.
	SessionCookies []string

	MaxHeader int // bytes of one head; 1 MiB
	MaxConns  int // client connections at a time; 20,000, or what the process's descriptors allow

	HeaderTimeout time.Duration // from a head's first byte to its last; 10 s
	IdleTimeout   time.Duration // between requests; 2 min
	DialTimeout   time.Duration // 5 s
	AnswerTimeout time.Duration // until an app's answer begins; 60 s
	BodyIdle      time.Duration // without progress in a body, either way; 60 s
	AppIdle       time.Duration // an unused connection to an app; 90 s
	HalfClosed    time.Duration // a waiting client that ended its side counts as gone; 10 s
	FailedFor     time.Duration // an endpoint that could not be dialled is avoided; 30 s
	DrainIdle     time.Duration // how long Shutdown lets unused connections be used once more; 2 s
}

func (c *Config) fill() {
	if c.Dial == nil {
		c.Dial = (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext
	}
	if c.SessionCookies == nil {
		c.SessionCookies = []string{"JSESSIONID"}
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.HeaderTimeout, 10 * time.Second}, {&c.IdleTimeout, 2 * time.Minute}, {&c.DialTimeout, 5 * time.Second},
		{&c.AnswerTimeout, time.Minute}, {&c.BodyIdle, time.Minute}, {&c.AppIdle, 90 * time.Second},
		{&c.HalfClosed, 10 * time.Second}, {&c.FailedFor, 30 * time.Second}, {&c.DrainIdle, 2 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.MaxHeader == 0 {
		c.MaxHeader = 1 << 20
	}
	if c.MaxConns == 0 {
		c.MaxConns = min(20_000, descriptors()/4) // each may need one to an app
	}
}

// Server is a router at work.
type Server struct {
	cfg       Config
	table     *Table
	reaper    *reaper
	metrics   metrics
	buffers   buffers
	exchanges sync.Pool
	bridge    *bridge
	draining  atomic.Bool
	stop      chan struct{}
	stopOnce  sync.Once

	mu        sync.Mutex // guards what follows
	clients   map[*client]struct{}
	listeners map[net.Listener]struct{}
}

// New starts a router without listeners. Close or Shutdown ends it.
func New(cfg Config) *Server {
	cfg.fill()
	s := &Server{
		cfg: cfg, table: cfg.Table, reaper: newReaper(), stop: make(chan struct{}),
		clients: map[*client]struct{}{}, listeners: map[net.Listener]struct{}{},
	}
	s.exchanges.New = func() any {
		x := &exchange{pumped: make(chan error, 1)}
		x.answer.out = make([]byte, 0, bufferSize)
		x.sending.out = make([]byte, 0, bufferSize/2)
		return x
	}
	s.bridge = newBridge(s)
	go s.reaper.run(s.stop, s.look)
	return s
}

// find tells who answers: a pool, the house, or nobody.
func (s *Server) find(host, target []byte) (p *pool, house bool) {
	if s.cfg.House != nil && s.cfg.Own[string(host)] {
		return nil, true
	}
	p = s.table.lookup(host, target)
	return p, p == nil && s.cfg.House != nil && s.cfg.Ours(string(host))
}

// look is the reaper's round through clients and idle app connections.
func (s *Server) look() {
	now := s.reaper.ticks.Load()
	s.mu.Lock()
	for c := range s.clients {
		c.checkGone(now)
	}
	s.mu.Unlock()
	if now%int64(time.Second/tick) == 0 {
		before := now - int64(s.cfg.AppIdle/tick)
		for _, e := range s.table.endpoints() {
			e.prune(before)
		}
	}
}

// Serve accepts plain HTTP (1.0, 1.1 and h2c with prior knowledge) until the
// listener fails or the server ends; then it returns nil or the failure.
func (s *Server) Serve(l net.Listener) error { return s.accept(l, s.startPlain) }

// ServeTLS does the same behind TLS. Config.TLS must be set.
func (s *Server) ServeTLS(l net.Listener) error {
	if s.cfg.TLS == nil {
		return errors.New("router: TLS listener without a certificate: set Config.TLS")
	}
	return s.accept(l, s.startTLS)
}

func (s *Server) accept(l net.Listener, start func(net.Conn)) error {
	s.mu.Lock()
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer l.Close()
	pause := 5 * time.Millisecond
	for {
		c, err := l.Accept()
		switch {
		case s.draining.Load():
			if err == nil {
				c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil: // out of descriptors, or the peer was quicker
			s.wait(pause)
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		if s.metrics.conns.Add(1) > int64(s.cfg.MaxConns) {
			s.metrics.turned.Add(1)
			s.metrics.conns.Add(-1)
			c.Close()
			continue
		}
		start(c)
	}
}

func (s *Server) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.stop:
	}
}

func (s *Server) startPlain(c net.Conn) { go s.run(c, "http") }

func (s *Server) startTLS(c net.Conn) {
	go func() {
		t := tls.Server(c, s.cfg.TLS)
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.HeaderTimeout)
		err := t.HandshakeContext(ctx)
		cancel()
		switch {
		case err != nil:
			c.Close()
			s.metrics.conns.Add(-1)
		case t.ConnectionState().NegotiatedProtocol == "h2":
			s.bridge.take(t)
		default:
			s.run(t, "https")
		}
	}()
}

// run serves one connection.
func (s *Server) run(conn net.Conn, proto string) {
	c := &client{srv: s, in: make([]byte, firstBuffer), proto: proto, remote: conn.RemoteAddr().String()}
	c.ip = c.remote
	if host, _, err := net.SplitHostPort(c.remote); err == nil {
		c.ip = host
	}
	c.trusted = s.trusts(c.ip)
	var seed [32]byte
	crand.Read(seed[:])
	c.random = rand.NewChaCha8(seed)
	c.open(conn, s.reaper)
	s.mu.Lock()
	s.clients[c] = struct{}{}
	s.mu.Unlock()
	c.serve()
	s.forget(c)
	if !c.taken {
		c.close()
		s.metrics.conns.Add(-1)
	}
}

// trusts tells whether an address is a load balancer's.
func (s *Server) trusts(ip string) bool {
	if len(s.cfg.Proxies) == 0 {
		return false
	}
	a, err := netip.ParseAddr(ip)
	return err == nil && slices.ContainsFunc(s.cfg.Proxies, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
}

func (s *Server) forget(c *client) {
	s.mu.Lock()
	delete(s.clients, c)
	s.mu.Unlock()
}

// handOver gives a connection to net/http, with what was read and not used.
func (s *Server) handOver(c *client) {
	c.taken = true
	s.forget(c)
	s.reaper.remove(&c.guard)
	c.conn.SetDeadline(time.Time{})
	s.bridge.take(&prefixed{Conn: c.conn, unread: c.in[c.r:c.w], secure: c.proto == "https"})
}

// Shutdown stops accepting, answers what is under way, tells clients with
// each answer to go away, and returns when all have gone. Connections that
// stay unused are closed after Config.DrainIdle; when the context ends first,
// all are, and its error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	s.closeListeners()
	bridged := make(chan error, 1)
	go func() { bridged <- s.bridge.http.Shutdown(ctx) }()
	defer s.Close()
	unused := time.NewTimer(s.cfg.DrainIdle)
	defer unused.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	late := false
	for s.metrics.conns.Load() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-unused.C:
			late = true
		case <-again.C:
		}
		if late {
			s.endUnused()
		}
	}
	return <-bridged
}

// endUnused wakes the clients that wait for a first byte of a request. Only
// reading ends, so one that has just come is still answered.
func (s *Server) endUnused() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		if c.busySince.Load() == 0 {
			c.conn.SetReadDeadline(time.Unix(1, 0))
		}
	}
}

func (s *Server) closeListeners() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.listeners {
		l.Close()
	}
}

// Close ends everything at once.
func (s *Server) Close() {
	s.draining.Store(true)
	s.closeListeners()
	s.stopOnce.Do(func() { close(s.stop) })
	s.bridge.http.Close()
	s.mu.Lock()
	for c := range s.clients {
		c.conn.Close()
		c.peerMu.Lock()
		if c.peer != nil {
			c.peer.abort()
		}
		c.peerMu.Unlock()
	}
	s.mu.Unlock()
	for _, e := range s.table.endpoints() {
		e.dropIdle()
	}
}
