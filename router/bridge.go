package router

import (
	"context"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dewpaas/dew/router/http1"
)

// bridge serves, through net/http, what the fast way does not: clients of
// HTTP/2 and apps of HTTP/2. It understands requests and writes them anew, so
// nothing ambiguous passes here either.
type bridge struct {
	srv   *Server
	http  *http.Server
	conns chan net.Conn
	ended chan struct{}
	end   sync.Once
	one   *http.Transport // to apps of HTTP/1.1
	two   *http.Transport // to apps of HTTP/2, in the clear
	proxy *httputil.ReverseProxy
}

func newBridge(s *Server) *bridge {
	b := &bridge{srv: s, conns: make(chan net.Conn), ended: make(chan struct{})}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, s.cfg.DialTimeout)
		defer cancel()
		c, err := s.cfg.Dial(ctx, network, address)
		if err != nil {
			s.metrics.dialErrors.Add(1)
			return nil, errors.Join(errConnect, err)
		}
		return c, nil
	}
	b.one = &http.Transport{DialContext: dial, DisableCompression: true, MaxIdleConnsPerHost: maxIdle,
		IdleConnTimeout: s.cfg.AppIdle, ResponseHeaderTimeout: s.cfg.AnswerTimeout, ExpectContinueTimeout: time.Second, MaxResponseHeaderBytes: int64(s.cfg.MaxHeader)}
	b.two = &http.Transport{DialContext: dial, DisableCompression: true, IdleConnTimeout: s.cfg.AppIdle, Protocols: new(http.Protocols)}
	b.two.Protocols.SetUnencryptedHTTP2(true)
	quiet := log.New(io.Discard, "", 0)
	b.proxy = &httputil.ReverseProxy{Rewrite: b.rewrite, Transport: b, FlushInterval: -1, ModifyResponse: b.modify, ErrorHandler: b.failed, ErrorLog: quiet}
	b.http = &http.Server{
		Handler: b, ErrorLog: quiet, Protocols: new(http.Protocols), MaxHeaderBytes: s.cfg.MaxHeader,
		ReadHeaderTimeout: s.cfg.HeaderTimeout, IdleTimeout: s.cfg.IdleTimeout,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			p, ok := c.(*prefixed)
			return context.WithValue(ctx, secureKey{}, !ok || p.secure)
		},
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed || state == http.StateHijacked {
				s.metrics.conns.Add(-1)
			}
		},
	}
	b.http.Protocols.SetHTTP1(true)
	b.http.Protocols.SetHTTP2(true)
	b.http.Protocols.SetUnencryptedHTTP2(true)
	b.http.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: maxStreams}
	go b.http.Serve(b)
	return b
}

// maxStreams bounds the requests of one HTTP/2 connection, each of which may hold
// a connection to an app: what RFC 9113 section 6.5.2 calls the least to be wise.
const maxStreams = 100

type secureKey struct{}

// take serves a connection whose first bytes were looked at.
func (b *bridge) take(c net.Conn) {
	select {
	case b.conns <- c:
	case <-b.ended:
		c.Close()
		b.srv.metrics.conns.Add(-1)
	}
}

// Accept, Close and Addr make the bridge net/http's listener.
func (b *bridge) Accept() (net.Conn, error) {
	select {
	case c := <-b.conns:
		return c, nil
	case <-b.ended:
		return nil, net.ErrClosed
	}
}

func (b *bridge) Close() error {
	b.end.Do(func() { close(b.ended) })
	return nil
}

func (b *bridge) Addr() net.Addr { return &net.TCPAddr{} }

// crossing is one request on the bridge.
type crossing struct {
	pool     *pool
	path     []byte // escaped
	pin      pin
	pinned   bool
	session  session
	id       [36]byte
	start    time.Time
	proto    string
	used     *endpoint
	err      string // X-Cf-Routererror
	sent     time.Time
	appTime  time.Duration
	asked    atomic.Bool // the endpoint may have the request
	repeated bool
	hashKey  uint64
	in       countedBody
}

type crossingKey struct{}

