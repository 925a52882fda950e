package logcache

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dewpaas/dew/api/egress"
)

// Drain is where the lines of one app go. Host says in each message where it
// comes from: ORG.SPACE.APP.
type Drain struct {
	App, Host, URL string
}

const (
	drainQueue  = 10_000   // lines
	drainBytes  = 1 << 20  // that wait for one drain
	allBytes    = 64 << 20 // that wait for any
	lineBytes   = 128      // of a line besides its text
	drainDial   = 10 * time.Second
	drainWrite  = 10 * time.Second
	firstPause  = time.Second // after a failure; doubled up to longestPause
	longestWait = 15 * time.Second
)

// drains are the running forwarders.
type drains struct {
	mu    sync.RWMutex // guards byApp
	byApp map[string][]*drain
	lost  atomic.Uint64
	held  atomic.Int64 // bytes in all queues
}

// drain is one forwarder: a queue and the goroutine that empties it.
type drain struct {
	Drain
	queue  *queue
	held   atomic.Int64 // bytes in the queue
	all    *drains
	lost   atomic.Uint64 // since it was last said
	cancel context.CancelFunc
	ended  chan struct{}
}

func (d *drains) pass(app string, l line) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, one := range d.byApp[app] {
		if !one.offer(l) {
			one.lost.Add(1)
			d.lost.Add(1)
		}
	}
}

// offer queues a line if there is room: a drain that does not read must not cost
// the platform's memory.
func (d *drain) offer(l line) bool {
	if d.hold(l, 1) && d.queue.put(l) {
		return true
	}
	d.hold(l, -1)
	return false
}

// hold counts a line in or out, and tells whether what is held is within bounds.
func (d *drain) hold(l line, sign int64) bool {
	n := sign * int64(lineBytes+len(l.text))
	own, all := d.held.Add(n), d.all.held.Add(n)
	return own <= drainBytes && all <= allBytes
}

// SetGuard sets where drains may connect to, and whom they trust. Call it before
// SetDrains.
func (c *Cache) SetGuard(g egress.Guard) { c.guard = g }

// SetDrains makes these the drains: what is not there yet starts, what is no
// longer wanted ends, the others go on undisturbed. What starts begins with the
// kept lines since then, unless that is the zero time.
func (c *Cache) SetDrains(wanted []Drain, since time.Time) {
	c.drains.mu.Lock()
	var gone []*drain
	next := map[string][]*drain{}
	for _, list := range c.drains.byApp {
		for _, d := range list {
			if slices.Contains(wanted, d.Drain) {
				next[d.App] = append(next[d.App], d)
			} else {
				gone = append(gone, d)
			}
		}
	}
	for _, w := range wanted {
		if !slices.ContainsFunc(next[w.App], func(d *drain) bool { return d.Drain == w }) {
			next[w.App] = append(next[w.App], c.startDrain(w, since))
		}
	}
	c.drains.byApp = next
	c.drains.mu.Unlock()
	for _, d := range gone {
		d.cancel()
		<-d.ended
		c.drains.held.Add(-d.held.Load())
	}
}

func (c *Cache) startDrain(w Drain, since time.Time) *drain {
	ctx, cancel := context.WithCancel(context.Background())
	d := &drain{Drain: w, queue: newQueue(), all: &c.drains, cancel: cancel, ended: make(chan struct{})}
	if !since.IsZero() {
		d.begin(c.tail(w.App).read(since.UnixNano(), math.MaxInt64, drainQueue, true))
	}
	go func() {
		defer close(d.ended)
		c.forward(ctx, d)
	}()
	return d
}

// begin fills the queue with lines, newest first; the oldest may have no room.
func (d *drain) begin(lines []line) {
	for n, l := range lines {
		if !d.hold(l, 1) {
			d.hold(l, -1)
			lines = lines[:n]
			break
		}
	}
	slices.Reverse(lines)
	d.queue.putBack(lines)
}

// forward connects and sends until ctx ends. What is said about the drain goes
// into the app's own log, where its team looks.
func (c *Cache) forward(ctx context.Context, d *drain) {
	send, err := c.sender(d.URL)
	if err != nil {
		c.complain(d, "The syslog drain is not used: %v", err)
		<-ctx.Done()
		return
	}
	pause := firstPause
	for ctx.Err() == nil {
		started := c.now()
		err := send(ctx, d)
		if ctx.Err() != nil {
			return
		}
		if c.now().Sub(started) > longestWait {
			pause = firstPause
		}
		c.complain(d, "The syslog drain does not work, next try in %s: %v", pause, withoutSecrets(err))
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, longestWait)
	}
}

