package router

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestDeadEndpointsCostNothing: what was not sent is sent elsewhere, whatever the method.
func TestDeadEndpointsCostNothing(t *testing.T) {
	l := newLab(t)
	l.route(deadAddress(t), deadAddress(t), goApp(t, echo))
	for i := range 20 {
		body := strings.Repeat("x", i*1000)
		p, got := l.do(fmt.Sprintf("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		if p.StatusCode != 200 || got != body {
			t.Fatalf("request %d: %d, %d bytes", i, p.StatusCode, len(got))
		}
	}
	if n := l.s.metrics.dialErrors.Load(); n > 2 {
		t.Errorf("%d dials of dead endpoints: they were not avoided", n)
	}
}

// TestLostAnswers: an app that dies with the request is only asked again when
// that is harmless.
func TestLostAnswers(t *testing.T) {
	var asked atomic.Int64
	dies := rawApp(t, func(c net.Conn, br *bufio.Reader) {
		readRequest(br)
		asked.Add(1)
	})
	l := newLab(t)
	good := goApp(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	l.route(good)
	l.do(get) // others like it have been answered
	l.route(dies, good)
	for range 6 {
		if p, body := l.do(get); p.StatusCode != 200 || body != "ok" {
			t.Fatalf("GET: %d %q", p.StatusCode, body)
		}
	}
	l.route(dies)
	asked.Store(0)
	p, _ := l.do("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 2\r\n\r\nab")
	if p.StatusCode != 502 || p.Header.Get("X-Cf-Routererror") != "endpoint_failure (EOF)" || asked.Load() != 1 {
		t.Errorf("POST: %d %q, asked %d times", p.StatusCode, p.Header.Get("X-Cf-Routererror"), asked.Load())
	}
	p, _ = l.do("POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
	if p.StatusCode != 502 || asked.Load() != 2 {
		t.Errorf("chunked POST: %d, asked %d times", p.StatusCode, asked.Load())
	}
}

// TestConnectionsThatTheAppClosed: the app promises to keep a connection and
// closes it; neither GET nor POST suffers.
func TestConnectionsThatTheAppClosed(t *testing.T) {
	closed := make(chan bool, 100)
	l := newLab(t)
	l.route(rawApp(t, func(c net.Conn, br *bufio.Reader) {
		readRequest(br)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		c.Close()
		closed <- true
	}))
	w := l.dial()
	for range 10 {
		for _, method := range []string{"POST", "GET"} {
			w.send(method + " / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1\r\n\r\nx")
			if p, body := w.answer(method); p.StatusCode != 200 || body != "ok" {
				t.Fatalf("%s: %d %q", method, p.StatusCode, body)
			}
			<-closed
		}
	}
}

func TestBadAnswersFromTheApp(t *testing.T) {
	for _, tt := range []struct{ answer, reason string }{
		{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "malformed or repeated Content-Length"},
		{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "ambiguous message length"},
		{"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "line does not end in CRLF"},
		{"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "upgrade that nobody asked for"},
		{"SSH-2.0-x\r\n\r\n", "malformed status line"},
		{strings.Repeat("HTTP/1.1 103 Early\r\n\r\n", maxInterim+1), "too many interim answers"},
	} {
		l := newLab(t)
		l.route(rawApp(t, func(c net.Conn, br *bufio.Reader) {
			readRequest(br)
			io.WriteString(c, tt.answer)
			io.Copy(io.Discard, br)
		}))
		w := l.dial()
		w.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 0\r\n\r\n")
		p, _ := w.answer("POST")
		for p.StatusCode == 103 {
			p, _ = w.answer("POST")
		}
		if p.StatusCode != 502 || !strings.Contains(p.Header.Get("X-Cf-Routererror"), tt.reason) {
			t.Errorf("%.30q: %d %q", tt.answer, p.StatusCode, p.Header.Get("X-Cf-Routererror"))
		}
	}
}

// TestSurplusBytesPoisonAConnection: what an app sends behind its answer must
// not answer somebody else.
func TestSurplusBytesPoisonAConnection(t *testing.T) {
	l := newLab(t)
	l.route(rawApp(t, func(c net.Conn, br *bufio.Reader) {
		for {
			if _, _, err := readRequest(br); err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
		}
	}))
	w := l.dial()
	for range 5 {
		w.send(get)
		if _, body := w.answer("GET"); body != "ok" {
			t.Fatalf("%q", body)
		}
	}
}

// TestCutAnswersLookCut: the client can tell that a body is not complete.
func TestCutAnswersLookCut(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalfX",
		"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhalf",
	} {
		l := newLab(t)
		l.route(rawApp(t, func(c net.Conn, br *bufio.Reader) {
			readRequest(br)
			io.WriteString(c, answer)
		}))
		w := l.dial()
		w.send(get)
		p, err := http.ReadResponse(w.br, nil)
		if err != nil {
			continue // reset before the head was read: cut enough
		}
		if b, err := io.ReadAll(p.Body); err == nil {
			t.Errorf("%q arrived as a complete body %q", answer, b)
		}
	}
}

// TestCutAnswerUnderTLS: to a client of HTTP/1.0 only the end of the
// connection marks the end of the body, and this one is no orderly end.
func TestCutAnswerUnderTLS(t *testing.T) {
	ca, err := NewDevelopmentCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, func(c *Config) { c.TLS = ca.Config() })
	l.route(rawApp(t, func(c net.Conn, br *bufio.Reader) {
		readRequest(br)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
	}))
	ln := listen(t)
	go l.s.ServeTLS(ln)
	c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: ca.Pool(), ServerName: "app.test"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	io.WriteString(c, "GET / HTTP/1.0\r\nHost: app.test\r\n\r\n")
	if b, err := io.ReadAll(c); err == nil {
		t.Errorf("%q ended in good order", b)
	}
}

func TestTimeouts(t *testing.T) {
	hang := rawApp(t, func(c net.Conn, br *bufio.Reader) {
		q, _, err := readRequest(br)
		if err == nil && q.URL.Path == "/body" {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
		}
		io.Copy(io.Discard, br)
	})
	l := newLab(t, func(c *Config) { c.HeaderTimeout, c.AnswerTimeout, c.BodyIdle = tick, tick, tick; c.IdleTimeout = tick })
	l.route(hang)
	t.Run("answer", func(t *testing.T) {
		p, _ := l.do(get)
		if p.StatusCode != 504 || p.Header.Get("X-Cf-Routererror") != "endpoint_failure (timeout)" {
			t.Errorf("%d %q", p.StatusCode, p.Header.Get("X-Cf-Routererror"))
		}
	})
	t.Run("head", func(t *testing.T) {
		p, _ := l.do("GET / HTTP/1.1\r\nHost: app.test\r\n")
		if p.StatusCode != 408 || !p.Close {
			t.Errorf("%d closes %v", p.StatusCode, p.Close)
		}
	})
	t.Run("idle", func(t *testing.T) { l.dial().wantClosed() })
	t.Run("body of the answer", func(t *testing.T) {
		w := l.dial()
		w.send("GET /body HTTP/1.1\r\nHost: app.test\r\n\r\n")
		p, err := http.ReadResponse(w.br, nil)
		if err == nil {
			_, err = io.ReadAll(p.Body)
		}
		if err == nil {
			t.Error("a stalled body arrived as a complete one")
		}
	})
	t.Run("body of the request", func(t *testing.T) {
		w := l.dial()
		w.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\nab")
		w.wantGoneOr504()
	})
}

func (w *wire) wantGoneOr504() {
	w.t.Helper()
	p, err := http.ReadResponse(w.br, nil)
	if err == nil && p.StatusCode != 504 {
		w.t.Errorf("%d", p.StatusCode)
	}
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		w.t.Error("the connection stayed open")
	}
}

// TestDrippingHead: a byte now and then does not buy time.
func TestDrippingHead(t *testing.T) {
	l := newLab(t, func(c *Config) { c.HeaderTimeout = 2 * tick })
	w := l.dial()
	drip := time.NewTicker(tick / 5)
	defer drip.Stop()
	gone := make(chan bool)
	go func() {
		io.Copy(io.Discard, w.br)
		close(gone)
	}()
	io.WriteString(w, "GET / HTTP/1.1\r\n")
	for end := time.After(patience); ; {
		select {
		case <-gone:
			return
		case <-end:
			t.Fatal("a head may drip for ever")
		case <-drip.C:
			io.WriteString(w, "A: b\r\n")
		}
	}
}

func TestHeadLimit(t *testing.T) {
	l := newLab(t, func(c *Config) { c.MaxHeader = 64 << 10 })
	l.route(goApp(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, len(r.Header.Get("A"))) }))
	if _, body := l.do("GET / HTTP/1.1\r\nHost: app.test\r\nA: " + strings.Repeat("x", 60<<10) + "\r\n\r\n"); body != fmt.Sprint(60<<10) {
		t.Errorf("60 KiB: %q", body)
	}
	if p, _ := l.do("GET / HTTP/1.1\r\nHost: app.test\r\nA: " + strings.Repeat("x", 70<<10) + "\r\n\r\n"); p.StatusCode != 431 {
		t.Errorf("70 KiB: %d", p.StatusCode)
	}
}