func (b *bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := b.srv
	x := &crossing{start: time.Now(), proto: "http"}
	if secure, _ := r.Context().Value(secureKey{}).(bool); secure {
		x.proto = "https"
	}
	newID(&x.id, rand.Uint64(), rand.Uint64())
	s.metrics.active.Add(1)
	defer s.metrics.active.Add(-1)
	control := http.NewResponseController(w)
	cw := &countedWriter{ResponseWriter: w, limit: progress{set: control.SetWriteDeadline, idle: s.cfg.BodyIdle}}
	x.in.limit = progress{set: control.SetReadDeadline, idle: s.cfg.BodyIdle}
	if s.draining.Load() && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	defer func() { // also when the proxy gives up by panicking with ErrAbortHandler
		end := time.Now()
		x.in.limit.end()
		cw.limit.begin() // what is still to be flushed
		cw.limit.end()
		s.metrics.observe(cw.status, end.Sub(x.start), cw.n, x.in.n)
		if x.used != nil {
			x.used.byStatus[classOf(cw.status)].Add(1)
		}
		if s.cfg.AccessLog != nil {
			b.log(cw, r, x, end)
		}
	}()
	b.route(cw, r, x)
}

func (b *bridge) route(w *countedWriter, r *http.Request, x *crossing) {
	host := []byte(r.Host)
	switch {
	case len(host) == 0:
		x.fail(w, 400, "empty_host", "400 Bad Request: Request had empty Host header.")
		return
	case r.Method == "TRACE" || r.Method == "CONNECT":
		x.fail(w, 405, "", "405 Method Not Allowed: "+r.Method+" is not supported.")
		return
	}
	if r.Body != nil && r.Body != http.NoBody {
		x.in.ReadCloser = r.Body
		r.Body = &x.in
	}
	x.path = []byte(r.URL.EscapedPath())
	host = hostKey(nil, host)
	pool, house := b.srv.find(host, x.path)
	if x.pool = pool; house {
		if ip, _, err := net.SplitHostPort(r.RemoteAddr); err == nil && b.srv.trusts(ip) {
			r.RemoteAddr = ForwardedFor(r)
		}
		b.srv.cfg.House.ServeHTTP(w, r)
		return
	}
	if x.pool == nil {
		x.fail(w, 404, "unknown_route", "404 Not Found: Requested route ('"+string(host)+"') does not exist.")
		return
	}
	if !x.readPin(r.Header) {
		x.fail(w, 400, "invalid_cf_app_instance_header", "400 Bad Request: Invalid X-CF-App-Instance Header.")
		return
	}
	x.readSession(b.srv, r)
	if v := r.Header.Values(pool.hash.Header); pool.balancing == Hash && len(v) > 0 {
		x.hashKey = keyHash([]byte(v[0]))
	}
	if r.ProtoMajor == 1 {
		http.NewResponseController(w.ResponseWriter).EnableFullDuplex()
	}
	b.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), crossingKey{}, x)))
}

// ForwardedFor is the client that whoever sent the request wrote last into
// X-Forwarded-For, as a RemoteAddr of port 0; the request's own RemoteAddr where that
// is no address. Only a sender that is trusted may be asked for it.
func ForwardedFor(r *http.Request) string {
	said := r.Header.Values("X-Forwarded-For")
	if len(said) == 0 {
		return r.RemoteAddr
	}
	list := strings.Split(said[len(said)-1], ",")
	last, err := netip.ParseAddr(strings.TrimSpace(list[len(list)-1]))
	if err != nil || last.Zone() != "" { // zones are the sender's own (RFC 4007 section 6)
		return r.RemoteAddr
	}
	return netip.AddrPortFrom(last, 0).String()
}

func (x *crossing) readPin(h http.Header) bool {
	app, process := h["X-Cf-App-Instance"], h["X-Cf-Process-Instance"]
	if x.pinned = len(app)+len(process) > 0; !x.pinned {
		return true
	}
	if len(app)+len(process) > 1 {
		return false
	}
	var ok bool
	x.pin, ok = parsePin([]byte(strings.Join(append(app, process...), "")), len(process) > 0)
	return ok
}