// withoutSecrets keeps user names, passwords and queries of URLs out of messages.
func withoutSecrets(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// complain writes into the app's ring, but not into its drains.
func (c *Cache) complain(d *drain, format string, args ...any) {
	l := lineOf("LGR", fmt.Appendf(nil, format, args...))
	l.AppGUID, l.Time = d.App, c.now()
	_, grown := c.tail(d.App).add(l, c.bounds)
	c.total.Add(int64(grown))
}

type sender func(ctx context.Context, d *drain) error

func (c *Cache) sender(text string) (sender, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("its URL cannot be read")
	}
	address := u.Host
	switch u.Scheme {
	case "syslog":
		if u.Port() == "" {
			address = net.JoinHostPort(u.Hostname(), "514")
		}
		return c.stream(address, nil), nil
	case "syslog-tls":
		if u.Port() == "" {
			address = net.JoinHostPort(u.Hostname(), "6514")
		}
		return c.stream(address, &tls.Config{ServerName: u.Hostname(), RootCAs: c.guard.Roots, MinVersion: tls.VersionTLS12}), nil
	case "https":
		return c.post(u), nil
	}
	return nil, fmt.Errorf("its scheme %q is not one of syslog, syslog-tls and https", u.Scheme)
}

// stream sends messages over one connection, each with its length in front.
func (c *Cache) stream(address string, secure *tls.Config) sender {
	return func(ctx context.Context, d *drain) error {
		dial, cancel := context.WithTimeout(ctx, drainDial)
		defer cancel()
		conn, err := c.guard.Dial(dial, "tcp", address, drainDial)
		if err != nil {
			return err
		}
		if secure != nil {
			over := tls.Client(conn, secure)
			if err := over.HandshakeContext(dial); err != nil {
				return errors.Join(err, conn.Close())
			}
			conn = over
		}
		// Closing unblocks a write to a drain that does not read.
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		defer conn.Close() // the write error is what counts
		closed := make(chan error, 1)
		go func() { _, err := io.Copy(io.Discard, conn); closed <- orEOF(err) }()
		return each(ctx, d, closed, func(batch []line) error {
			messages := frame(d, batch)
			if err := conn.SetWriteDeadline(time.Now().Add(drainWrite)); err != nil {
				return err
			}
			_, err := conn.Write(messages)
			return err
		})
	}
}

func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// each takes lines from the queue and sends those that are there together, until
// that fails or broken says that it will. What may not have arrived is sent again
// on the next connection: a line may come twice, but not get lost.
func each(ctx context.Context, d *drain, broken <-chan error, send func([]line) error) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-broken:
			return d.keep(nil, fmt.Errorf("the drain hung up: %w", err))
		case <-d.queue.ready:
		}
		batch := d.queue.take(drainQueue)
		if len(batch) == 0 {
			continue
		}
		select {
		case err := <-broken:
			return d.keep(batch, fmt.Errorf("the drain hung up: %w", err))
		default:
		}
		if err := send(batch); err != nil {
			return d.keep(batch, err)
		}
		for _, l := range batch {
			d.hold(l, -1)
		}
		d.queue.note(batch, time.Now())
	}
}

// keep puts lines that may not have arrived back.
func (d *drain) keep(batch []line, err error) error {
	sent := d.queue.unsure(time.Now())
	for _, l := range sent {
		d.hold(l, 1)
	}
	d.queue.putBack(append(sent, batch...))
	return err
}

// frame makes the bytes of a batch, and says first how many lines were lost.
func frame(d *drain, batch []line) (b []byte) {
	if n := d.lost.Swap(0); n > 0 {
		gap := line{at: batch[0].at, source: "LGR", instance: "0", text: fmt.Appendf(nil, "%d messages were dropped because the drain is slow", n)}
		b = appendFrame(b, d.Drain, gap)
	}
	for _, l := range batch {
		b = appendFrame(b, d.Drain, l)
	}
	return b
}

// post sends each message as the body of a request.
func (c *Cache) post(u *url.URL) sender {
	client := c.guard.Client(drainWrite)
	return func(ctx context.Context, d *drain) error {
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-d.queue.ready:
			}
			for _, l := range d.queue.take(1) {
				again, err := postOne(ctx, client, u, d.Drain, l)
				if again {
					d.queue.putBack([]line{l})
				} else {
					d.hold(l, -1)
				}
				if err != nil {
					return err
				}
			}
		}
	}
}

// postOne tells whether a message that was not taken may be another time.
func postOne(ctx context.Context, client *http.Client, u *url.URL, d Drain, l line) (again bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(string(message(d, l))))
	if err != nil {
		return false, err
	}
	r.Header.Set("Content-Type", "text/plain")
	answer, err := client.Do(r)
	if err != nil {
		return true, err
	}
	defer answer.Body.Close() // read below, so the connection is used again
	if _, err := io.CopyN(io.Discard, answer.Body, 64<<10); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if answer.StatusCode/100 != 2 {
		busy := answer.StatusCode/100 == 5 || answer.StatusCode == http.StatusTooManyRequests
		return busy, fmt.Errorf("the drain answered %s", answer.Status)
	}
	return false, nil
}
