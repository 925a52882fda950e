package passage

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"
)

// Dialer is a router's end.
type Dialer struct {
	cfg DialerConfig
	ctx context.Context
	end context.CancelFunc
	all sync.WaitGroup

	mu    sync.Mutex       // guards what follows
	cells map[string]*cell // by address
}

// DialerConfig is what a Dialer needs.
type DialerConfig struct {
	// TLS is for connections to the cell of that name.
	TLS func(cell string) *tls.Config
	// Drained returns when the router sends nothing more to an instance that is
	// not routed to any more and what was under way is answered, or with ctx.
	Drained func(ctx context.Context, instance string) error
	Log     *slog.Logger
}

// cell is a cell with which a session is held, or being begun.
type cell struct {
	tls  *tls.Config
	at   string
	name string

	mu    sync.Mutex    // guards what follows
	ready chan struct{} // closed while there is a session
	bad   error         // why there is none
	tried chan struct{} // closed at the next outcome
}

const (
	drainTime = time.Minute // the cell gives up sooner
	firstWait = 100 * time.Millisecond
	longWait  = time.Second
	giveUp    = time.Minute // without a session, until somebody dials again
)

// NewDialer makes a dialer without sessions.
func NewDialer(c DialerConfig) *Dialer {
	d := &Dialer{cfg: c, cells: map[string]*cell{}}
	d.ctx, d.end = context.WithCancel(context.Background())
	return d
}

// Close ends the sessions. Connections that were dialled are their callers'.
func (d *Dialer) Close() error {
	d.end()
	d.all.Wait()
	return nil
}

// Dial connects to a port of an instance on the named cell, which is found at an
// address (host:port).
func (d *Dialer) Dial(ctx context.Context, at, name, instance string, port uint16) (net.Conn, error) {
	c, err := d.cell(at, name)
	if err != nil {
		return nil, err
	}
	if err := c.await(ctx); err != nil {
		return nil, fmt.Errorf("reach cell %s at %s: %w", name, at, err)
	}
	conn, err := c.open(ctx, ask{instance, port})
	if err != nil {
		return nil, fmt.Errorf("reach instance %s on cell %s: %w", instance, name, err)
	}
	return conn, nil
}

// cell finds the session's holder, or begins one.
func (d *Dialer) cell(at, name string) (*cell, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() != nil {
		return nil, net.ErrClosed
	}
	key := name + "@" + at
	c := d.cells[key]
	if c == nil {
		config := d.cfg.TLS(name).Clone()
		config.ClientSessionCache = tls.NewLRUClientSessionCache(8) // a second handshake costs no signature
		c = &cell{tls: config, at: at, name: name, ready: make(chan struct{}), tried: make(chan struct{})}
		d.cells[key] = c
		d.all.Go(func() {
			d.hold(c)
			d.mu.Lock()
			delete(d.cells, key)
			d.mu.Unlock()
		})
	}
	return c, nil
}

// await returns when there is a session, or with why there is none.
func (c *cell) await(ctx context.Context) error {
	c.mu.Lock()
	ready, tried, bad := c.ready, c.tried, c.bad
	c.mu.Unlock()
	select {
	case <-ready:
		return nil
	default:
	}
	if bad != nil {
		return bad
	}
	select {
	case <-ready:
		return nil
	case <-tried:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.bad
	case <-ctx.Done():
		return ctx.Err()
	}
}

// outcome notes that a session began, or why it did not or ended.
func (c *cell) outcome(bad error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	up := c.bad == nil && isClosed(c.ready)
	c.bad = bad
	switch {
	case bad == nil:
		close(c.ready)
	case up:
		c.ready = make(chan struct{})
	}
	close(c.tried)
	c.tried = make(chan struct{})
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// open connects and asks.
func (c *cell) open(ctx context.Context, a ask) (net.Conn, error) {
	raw, err := (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext(ctx, "tcp", c.at)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, c.tls)
	raw.SetDeadline(time.Now().Add(askTime))
	stop := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	_, err = io.WriteString(conn, a.String())
	var line string
	if err == nil {
		line, err = readLine(conn)
	}
	switch {
	case !stop():
		err = ctx.Err()
	case err == nil && line != "+":
		err = errors.New(strings.TrimPrefix(line, "- "))
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	return conn, raw.SetDeadline(time.Time{})
}

// hold keeps a session with a cell until there was none for long.
func (d *Dialer) hold(c *cell) {
	wait, since := firstWait, time.Now()
	for d.ctx.Err() == nil {
		conn, err := c.open(d.ctx, ask{})
		if err == nil {
			c.outcome(nil)
			err = d.answer(conn)
			conn.Close()
			wait, since = firstWait, time.Now()
			if d.ctx.Err() == nil {
				d.cfg.Log.Warn("router: the session with a cell ended", "cell", c.name, "err", err)
			}
		}
		c.outcome(err)
		if time.Since(since) > giveUp {
			return
		}
		select {
		case <-d.ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, longWait)
	}
}

// answer serves a session until it ends, which it does with an error.
func (d *Dialer) answer(conn net.Conn) error {
	defer context.AfterFunc(d.ctx, func() { conn.Close() })()
	var drains sync.WaitGroup
	defer drains.Wait()
	ctx, cancel := context.WithCancel(d.ctx)
	defer cancel()
	var writing sync.Mutex
	for {
		line, err := readLine(conn)
		if err != nil {
			return err
		}
		guid, ok := parseWord(line, "drain")
		if !ok {
			return errors.New("the cell says what is not understood")
		}
		drains.Go(func() {
			soon, cancel := context.WithTimeout(ctx, drainTime)
			defer cancel()
			if err := d.cfg.Drained(soon, guid); err != nil {
				d.cfg.Log.Warn("router: an instance ends with requests under way", "instance", guid, "err", err)
				return
			}
			writing.Lock()
			defer writing.Unlock()
			conn.SetWriteDeadline(time.Now().Add(askTime))
			fmt.Fprintf(conn, "drained %s\n", guid) // a broken session is noticed by who reads
		})
	}
}
