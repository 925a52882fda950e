package resolver

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// readSize of a UDP query: what we say in our own EDNS.
	readSize = ednsSize
	// idleTime is how long a TCP connection may be silent (RFC 7766 section 6.2.3).
	idleTime  = 10 * time.Second
	writeTime = 5 * time.Second
)

// Serve answers on both sockets until ctx is done, and closes them. They stand
// in the cell's network, on port 53 of the gateway address.
func (r *Resolver) Serve(ctx context.Context, packets net.PacketConn, streams net.Listener) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) { r.handle(ctx, w, query) })
	servers := []*dns.Server{
		{PacketConn: packets, UDPSize: readSize},
		{Listener: &meteredListener{streams, r}, IdleTimeout: func() time.Duration { return idleTime }},
	}
	begun, ended := make(chan bool, 2*len(servers)), make(chan error, len(servers))
	for _, s := range servers {
		s.Handler = handler
		s.DecorateReader = func(inner dns.Reader) dns.Reader { return meteredReader{inner, r, ctx} }
		s.ReadTimeout = idleTime
		s.NotifyStartedFunc = func() { begun <- true }
		go func() {
			err := s.ActivateAndServe()
			begun <- false // for one that failed before it began
			ended <- err
			stop() // the other goes with it
		}()
	}
	for range servers {
		<-begun // Shutdown does not wait for a server that has not begun
	}
	<-ctx.Done()
	for _, s := range servers {
		s.Shutdown() // fails on one that did not begin, which its closed socket ends
	}
	packets.Close()
	streams.Close()
	return errors.Join(<-ended, <-ended)
}

func (r *Resolver) handle(ctx context.Context, w dns.ResponseWriter, query *dns.Msg) {
	t := r.table.Load()
	a := t.askers[addrOf(w.RemoteAddr())]
	if a == nil {
		w.Close() // gone since its query was read
		return
	}
	m := r.answer(ctx, t, a, query)
	size := dns.MaxMsgSize
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		size = udpSize(query)
	}
	m.Truncate(size)
	w.WriteMsg(m) // a client that is gone misses nothing
}

// udpSize is how much the asker can take at once, and we would send.
func udpSize(query *dns.Msg) int {
	opt := query.IsEdns0()
	if opt == nil {
		return dns.MinMsgSize
	}
	return min(max(int(opt.UDPSize()), dns.MinMsgSize), ednsSize)
}

// meteredReader drops what strangers and askers beyond their rate send before
// anything is parsed. A drop rather than an answer: a flood gets no echo, and a
// guest that is a moment ahead of its entry asks again.
type meteredReader struct {
	dns.Reader
	r   *Resolver
	ctx context.Context
}

// nothing is what a reader returns for a dropped packet: too short for the
// server, which reads on.
func nothing(m []byte) []byte { return m[:0] }

func (m meteredReader) ReadUDP(conn *net.UDPConn, timeout time.Duration) ([]byte, *dns.SessionUDP, error) {
	b, session, err := m.Reader.ReadUDP(conn, timeout)
	if err == nil && !m.r.admit(session.RemoteAddr()) {
		return nothing(b), session, nil
	}
	return b, session, err
}

func (m meteredReader) ReadPacketConn(conn net.PacketConn, timeout time.Duration) ([]byte, net.Addr, error) {
	b, from, err := m.Reader.(dns.PacketConnReader).ReadPacketConn(conn, timeout)
	if err == nil && !m.r.admit(from) {
		return nothing(b), from, nil
	}
	return b, from, err
}

// ReadTCP makes an asker beyond its rate wait for its turn.
func (m meteredReader) ReadTCP(conn net.Conn, timeout time.Duration) ([]byte, error) {
	b, err := m.Reader.ReadTCP(conn, timeout)
	if err != nil {
		return nil, err
	}
	a := m.r.table.Load().askers[addrOf(conn.RemoteAddr())]
	if a == nil {
		m.r.counts.strangers.Add(1)
		return nil, net.ErrClosed
	}
	m.r.counts.queries.Add(1)
	return b, a.meter.queries.Wait(m.ctx)
}

// admit tells whether a packet from an address is to be read.
func (r *Resolver) admit(from net.Addr) bool {
	a := r.table.Load().askers[addrOf(from)]
	switch {
	case a == nil:
		r.counts.strangers.Add(1)
		return false
	case !a.meter.queries.Allow():
		r.counts.limited.Add(1)
		return false
	}
	r.counts.queries.Add(1)
	return true
}

// meteredListener closes connections of strangers, and of askers that hold too
// many already.
type meteredListener struct {
	net.Listener
	r *Resolver
}

func (l *meteredListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		a := l.r.table.Load().askers[addrOf(c.RemoteAddr())]
		switch {
		case a == nil:
			l.r.counts.strangers.Add(1)
		case !a.meter.take(&a.meter.conns, connections):
			l.r.counts.limited.Add(1)
		default:
			return &meteredConn{Conn: c, meter: a.meter}, nil
		}
		c.Close()
	}
}

// meteredConn gives its place back when it is closed, and does not wait for a
// client that does not read.
type meteredConn struct {
	net.Conn
	meter *meter
	once  sync.Once
}

func (c *meteredConn) Write(b []byte) (int, error) {
	c.SetWriteDeadline(time.Now().Add(writeTime))
	return c.Conn.Write(b)
}

func (c *meteredConn) Close() error {
	c.once.Do(func() { c.meter.give(&c.meter.conns) })
	return c.Conn.Close()
}
