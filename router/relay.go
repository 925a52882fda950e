package router

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/dewpaas/dew/router/http1"
)

// relay sends the final answer on and settles what becomes of both
// connections.
func (x *exchange) relay(u *upstream) next {
	p := &x.resp
	x.status = p.Status
	if p.Status == 101 {
		return x.tunnel(u)
	}
	toHead := string(x.client.req.Method) == "HEAD"
	body := p.Body(toHead)
	f := x.framing(p, &body)
	a := &x.answer
	r, w := a.r, a.w
	a.reset(&u.guard, &x.client.guard, body, f.chunk, x.client.srv.cfg.BodyIdle)
	a.r, a.w = r, w
	a.out = x.appendResponse(a.out[:0], p, f)
	err := a.run()
	return x.settle(u, f, err)
}

// framing decides how the client learns the end of the answer.
func (x *exchange) framing(p *http1.Response, body *http1.Body) framing {
	q := &x.client.req
	f := framing{close: !q.Persistent() || x.client.srv.draining.Load()}
	// An answer before the end of the request: the rest of the request cannot
	// be told from a next one. RFC 9112 section 9.3.
	f.close = f.close || x.pumping && !x.sending.readAll.Load()
	f.noLength = p.Status == 204 || p.Chunked || body.Chunked()
	if body.Chunked() || body.UntilClose() {
		f.chunk = q.Minor == 1
		f.close = f.close || q.Minor == 0
		f.noLength = true
	}
	return f
}

// settle ends the exchange after its answer.
func (x *exchange) settle(u *upstream, f framing, err error) next {
	c, a := x.client, &x.answer
	c.setPeer(nil)
	if err != nil {
		u.close()
		x.abandon()
		return x.broken(f, err)
	}
	reuse := x.resp.Persistent() && a.r == a.w && !a.body.UntilClose()
	if x.pumping {
		reuse = reuse && x.sending.readAll.Load()
		if !reuse {
			u.abort()
		} else if u.writeWithin(tick) != nil { // the app answered without reading everything
			reuse = false
		}
		x.abandon()
		reuse = reuse && x.bodyFault == nil
	}
	if reuse {
		u.endpoint.put(u)
	} else {
		u.close()
	}
	if f.close || x.mustClose {
		return thenClose
	}
	return thenNext
}

// broken ends an answer that was cut short. The client must be able to tell:
// where only the end of the connection would mark the end of the body, it
// gets a reset.
func (x *exchange) broken(f framing, err error) next {
	c := x.client
	var read readError
	if errors.As(err, &read) {
		x.fault, x.routerError = read.error, "endpoint_failure ("+reason(read.error)+")"
		c.srv.metrics.cutShort.Add(1)
	}
	if c.gone.Load() || !errors.As(err, &read) {
		x.status = 499
	}
	if !f.chunk {
		c.reset()
	}
	return thenNothing
}

// tunnel joins both connections after 101 until both sides have ended. There
// is no time-out: keeping a WebSocket alive is up to its ends.
func (x *exchange) tunnel(u *upstream) next {
	c, a := x.client, &x.answer
	a.reset(&u.guard, &c.guard, http1.Body{}, false, c.srv.cfg.BodyIdle)
	a.out = x.appendResponse(a.out[:0], &x.resp, framing{noLength: true})
	a.out = append(a.out, a.buf[a.r:a.w]...)
	err := a.flush()
	early := c.in[c.r:c.w]
	c.r = c.w
	if err == nil && len(early) > 0 {
		_, err = u.conn.Write(early)
	}
	if err != nil {
		u.close()
		return thenNothing
	}
	c.srv.metrics.tunnels.Add(1)
	defer c.srv.metrics.tunnels.Add(-1)
	c.busySince.Store(0) // the copying notices who has gone
	up := make(chan int64, 1)
	go func() { up <- join(&u.guard, &c.guard) }()
	a.wrote += join(&c.guard, &u.guard)
	x.sending.moved = <-up + int64(len(early))
	u.close()
	return thenNothing
}

// join copies one direction and ends it. A side that broke takes the other
// with it; one that ended leaves the other direction open.
func join(to, from *guard) int64 {
	n, err := io.Copy(to.conn, from.conn)
	half, ok := to.conn.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		to.conn.SetDeadline(time.Unix(1, 0))
		from.conn.SetDeadline(time.Unix(1, 0))
	}
	return n
}

func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