func (x *crossing) readSession(s *Server, r *http.Request) {
	id, err := r.Cookie(vcapID)
	if err != nil {
		return
	}
	for _, name := range s.cfg.SessionCookies {
		if _, err := r.Cookie(name); err == nil {
			x.session.wanted = []byte(id.Value)
		}
	}
}

// rewrite makes the request that the app gets; what depends on the endpoint
// is added by RoundTrip.
func (b *bridge) rewrite(p *httputil.ProxyRequest) {
	x := p.In.Context().Value(crossingKey{}).(*crossing)
	h, in := p.Out.Header, p.In.Header
	p.Out.Host = p.In.Host
	p.Out.URL.Scheme = "http"
	p.Out.URL.RawQuery = p.In.URL.RawQuery
	ip, _, err := net.SplitHostPort(p.In.RemoteAddr)
	if err != nil {
		ip = p.In.RemoteAddr
	}
	h.Set("X-Forwarded-For", strings.Join(append(append([]string{}, in["X-Forwarded-For"]...), ip), ", "))
	for _, name := range []string{"X-Forwarded-Host", "Forwarded"} {
		if v := in[name]; v != nil {
			h[name] = v
		}
	}
	h.Set("X-Forwarded-Proto", x.proto)
	if b.srv.trusts(ip) {
		if v := in.Get("X-Forwarded-Proto"); v != "" {
			h.Set("X-Forwarded-Proto", v)
		}
	} else {
		h.Del("X-Forwarded-Client-Cert")
	}
	id := string(x.id[:])
	h.Set("X-Vcap-Request-Id", id)
	if h.Get("X-Request-Start") == "" {
		h.Set("X-Request-Start", strconv.FormatInt(x.start.UnixMilli(), 10))
	}
	h.Del("X-Cf-Routererror")
	h.Add("Via", strconv.Itoa(p.In.ProtoMajor)+"."+strconv.Itoa(p.In.ProtoMinor)+" dew")
	if strings.Contains(strings.ToLower(h.Get("Upgrade")), "h2c") {
		h.Del("Upgrade")
		h.Del("Connection")
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // net/http would make one up
	}
}

var errNoEndpoints = errors.New("no endpoints")

// RoundTrip sends a request to one endpoint after another, by the same rules
// as the fast way.
func (b *bridge) RoundTrip(r *http.Request) (*http.Response, error) {
	x := r.Context().Value(crossingKey{}).(*crossing)
	x.sent = time.Now()
	var failed tried
	fault := errNoEndpoints
	for range attempts {
		e := x.choose(&failed)
		if e == nil {
			break
		}
		x.used = e
		resp, err := b.send(r, e)
		x.appTime = time.Since(x.sent)
		if err == nil {
			if idempotent(r.Method) {
				x.pool.proven.note([]byte(r.Method), x.path)
			}
			release := e.release
			resp.Body = watchBody(resp.Body, func() { x.appTime = time.Since(x.sent); release() })
			return resp, nil
		}
		e.release()
		failed.add(e)
		fault = err
		if errors.Is(err, errConnect) {
			e.fail(b.srv.cfg.FailedFor)
		}
		if !x.mayRepeat(r, err) {
			break
		}
		b.srv.metrics.retries.Add(1)
	}
	return nil, fault
}

// mayRepeat decides as exchange.mayRepeat does. Connections that the app closed
// while they were idle are the transport's affair.
func (x *crossing) mayRepeat(r *http.Request, err error) bool {
	if errors.Is(err, errConnect) && !x.asked.Load() {
		return true
	}
	if x.repeated || !idempotent(r.Method) || x.in.ReadCloser != nil || r.Context().Err() != nil {
		return false
	}
	x.repeated = true
	return x.pool.proven.has([]byte(r.Method), x.path)
}

func idempotent(method string) bool {
	q := http1.Request{Method: []byte(method)}
	return q.Idempotent()
}

func (x *crossing) choose(failed *tried) *endpoint {
	if x.pinned {
		return x.pool.pinned(&x.pin)
	}
	if len(x.session.wanted) > 0 && failed.n == 0 {
		if e := x.pool.instance(x.session.wanted, x.start); e != nil {
			return e
		}
	}
	return x.pool.pick(failed, x.start, x.hashKey)
}