func TestConnectionLimit(t *testing.T) {
	l := newLab(t, func(c *Config) { c.MaxConns = 2 })
	a, b := l.dial(), l.dial()
	for _, w := range []*wire{a, b} {
		w.send("GET / HTTP/1.1\r\nHost: nobody\r\n\r\n")
		w.answer("GET")
	}
	l.dial().wantClosed()
	a.Close()
	eventually(t, "the place of a closed connection is free", func() bool { return l.s.metrics.conns.Load() < 2 })
	w := l.dial()
	w.send("GET / HTTP/1.1\r\nHost: nobody\r\n\r\n")
	w.answer("GET")
}

// TestClientThatHasGone: the app learns it, the log says 499. One that only
// closed its side gets its answer.
func TestClientThatHasGone(t *testing.T) {
	told, entered := make(chan bool, 1), make(chan bool)
	l := newLab(t, func(c *Config) { c.HalfClosed = time.Minute })
	l.route(goApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/quick" {
			io.WriteString(w, "ok")
			return
		}
		entered <- true
		<-r.Context().Done()
		told <- true
	}))
	w := l.dial()
	w.send(get)
	<-entered
	w.Conn.(*net.TCPConn).SetLinger(0)
	w.Close()
	select {
	case <-told:
	case <-time.After(patience):
		t.Fatal("the app was never told")
	}
	l.lines.wait(t, `HTTP/1.1" 499 `)

	w = l.dial()
	w.send("GET /quick HTTP/1.1\r\nHost: app.test\r\n\r\n")
	w.Conn.(*net.TCPConn).CloseWrite()
	if _, body := w.answer("GET"); body != "ok" {
		t.Errorf("half-closed client: %q", body)
	}
}

