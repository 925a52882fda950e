package logcache

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
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
	drainQueue  = 1024     // lines
	drainBytes  = 1 << 20  // that wait for one drain
	allBytes    = 64 << 20 // that wait for any
	lineBytes   = 128      // of a line besides its text
	drainDial   = 10 * time.Second
	drainWrite  = 10 * time.Second
	firstPause  = time.Second // after a failure; doubled up to longestPause
	longestWait = time.Minute
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
	queue  chan line
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
	if d.hold(l, 1) {
		select {
		case d.queue <- l:
			return true
		default:
		}
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

// SetGuard sets where drains may connect to. Call it before SetDrains.
func (c *Cache) SetGuard(g egress.Guard) { c.guard = g }

// SetDrains makes these the drains: what is not there yet starts, what is no
// longer wanted ends, the others go on undisturbed.
func (c *Cache) SetDrains(wanted []Drain) {
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
			next[w.App] = append(next[w.App], c.startDrain(w))
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

func (c *Cache) startDrain(w Drain) *drain {
	ctx, cancel := context.WithCancel(context.Background())
	d := &drain{Drain: w, queue: make(chan line, drainQueue), all: &c.drains, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(d.ended)
		c.forward(ctx, d)
	}()
	return d
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
		return c.stream(address, &tls.Config{ServerName: u.Hostname(), RootCAs: c.roots, MinVersion: tls.VersionTLS12}), nil
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
		conn, err := c.guard.Dialer(drainDial).DialContext(dial, "tcp", address)
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
		return each(ctx, d, closed, func(messages []byte) error {
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

// each takes lines from the queue, first saying how many were lost, and sends
// those that are there together. broken ends it while there is nothing to send.
func each(ctx context.Context, d *drain, broken <-chan error, send func([]byte) error) error {
	for {
		var batch []byte
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-broken:
			return fmt.Errorf("the drain hung up: %w", err)
		case l := <-d.queue:
			d.hold(l, -1)
			if n := d.lost.Swap(0); n > 0 {
				gap := line{at: l.at, source: "LGR", instance: "0", text: fmt.Appendf(nil, "%d messages were dropped because the drain is slow", n)}
				batch = appendFrame(batch, d.Drain, gap)
			}
			batch = appendFrame(batch, d.Drain, l)
		}
		for more := true; more && len(batch) < 64<<10; {
			select {
			case l := <-d.queue:
				d.hold(l, -1)
				batch = appendFrame(batch, d.Drain, l)
			default:
				more = false
			}
		}
		if err := send(batch); err != nil {
			return err
		}
	}
}

// post sends each message as the body of a request.
func (c *Cache) post(u *url.URL) sender {
	client := c.guard.Client(drainWrite)
	if t, ok := client.Transport.(*http.Transport); ok {
		t.TLSClientConfig = &tls.Config{RootCAs: c.roots, MinVersion: tls.VersionTLS12}
	}
	return func(ctx context.Context, d *drain) error {
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case l := <-d.queue:
				d.hold(l, -1)
				if err := postOne(ctx, client, u, d.Drain, l); err != nil {
					return err
				}
			}
		}
	}
}

func postOne(ctx context.Context, client *http.Client, u *url.URL, d Drain, l line) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(string(message(d, l))))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "text/plain")
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close() // read below, so the connection is used again
	if _, err := io.CopyN(io.Discard, answer.Body, 64<<10); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("the drain answered %s", answer.Status)
	}
	return nil
}