func (b *bridge) send(r *http.Request, e *endpoint) (*http.Response, error) {
	x := r.Context().Value(crossingKey{}).(*crossing)
	x.asked.Store(false) // the transport may dial again after an idle connection ended
	out := r.Clone(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{WroteHeaders: func() { x.asked.Store(true) }}))
	if r.Body != nil {
		out.Body = unclosed{r.Body} // a failed attempt must leave it for the next
	}
	out.URL.Host = e.Address
	out.Header.Set("X-Cf-Applicationid", e.App)
	out.Header.Set("X-Cf-Instanceid", e.Instance)
	out.Header.Set("X-Cf-Instanceindex", e.index)
	if e.Protocol == HTTP2 { // the streams of gRPC rest for as long as they like
		x.in.limit.lift()
		x.in.limit.end()
		return b.two.RoundTrip(out)
	}
	return b.one.RoundTrip(out)
}

func (b *bridge) modify(resp *http.Response) error {
	x := resp.Request.Context().Value(crossingKey{}).(*crossing)
	resp.Header.Set("X-Vcap-Request-Id", string(x.id[:]))
	resp.Header.Del("X-Cf-Routererror")
	for _, v := range resp.Header["Set-Cookie"] {
		pair, attrs, _ := strings.Cut(v, ";")
		name, _, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if b.srv.isSession([]byte(name)) && !x.session.renewed {
			x.session.renewed, x.session.attrs = true, []byte(attrs)
		}
	}
	if x.session.renewed || len(x.session.wanted) > 0 && string(x.session.wanted) != x.used.Instance {
		line := appendVcapCookie(nil, x.used.Instance, x.pool.key.Path, x.session.attrs)
		resp.Header.Add("Set-Cookie", strings.TrimSpace(strings.TrimPrefix(string(line), "Set-Cookie: ")))
	}
	return nil
}

func (b *bridge) failed(w http.ResponseWriter, r *http.Request, err error) {
	x := r.Context().Value(crossingKey{}).(*crossing)
	cw := w.(*countedWriter)
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, errNoEndpoints) && x.pinned:
		x.fail(cw, 400, "unknown_route", "400 Bad Request: Requested instance does not exist.")
	case errors.Is(err, errNoEndpoints):
		x.fail(cw, 503, "no_endpoints", "503 Service Unavailable: Requested route ('"+r.Host+"') has no available endpoints.")
	case r.Context().Err() != nil:
		cw.status = 499
		panic(http.ErrAbortHandler)
	case errors.As(err, &timeout) && timeout.Timeout():
		x.fail(cw, 504, "endpoint_failure (timeout)", "504 Gateway Timeout: Registered endpoint did not answer in time.")
	default:
		x.fail(cw, 502, "endpoint_failure ("+reason(err)+")", "502 Bad Gateway: Registered endpoint failed to handle the request.")
	}
}

func (x *crossing) fail(w *countedWriter, status int, routerError, text string) {
	x.err = routerError
	h := w.Header()
	if routerError != "" {
		h.Set("X-Cf-Routererror", routerError)
	}
	h.Set("Cache-Control", "no-cache, no-store")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Vcap-Request-Id", string(x.id[:]))
	w.WriteHeader(status)
	io.WriteString(w, text+"\n")
}

func (b *bridge) log(w *countedWriter, r *http.Request, x *crossing, end time.Time) {
	e := entry{
		host: []byte(r.Host), method: []byte(r.Method), target: []byte(r.URL.RequestURI()), minor: r.Proto, status: w.status,
		received: x.in.n, sent: w.n, referer: []byte(r.Referer()), agent: []byte(r.UserAgent()), remote: r.RemoteAddr,
		forwardedFor: []byte(strings.Join(r.Header["X-Forwarded-For"], ", ")), forwardedProto: x.proto, id: x.id[:],
		took: end.Sub(x.start), gorouter: max(end.Sub(x.start)-x.appTime, 0), at: x.start, endpoint: x.used, routerError: x.err,
	}
	app, index := "", 0
	if x.used != nil {
		app, index = x.used.App, x.used.Index
	}
	b.srv.cfg.AccessLog.Request(app, index, x.start, e.append(nil))
}
