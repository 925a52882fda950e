package passage

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Gate is a cell's end.
type Gate struct {
	cfg  GateConfig
	stop chan struct{}

	mu       sync.Mutex // guards what follows
	sessions map[*session]bool
	draining map[string]bool // instances
	conns    map[net.Conn]bool
	closed   bool
	all      sync.WaitGroup
}

// GateConfig is what a Gate needs.
type GateConfig struct {
	// TLS lets routers in and nobody else.
	TLS *tls.Config
	// Router tells which router a connection is of.
	Router func(tls.ConnectionState) (string, error)
	// Dial connects to an instance of this cell.
	Dial func(ctx context.Context, instance string, port uint16) (net.Conn, error)
	Log  *slog.Logger
}

// session is a router that was heard of.
type session struct {
	router string
	conn   net.Conn
	ended  chan struct{}

	mu    sync.Mutex // guards what follows, and writing; taken before Gate.mu
	waits map[string]chan struct{}
}

// askTime is how long a handshake and a first line may take, dialTime a dial.
const (
	askTime  = 10 * time.Second
	dialTime = 5 * time.Second
)

// NewGate makes a gate, which does nothing until Serve.
func NewGate(c GateConfig) *Gate {
	return &Gate{cfg: c, stop: make(chan struct{}), sessions: map[*session]bool{}, draining: map[string]bool{}, conns: map[net.Conn]bool{}}
}

// Serve lets routers in until the listener is closed.
func (g *Gate) Serve(l net.Listener) error {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil { // out of descriptors: some will be closed
			select {
			case <-g.stop:
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		if !g.keep(c) {
			c.Close()
			return nil
		}
		g.all.Go(func() {
			defer g.forget(c)
			g.take(tls.Server(c, g.cfg.TLS))
		})
	}
}

// Close ends all connections.
func (g *Gate) Close() error {
	g.mu.Lock()
	if !g.closed {
		close(g.stop)
	}
	g.closed = true
	for c := range g.conns {
		c.Close()
	}
	g.mu.Unlock()
	g.all.Wait()
	return nil
}

func (g *Gate) keep(c net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.conns[c] = true
	return true
}

func (g *Gate) forget(c net.Conn) {
	c.Close()
	g.mu.Lock()
	delete(g.conns, c)
	g.mu.Unlock()
}

// take serves one connection.
func (g *Gate) take(c *tls.Conn) {
	c.SetDeadline(time.Now().Add(askTime))
	line, err := readLine(c)
	if err != nil {
		return // a stranger, whom TLS has refused already, or one that went away
	}
	a, err := parseAsk(line)
	var router string
	if err == nil {
		router, err = g.cfg.Router(c.ConnectionState())
	}
	if err != nil {
		refuse(c, err)
		return
	}
	if a.instance == "" {
		g.listen(c, router)
		return
	}
	if !g.known(router) {
		refuse(c, errors.New("there is no session"))
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	to, err := g.cfg.Dial(ctx, a.instance, a.port)
	cancel()
	if err != nil {
		refuse(c, err)
		return
	}
	if !g.keep(to) {
		to.Close()
		return
	}
	defer g.forget(to)
	if _, err := io.WriteString(c, "+\n"); err != nil {
		return
	}
	c.SetDeadline(time.Time{})
	pass(c, to)
}

func refuse(c net.Conn, why error) {
	text := why.Error()
	fmt.Fprintf(c, "- %.200s\n", text)
}

func (g *Gate) known(router string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for s := range g.sessions {
		if s.router == router {
			return true
		}
	}
	return false
}

// listen is the cell's end of a session.
func (g *Gate) listen(c *tls.Conn, router string) {
	s := &session{router: router, conn: c, ended: make(chan struct{}), waits: map[string]chan struct{}{}}
	defer close(s.ended)
	c.SetDeadline(time.Time{})
	c.SetWriteDeadline(time.Now().Add(askTime))
	// It is known before it is told so, since it then asks for instances; and it is
	// told so before it hears anything else.
	s.mu.Lock()
	g.mu.Lock()
	g.sessions[s] = true
	var going []string // it may not know yet
	for guid := range g.draining {
		going = append(going, guid)
	}
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.sessions, s)
		g.mu.Unlock()
	}()
	_, err := io.WriteString(c, "+\n")
	s.mu.Unlock()
	if err != nil {
		return
	}
	for _, guid := range going {
		s.ask(guid)
	}
	for {
		line, err := readLine(c)
		if err != nil {
			return
		}
		guid, ok := parseWord(line, "drained")
		if !ok {
			g.cfg.Log.Warn("passage: a router says what is not understood", "router", router)
			return
		}
		s.heard(guid)
	}
}

// ask has the router stop sending to an instance; the channel is closed when it
// has.
func (s *session) ask(guid string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := s.waits[guid]
	if done == nil {
		done = make(chan struct{})
		s.waits[guid] = done
		s.conn.SetWriteDeadline(time.Now().Add(askTime))
		if _, err := fmt.Fprintf(s.conn, "drain %s\n", guid); err != nil {
			s.conn.Close() // its end is noticed by who reads
		}
	}
	return done
}

func (s *session) heard(guid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if done := s.waits[guid]; done != nil {
		close(done)
		delete(s.waits, guid)
	}
}

// Drain returns when no router sends requests to the instance any more and those
// under way are answered, or with ctx.
func (g *Gate) Drain(ctx context.Context, instance string) error {
	g.mu.Lock()
	g.draining[instance] = true
	var all []*session
	for s := range g.sessions {
		all = append(all, s)
	}
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.draining, instance)
		g.mu.Unlock()
	}()
	for _, s := range all {
		select {
		case <-s.ask(instance):
		case <-s.ended:
		case <-ctx.Done():
			return fmt.Errorf("router %s still sends requests: %w", s.router, ctx.Err())
		}
	}
	return nil
}

// halfCloser is a connection whose one direction can end before the other.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// pass copies bytes both ways, and the end of each.
func pass(a *tls.Conn, b net.Conn) {
	var both sync.WaitGroup
	both.Go(func() { oneWay(b, a) })
	both.Go(func() { oneWay(a, b) })
	both.Wait()
}

// oneWay breaks both directions when one breaks: the other would wait for ever.
func oneWay(to, from net.Conn) {
	half, ok := to.(halfCloser)
	if _, err := io.Copy(to, from); err != nil || !ok || half.CloseWrite() != nil {
		abort(to)
		abort(from)
	}
}

// abort closes so that the other end cannot take what it has for all: without
// TLS's word for an orderly end.
func abort(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}
