package router

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/dewpaas/dew/router/http1"
)

// exchange is one request and its answer. It lives in a pool.
type exchange struct {
	client       *client
	start, end   time.Time
	id           [36]byte
	host         []byte
	body         http1.Body // the request's
	whole        []byte     // the request's body, when it came with its head
	upgrade      bool
	session      session
	up           *upstream
	resp         http1.Response
	answer       stream // app to client
	sending      stream // client to app
	pumping      bool   // the pump runs
	streamed     bool   // the pump ran: the body cannot be sent again
	stopping     atomic.Bool
	pumped       chan error
	bodyFault    error // why the pump stopped
	mustClose    bool  // what is left of the request cannot be told from the next one
	headLen      int
	status       int
	routerError  string
	fault        error // why the last endpoint failed
	appTime      time.Duration
	logged       bool
	forwardedFor []byte
	line         []byte
	tried        tried
	pool         *pool
	fresh        bool      // the next endpoint gets a new connection
	again        *endpoint // whose idle connection ended without a word
	asked        bool      // an instance may have the request and did not answer
	repeated     bool
}

// next is what becomes of the client's connection.
type next int

const (
	thenNext next = iota
	thenClose
	thenNothing // closed or taken over
)

// exchange serves the request whose head was read.
func (c *client) exchange(head []byte) next {
	x := c.srv.exchanges.Get().(*exchange)
	x.begin(c)
	then := x.serve(head)
	x.finish()
	c.srv.exchanges.Put(x)
	c.shrink()
	return then
}

func (x *exchange) begin(c *client) {
	s := c.srv
	x.client, x.start = c, time.Now()
	x.fault, x.routerError = nil, ""
	x.pumping, x.streamed, x.mustClose, x.upgrade, x.whole = false, false, false, false, nil
	x.bodyFault, x.up = nil, nil
	x.fresh, x.again, x.asked, x.repeated = false, nil, false, false
	x.stopping.Store(false)
	x.status, x.appTime, x.tried.n = 0, 0, 0
	x.answer.moved, x.answer.wrote, x.answer.r, x.answer.w = 0, 0, 0, 0
	x.sending.moved = 0
	x.body = http1.Body{}
	x.logged = s.cfg.AccessLog != nil
	x.forwardedFor = x.forwardedFor[:0]
	x.answer.out = x.answer.out[:0]
	newID(&x.id, c.random.Uint64(), c.random.Uint64())
	c.gone.Store(false)
	s.metrics.active.Add(1)
}

func (x *exchange) finish() {
	c := x.client
	c.busySince.Store(0)
	c.setPeer(nil)
	x.end = time.Now()
	c.srv.metrics.active.Add(-1)
	c.srv.metrics.observe(x.status, x.end.Sub(x.start), x.answer.wrote, x.sending.moved+int64(len(x.whole)))
	if x.up != nil && x.status != 0 {
		x.up.endpoint.byStatus[classOf(x.status)].Add(1)
	}
	if x.logged && x.status != 0 {
		x.log()
	}
	x.client, x.up, x.pool, x.again = nil, nil, nil, nil
	if cap(x.answer.buf) > 4*bufferSize {
		x.answer.buf = nil
	}
}

func (x *exchange) serve(head []byte) next {
	c, q := x.client, &x.client.req
	x.headLen = len(head)
	if err := q.Parse(head); err != nil {
		return x.refuse(err)
	}
	x.body = q.Body()
	if string(q.Method) == "TRACE" { // it would show cookies to scripts
		return x.fail(405, "", "405 Method Not Allowed: TRACE is not supported.")
	}
	x.host = hostKey(x.host, q.Host)
	p, house := c.srv.find(x.host, q.Target)
	if house {
		c.r -= x.headLen
		c.srv.handOver(c)
		return thenNothing
	}
	if p == nil {
		return x.unknownRoute()
	}
	if then, done := x.limitHops(); done {
		return then
	}
	x.gather()
	x.upgrade = mayUpgrade(q)
	x.readSession()
	return x.forward(p)
}

// limitHops answers OPTIONS itself when its last hop is used up and counts
// down otherwise: RFC 9110 section 7.6.2.
func (x *exchange) limitHops() (next, bool) {
	q := &x.client.req
	if string(q.Method) != "OPTIONS" {
		return 0, false
	}
	for i := range q.Fields {
		f := &q.Fields[i]
		if f.ID != http1.MaxForwards || len(f.Value) == 0 {
			continue
		}
		if string(f.Value) == "0" {
			return x.fail(200, "", ""), true
		}
		last := f.Value[len(f.Value)-1:]
		if len(f.Value) == 1 && '1' <= last[0] && last[0] <= '9' {
			last[0]--
		}
	}
	return 0, false
}

// gather takes a body that came with its head. Then the request can be sent
// with one write and, if need be, sent again.
func (x *exchange) gather() {
	c := x.client
	if x.body.Counted() && int64(c.w-c.r) >= x.body.Left() {
		n := int(x.body.Left())
		x.whole = c.in[c.r : c.r+n]
		c.r += n
		x.body = http1.Body{}
	}
}

