package router

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience bounds every wait of these tests; a passing run never needs it.
const patience = 2 * time.Minute

// lab is a router on loopback with a table of its own.
type lab struct {
	t     *testing.T
	s     *Server
	table *Table
	addr  string
	lines logLines
}

func newLab(t *testing.T, change ...func(*Config)) *lab {
	l := &lab{t: t, table: NewTable()}
	cfg := Config{Table: l.table, AccessLog: &l.lines}
	for _, f := range change {
		f(&cfg)
	}
	l.s = New(cfg)
	ln := listen(t)
	l.addr = ln.Addr().String()
	done := make(chan error, 1)
	go func() { done <- l.s.Serve(ln) }()
	t.Cleanup(func() {
		l.s.Close()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// route replaces the route of app.test by these addresses, named i-0, i-1 ...
func (l *lab) route(addresses ...string) {
	l.t.Helper()
	r := Route{Key: Key{Host: "app.test"}}
	for i, a := range addresses {
		r.Endpoints = append(r.Endpoints, Endpoint{Instance: fmt.Sprint("i-", i), Index: i, App: "app-guid", Process: "process-guid", Address: a})
	}
	l.apply(Change{Put: []Route{r}})
}

func (l *lab) apply(c Change) {
	l.t.Helper()
	if err := l.table.Apply(c); err != nil {
		l.t.Fatal(err)
	}
}

// goApp is a net/http server; its address is returned.
func goApp(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// rawApp runs f for each connection, for apps that net/http would not be.
func rawApp(t *testing.T, f func(net.Conn, *bufio.Reader)) string {
	ln := listen(t)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				f(c, bufio.NewReader(c))
			}()
		}
	}()
	return ln.Addr().String()
}

// deadAddress refuses connections.
func deadAddress(t *testing.T) string {
	ln := listen(t)
	ln.Close()
	return ln.Addr().String()
}

// readRequest reads one request with its body, as an app would.
func readRequest(br *bufio.Reader) (*http.Request, string, error) {
	q, err := http.ReadRequest(br)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(q.Body)
	return q, string(body), err
}

// wire is a client that writes bytes as it likes.
type wire struct {
	t *testing.T
	net.Conn
	br *bufio.Reader
}

func (l *lab) dial() *wire {
	l.t.Helper()
	c, err := net.Dial("tcp", l.addr)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &wire{l.t, c, bufio.NewReader(c)}
}

func (w *wire) send(s string) {
	w.t.Helper()
	if _, err := io.WriteString(w.Conn, s); err != nil {
		w.t.Fatal(err)
	}
}

// answer reads one answer and its whole body.
func (w *wire) answer(method string) (*http.Response, string) {
	w.t.Helper()
	p, err := http.ReadResponse(w.br, &http.Request{Method: method})
	if err != nil {
		w.t.Fatalf("answer: %v", err)
	}
	body, err := io.ReadAll(p.Body)
	if err != nil {
		w.t.Fatalf("body of answer: %v", err)
	}
	return p, string(body)
}

func (w *wire) wantClosed() {
	w.t.Helper()
	if n, err := io.Copy(io.Discard, w.br); n > 0 || errors.Is(err, context.DeadlineExceeded) {
		w.t.Errorf("connection still gives %d bytes, %v", n, err)
	}
}

const get = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"

// do sends one raw request on a connection of its own.
func (l *lab) do(raw string) (*http.Response, string) {
	l.t.Helper()
	w := l.dial()
	w.send(raw)
	method, _, _ := strings.Cut(raw, " ")
	return w.answer(method)
}

// browser is net/http's client, sent to the router whatever the URL's host.
func (l *lab) browser() *http.Client {
	tr := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.addr)
	}}
	l.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// crowd is browsers that GET the URL 2400 times, each time with success. With the
// 500th answer one of them calls then.
func (l *lab) crowd(url string, then func()) *sync.WaitGroup {
	var load sync.WaitGroup
	var sent atomic.Int64
	for range 8 {
		load.Go(func() {
			client := l.browser()
			for range 300 {
				p, err := client.Get(url)
				if err != nil {
					l.t.Error(err)
					return
				}
				io.Copy(io.Discard, p.Body)
				p.Body.Close()
				if p.StatusCode != 200 {
					l.t.Errorf("%d %s", p.StatusCode, p.Header.Get("X-Cf-Routererror"))
					return
				}
				if sent.Add(1) == 500 {
					then()
				}
			}
		})
	}
	return &load
}

// logLines collects the access log.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) Request(app string, index int, _ time.Time, line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf("%s/%d %s", app, index, line))
}

// wait returns the first line that contains s.
func (l *logLines) wait(t *testing.T, s string) string {
	t.Helper()
	var found string
	eventually(t, "log line with "+s, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, line := range l.lines {
			if strings.Contains(line, s) {
				found = line
				return true
			}
		}
		return false
	})
	return found
}

// eventually polls a condition that another goroutine brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("never: %s", what)
		}
	}
}

// echo reads everything first: net/http drops the rest of a request when its
// answer begins.
func echo(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	w.Write(b)
}