// TestUploadThatBreaksOff must not reach the app as a complete body.
func TestUploadThatBreaksOff(t *testing.T) {
	for _, framing := range []string{"Content-Length: 100", "Transfer-Encoding: chunked"} {
		result, begun := make(chan error, 1), make(chan bool, 1)
		l := newLab(t)
		l.route(goApp(t, func(w http.ResponseWriter, r *http.Request) {
			begun <- true
			_, err := io.ReadAll(r.Body)
			result <- err
		}))
		w := l.dial()
		w.send("POST / HTTP/1.1\r\nHost: app.test\r\n" + framing + "\r\n\r\n5\r\nhello\r\n")
		<-begun
		w.Close()
		if err := <-result; err == nil {
			t.Errorf("%s: the app took a broken body for complete", framing)
		}
	}
}

// TestRollingChange replaces the instances under load, one by one, as a
// deployment does: new one in, old one out, wait until it is drained, kill it.
func TestRollingChange(t *testing.T) {
	l := newLab(t)
	start := func(i int) (Endpoint, *http.Server) {
		ln := listen(t)
		s := &http.Server{Handler: http.HandlerFunc(echo)}
		go s.Serve(ln)
		return Endpoint{Instance: fmt.Sprint("gen-", i), Address: ln.Addr().String()}, s
	}
	key := Key{Host: "app.test"}
	e, s := start(0)
	l.apply(Change{Put: []Route{{Key: key, Endpoints: []Endpoint{e}}}})
	stop, sent := make(chan bool), atomic.Int64{}
	var load sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); load.Wait() })
	defer end() // also when the test gives up: its goroutines are not other tests'
	for i := range 8 {
		load.Go(func() {
			client := l.browser()
			body := strings.Repeat("x", 100<<i) // up to 12 KiB
			for {
				select {
				case <-stop:
					return
				default:
				}
				p, err := client.Post("http://app.test/", "", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(p.Body)
				p.Body.Close()
				if err != nil || p.StatusCode != 200 || len(got) != len(body) {
					t.Errorf("%d, %d bytes, %v", p.StatusCode, len(got), err)
					return
				}
				sent.Add(1)
			}
		})
	}
	for i := range 15 {
		had := sent.Load()
		e2, s2 := start(i + 1)
		l.apply(Change{Put: []Route{{Key: key, Endpoints: []Endpoint{e, e2}}}})
		eventually(t, "requests flow", func() bool { return sent.Load() > had+100 || t.Failed() })
		l.apply(Change{Put: []Route{{Key: key, Endpoints: []Endpoint{e2}}}})
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := l.table.Drained(ctx, e.Instance); err != nil {
			t.Fatal(err)
		}
		cancel()
		s.Close() // kills what is still there: nothing must be
		e, s = e2, s2
	}
	end()
	s.Close()
	if sent.Load() < 1000 {
		t.Errorf("only %d requests", sent.Load())
	}
}