// forward tries endpoints until one answers.
func (x *exchange) forward(p *pool) next {
	c := x.client
	pin, pinned, ok := readPin(&c.req)
	if pinned && !ok {
		return x.fail(400, "invalid_cf_app_instance_header", "400 Bad Request: Invalid X-CF-App-Instance Header.")
	}
	x.pool = p
	for range attempts {
		e := x.choose(p, &pin, pinned)
		if e == nil {
			break
		}
		if e.Protocol == HTTP2 {
			e.release()
			c.r -= len(x.whole) + x.headLen
			c.srv.handOver(c)
			return thenNothing
		}
		then, retry := x.try(e)
		e.release()
		if !retry {
			return then
		}
		if x.again == nil {
			x.tried.add(e)
		}
		c.srv.metrics.retries.Add(1)
	}
	return x.giveUp(p, pinned)
}

func (x *exchange) choose(p *pool, pin *pin, pinned bool) *endpoint {
	if e := x.again; e != nil {
		x.again = nil
		if e.acquire() {
			return e
		}
		if !x.mayRepeat() { // the instance has ended
			return nil
		}
	}
	if pinned {
		return p.pinned(pin)
	}
	if len(x.session.wanted) > 0 && x.tried.n == 0 {
		if e := p.instance(x.session.wanted, x.start); e != nil {
			return e
		}
	}
	e := p.pick(&x.tried, x.start, x.hashKey(p))
	if e == nil && len(p.endpoints) > 0 {
		// Every endpoint of this pool has just gone: there is a newer table.
		if p = x.client.srv.table.lookup(x.host, x.client.req.Target); p != nil {
			e = p.pick(&x.tried, x.start, x.hashKey(p))
		}
	}
	return e
}

func (x *exchange) giveUp(p *pool, pinned bool) next {
	c := x.client
	var refusal *http1.Error
	switch {
	case errors.As(x.bodyFault, &refusal):
		return x.refuse(refusal)
	case c.gone.Load():
		x.status = 499
		return thenNothing
	case x.fault == nil && pinned:
		return x.fail(400, "unknown_route", "400 Bad Request: Requested instance does not exist.")
	case x.fault == nil:
		return x.fail(503, "no_endpoints", "503 Service Unavailable: Requested route ('"+string(x.host)+"') has no available endpoints.")
	case errors.Is(x.fault, os.ErrDeadlineExceeded):
		return x.fail(504, "endpoint_failure (timeout)", "504 Gateway Timeout: Registered endpoint did not answer in time.")
	}
	return x.fail(502, "endpoint_failure ("+reason(x.fault)+")", "502 Bad Gateway: Registered endpoint failed to handle the request.")
}

// reason is short and free of addresses.
func reason(err error) string {
	var refusal *http1.Error
	switch {
	case errors.As(err, &refusal):
		return "invalid answer: " + refusal.Reason
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "EOF"
	case errors.Is(err, errConnect):
		return "connection refused or unreachable"
	}
	return "connection reset"
}

var (
	errConnect = errors.New("connect")
	errUpgrade = &http1.Error{Status: 502, Reason: "upgrade that nobody asked for"}
	errInterim = &http1.Error{Status: 502, Reason: "too many interim answers"}
)

// try sends the request to one endpoint. retry means that the client has seen
// nothing and that doing it again is safe.
func (x *exchange) try(e *endpoint) (then next, retry bool) {
	c := x.client
	u, err := e.connect(c.srv, x.fresh, !c.req.Idempotent())
	if err != nil {
		if x.asked { // the connection that ended was no idle one: its instance has ended
			return x.repeatOrGiveUp()
		}
		x.fault = errors.Join(errConnect, err)
		return 0, true
	}
	x.up = u
	c.setPeer(u)
	sent := time.Now()
	nothing, err := x.send(u)
	if err == nil {
		err = x.readAnswer(u)
		nothing = false
	}
	x.appTime = time.Since(sent)
	if err == nil {
		if c.req.Idempotent() {
			x.pool.proven.note(c.req.Method, c.req.Target)
		}
		return x.relay(u), false
	}
	x.fault = err
	c.setPeer(nil)
	u.close()
	x.abandon()
	silent := x.answer.w == 0 // not a byte came back
	switch {
	case x.streamed || c.gone.Load():
	case nothing:
		x.fresh = x.fresh || u.reused
		return 0, true
	case !c.req.Idempotent() || !silent || errors.Is(err, os.ErrDeadlineExceeded):
	case u.reused: // most likely the app closed it before: ask again, on a new one
		x.fresh, x.asked, x.again = true, true, e
		return 0, true
	default:
		x.asked = true
		return x.repeatOrGiveUp()
	}
	return x.giveUp(nil, false), false
}

func (x *exchange) repeatOrGiveUp() (then next, retry bool) {
	if x.mayRepeat() {
		return 0, true
	}
	return x.giveUp(nil, false), false
}

// mayRepeat decides about a request whose instance ended without an answer:
// once, and only what others like it have survived.
func (x *exchange) mayRepeat() bool {
	q := &x.client.req
	if x.repeated || !x.pool.proven.has(q.Method, q.Target) {
		return false
	}
	x.repeated = true
	return true
}

