package router

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dewpaas/dew/router/http1"
)

// client is one connection from the street, served by one goroutine.
type client struct {
	guard
	srv     *Server
	in      []byte // in[r:w] is unread; a head stays in place while it is served
	r, w    int
	remote  string
	ip      string
	proto   string // "http" or "https"
	trusted bool   // it is a load balancer of ours
	req     http1.Request
	random  *rand.ChaCha8 // request ids need to be unique, not secret
	served  bool          // a request was read on this connection
	taken   bool          // net/http serves it now

	// What the reaper looks at to notice clients that have gone.
	busySince atomic.Int64 // tick at which the request began; 0: none
	ended     int64        // tick at which the reaper saw the client's FIN
	gone      atomic.Bool
	peerMu    sync.Mutex
	peer      *upstream // who answers; nobody else may abort it once it is nil
}

const firstBuffer = 4 << 10

// preface begins every HTTP/2 connection, RFC 9113 section 3.4.
const preface = "PRI * HTTP/2.0\r\n\r\n"

// serve answers requests until the connection ends or goes another way.
func (c *client) serve() {
	for {
		head, err := c.readHead()
		if err != nil {
			c.refuseHead(err)
			return
		}
		if !c.served && string(head) == preface {
			c.r -= len(head)
			c.srv.handOver(c)
			return
		}
		c.served = true
		switch c.exchange(head) {
		case thenClose:
			c.linger()
			return
		case thenNothing:
			return
		}
	}
}

// readHead returns a complete head, which stays in c.in. It skips one empty
// line before the head, RFC 9112 section 2.2.
func (c *client) readHead() ([]byte, error) {
	if c.w-c.r >= 2 && c.in[c.r] == '\r' && c.in[c.r+1] == '\n' {
		c.r += 2
	}
	next, begun := 0, c.w > c.r
	if err := c.awaitHead(begun); err != nil {
		return nil, err
	}
	for {
		end, n, err := http1.HeadEnd(c.in[c.r:c.w], next)
		if err != nil {
			return nil, err
		}
		if end == 2 && next == 0 {
			c.r += 2
			continue
		}
		next = n
		if end > c.srv.cfg.MaxHeader || end == 0 && c.w-c.r > c.srv.cfg.MaxHeader {
			return nil, http1.ErrTooLarge
		}
		if end > 0 {
			c.readWithin(0)
			head := c.in[c.r : c.r+end]
			c.r += end
			return head, nil
		}
		c.room()
		got, err := c.conn.Read(c.in[c.w:])
		c.w += got
		if got == 0 {
			return nil, err
		}
		if !begun {
			begun = true
			if err := c.awaitHead(begun); err != nil {
				return nil, err
			}
		}
	}
}

// awaitHead limits the wait for a request, then, once, the time its head may
// take: a head that drips in does not get more by dripping.
func (c *client) awaitHead(begun bool) error {
	if begun {
		c.busySince.Store(c.reaper.ticks.Load())
		return c.readWithin(c.srv.cfg.HeaderTimeout)
	}
	return c.readWithin(c.srv.cfg.IdleTimeout)
}

// room makes space behind in[w].
func (c *client) room() {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if c.w < len(c.in) {
		return
	}
	if c.r > 0 {
		c.w = copy(c.in, c.in[c.r:c.w])
		c.r = 0
		return
	}
	bigger := make([]byte, 2*len(c.in))
	copy(bigger, c.in[:c.w])
	c.in = bigger
}

// shrink gives back what a large head needed.
func (c *client) shrink() {
	if len(c.in) > 16*firstBuffer && c.r == c.w {
		c.in = make([]byte, firstBuffer)
		c.r, c.w = 0, 0
	}
}

// linger closes so that the last answer arrives: a client that is still
// sending would otherwise get a reset, which may destroy what it has not read
// yet. RFC 9112 section 9.6.
func (c *client) linger() {
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.conn.SetReadDeadline(time.Now().Add(lingerTime))
	io.Copy(io.Discard, io.LimitReader(c.conn, lingerBytes))
}

// reset closes so that the client cannot take what it has for complete. Under
// TLS that means: without the alert that marks an orderly end.
func (c *client) reset() {
	tcp := c.tcp
	if inner, ok := c.conn.(interface{ NetConn() net.Conn }); ok {
		tcp, _ = inner.NetConn().(*net.TCPConn)
	}
	if tcp != nil {
		tcp.SetLinger(0)
		tcp.Close()
	}
}

const (
	lingerTime  = 2 * time.Second
	lingerBytes = 512 << 10
)

// checkGone is the reaper's look at a client that waits for an answer. A
// client that was reset is gone. One that only ended its side may still read
// (RFC 9112 section 9.6), but not for ever: most that end it are gone too.
func (c *client) checkGone(now int64) {
	since := c.busySince.Load()
	if since == 0 || now-since < int64(time.Second/tick) {
		c.ended = 0
		return
	}
	broken, ended := c.peerState()
	switch {
	case !ended:
		c.ended = 0
	case c.ended == 0:
		c.ended = now
	}
	if broken || c.ended != 0 && now-c.ended > int64(c.srv.cfg.HalfClosed/tick) {
		c.gone.Store(true)
		c.peerMu.Lock()
		if c.peer != nil {
			c.peer.abort()
		}
		c.peerMu.Unlock()
	}
}

func (c *client) setPeer(u *upstream) {
	c.peerMu.Lock()
	c.peer = u
	c.peerMu.Unlock()
}

// newID makes a version 4 UUID, RFC 9562 section 5.4.
func newID(id *[36]byte, hi, lo uint64) {
	hi = hi&^0xf000 | 0x4000
	lo = lo&^(3<<62) | 2<<62
	at := 0
	for i := range 16 {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			id[at] = '-'
			at++
		}
		if i == 8 {
			hi = lo
		}
		b := byte(hi >> (56 - 8*(i&7)))
		id[at], id[at+1] = hexDigits[b>>4], hexDigits[b&0xf]
		at += 2
	}
}

// prefixed is a connection some of whose bytes were already read. It tells
// net/http's side what it cannot see any more.
type prefixed struct {
	net.Conn
	unread []byte
	secure bool
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.unread) > 0 {
		n := copy(b, p.unread)
		p.unread = p.unread[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}