// TestCrashOfOneInstance: GETs survive it, all of them.
func TestCrashOfOneInstance(t *testing.T) {
	l := newLab(t)
	ok := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }
	ln := listen(t)
	crash := &http.Server{Handler: http.HandlerFunc(ok)}
	go crash.Serve(ln)
	l.route(ln.Addr().String(), goApp(t, ok))
	l.crowd("http://app.test/", func() { crash.Close() }).Wait()
}

// TestShutdownUnderLoad: every request that was sent is answered.
func TestShutdownUnderLoad(t *testing.T) {
	l := newLab(t, func(c *Config) { c.DrainIdle = 100 * time.Millisecond })
	var begun, done atomic.Int64
	l.route(goApp(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
	idle := l.dial()
	idle.send(get)
	idle.answer("GET")
	var load sync.WaitGroup
	for range 8 {
		load.Go(func() {
			w := l.dial()
			for {
				if _, err := io.WriteString(w, get); err != nil {
					t.Errorf("write: %v", err)
				}
				begun.Add(1)
				p, err := http.ReadResponse(w.br, nil)
				if err != nil {
					t.Errorf("after %d requests: %v", begun.Load(), err)
					return
				}
				io.Copy(io.Discard, p.Body)
				done.Add(1)
				if p.Close {
					return
				}
			}
		})
	}
	eventually(t, "requests flow", func() bool { return done.Load() > 500 })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	load.Wait()
	idle.wantClosed()
	if begun.Load() != done.Load() {
		t.Errorf("%d requests, %d answers", begun.Load(), done.Load())
	}
}