// send writes the head and the body, or starts the pump for a body that is
// still on its way. nothing means that not a byte left.
func (x *exchange) send(u *upstream) (nothing bool, err error) {
	out := &x.sending
	out.reset(&x.client.guard, &u.guard, x.body, x.client.req.Chunked, x.client.srv.cfg.BodyIdle)
	out.out = x.appendRequest(out.out[:0], u.endpoint)
	x.answer.r, x.answer.w = 0, 0
	if !x.body.Empty() {
		x.startPump()
		return false, nil
	}
	out.readAll.Store(true)
	if len(out.out)+len(x.whole) <= cap(out.out) || len(x.whole) < bufferSize/4 {
		out.out = append(out.out, x.whole...)
		err = out.flush()
	} else {
		err = out.write(x.whole)
	}
	return out.wrote == 0, err
}

// startPump moves the request's body in a goroutine of its own, because the
// app may answer before it has read everything.
func (x *exchange) startPump() {
	c := x.client
	p := &x.sending
	if unread := c.w - c.r; unread > bufferSize/2 {
		p.buf = make([]byte, unread+bufferSize)
	} else {
		p.buf = *c.srv.buffers.get()
	}
	p.r, p.w = 0, copy(p.buf, c.in[c.r:c.w])
	c.r = c.w
	x.pumping, x.streamed = true, true
	go x.pump()
}

func (x *exchange) pump() {
	err := x.sending.run()
	var read readError
	if errors.As(err, &read) && !x.stopping.Load() {
		// The client's body is broken: nobody must take it for complete.
		x.client.gone.Store(true)
		x.sending.to.abort()
	}
	x.pumped <- err
}

// abandon ends the pump after a failure or an early answer. The client's
// connection lives on only if the body was read to its end.
func (x *exchange) abandon() {
	if !x.pumping {
		return
	}
	if !x.sending.readAll.Load() {
		x.stopping.Store(true)
		x.client.conn.SetReadDeadline(time.Unix(1, 0))
	}
	x.joinPump()
}

// joinPump waits for the pump, whose connections are done, closed, aborted or
// limited, and keeps what it read too much.
func (x *exchange) joinPump() {
	x.bodyFault = <-x.pumped
	x.pumping = false
	c, p := x.client, &x.sending
	if rest := p.buf[p.r:p.w]; len(rest) > 0 {
		if c.w+len(rest) > len(c.in) {
			c.in = append(bytes.Clone(c.in[:c.w]), make([]byte, len(rest)+firstBuffer)...)
		}
		c.w += copy(c.in[c.w:], rest)
	}
	if len(p.buf) == bufferSize {
		buf := p.buf
		c.srv.buffers.put(&buf)
	}
	p.buf, p.r, p.w = nil, 0, 0
	x.mustClose = x.mustClose || !p.readAll.Load()
}

// readAnswer reads heads until a final one, passing interim ones on.
func (x *exchange) readAnswer(u *upstream) error {
	a := &x.answer
	a.from, a.to = &u.guard, &x.client.guard
	if a.buf == nil {
		a.buf = *x.client.srv.buffers.get()
	}
	for range maxInterim {
		head, err := x.readAnswerHead(u)
		if err != nil {
			return err
		}
		if err := x.resp.Parse(head); err != nil {
			return err
		}
		if x.resp.Status == 101 && !x.upgrade {
			return errUpgrade
		}
		if !x.resp.Interim() {
			return nil
		}
		if err := x.passInterim(); err != nil {
			return err
		}
	}
	return errInterim
}

// maxInterim bounds the 1xx answers before the real one.
const maxInterim = 32

func (x *exchange) readAnswerHead(u *upstream) ([]byte, error) {
	a := &x.answer
	if err := u.readWithin(x.client.srv.cfg.AnswerTimeout); err != nil {
		return nil, err
	}
	defer u.readWithin(0)
	next := 0
	for {
		end, n, err := http1.HeadEnd(a.buf[a.r:a.w], next)
		if err != nil {
			return nil, err
		}
		if end > 0 {
			head := a.buf[a.r : a.r+end]
			a.r += end
			return head, nil
		}
		next = n
		if a.w == len(a.buf) {
			if len(a.buf) >= x.client.srv.cfg.MaxHeader {
				return nil, http1.ErrTooLarge
			}
			a.buf = append(a.buf, make([]byte, len(a.buf))...)
		}
		got, err := u.conn.Read(a.buf[a.w:])
		if a.w += got; got == 0 {
			return nil, err
		}
	}
}

// passInterim forwards 100, 102, 103, but never to a client of HTTP/1.0:
// RFC 9110 section 15.2.
func (x *exchange) passInterim() error {
	if x.client.req.Minor == 0 {
		return nil
	}
	a := &x.answer
	a.idle = x.client.srv.cfg.BodyIdle
	a.out = x.appendResponse(a.out[:0], &x.resp, framing{noLength: true})
	return a.flush()
}
