package router

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// h2App speaks HTTP/2 in the clear, and only that.
func h2App(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// h2Client speaks HTTP/2 with prior knowledge.
func (l *lab) h2Client() *http.Client {
	tr := l.browser().Transport.(*http.Transport)
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: tr, Timeout: patience}
}

func (l *lab) routeH2(address string) {
	l.apply(Change{Put: []Route{{Key: Key{Host: "app.test"}, Endpoints: []Endpoint{{Instance: "i-2", App: "app-guid", Address: address, Protocol: HTTP2}}}}})
}

func talk(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", "Grpc-Status")
	w.Header().Set("X-Proto", r.Proto)
	w.Header().Set("X-Seen", strings.Join([]string{r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Cf-Instanceid"), r.Host, r.RequestURI}, " "))
	http.NewResponseController(w).EnableFullDuplex()
	w.WriteHeader(200)
	w.(http.Flusher).Flush()
	b := make([]byte, 64)
	for {
		n, err := r.Body.Read(b)
		w.Write(bytes.ToUpper(b[:n]))
		w.(http.Flusher).Flush()
		if err != nil {
			break
		}
	}
	w.Header().Set("Grpc-Status", "7")
}

// TestConversations: every mix of protocols carries a talk in both directions
// and the trailer at its end, as gRPC needs it.
func TestConversations(t *testing.T) {
	l := newLab(t)
	for _, tt := range []struct {
		name, proto string
		client      *http.Client
		h2          bool
	}{
		{"1 to 1", "HTTP/1.1", l.browser(), false},
		{"1 to 2", "HTTP/2.0", l.browser(), true},
		{"2 to 1", "HTTP/1.1", l.h2Client(), false},
		{"2 to 2", "HTTP/2.0", l.h2Client(), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			instance := "i-0"
			if tt.h2 {
				l.routeH2(h2App(t, talk))
				instance = "i-2"
			} else {
				l.route(goApp(t, talk))
			}
			out, in := io.Pipe()
			p, err := tt.client.Post("http://app.test/talk?x=%2F", "application/grpc", out)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := p.Header.Get("X-Seen"), "127.0.0.1 "+instance+" app.test /talk?x=%2F"; got != want || p.Header.Get("X-Proto") != tt.proto {
				t.Errorf("%q %q, want %q", p.Header.Get("X-Proto"), got, want)
			}
			b := make([]byte, 3)
			for _, word := range []string{"one", "two"} {
				io.WriteString(in, word)
				if _, err := io.ReadFull(p.Body, b); err != nil || string(b) != strings.ToUpper(word) {
					t.Fatalf("%q %v", b, err)
				}
			}
			in.Close()
			if rest, err := io.ReadAll(p.Body); len(rest) > 0 || err != nil {
				t.Errorf("%q %v", rest, err)
			}
			if p.Trailer.Get("Grpc-Status") != "7" || p.Header.Get("X-Vcap-Request-Id") == "" {
				t.Errorf("trailer %v, header %v", p.Trailer, p.Header)
			}
			l.lines.wait(t, p.Header.Get("X-Vcap-Request-Id"))
		})
	}
}

func TestBridgeErrors(t *testing.T) {
	l := newLab(t)
	client := l.h2Client()
	l.route(deadAddress(t))
	l.apply(Change{Put: []Route{{Key: Key{Host: "empty.test"}}}})
	for host, want := range map[string]string{
		"nobody.test": "404 unknown_route", "empty.test": "503 no_endpoints", "app.test": "502 endpoint_failure (connection refused or unreachable)",
	} {
		p, err := client.Get("http://" + host + "/")
		if err != nil {
			t.Fatal(err)
		}
		p.Body.Close()
		if got := fmt.Sprint(p.StatusCode, " ", p.Header.Get("X-Cf-Routererror")); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
	l.route(deadAddress(t), goApp(t, echo))
	for range 4 {
		p, err := client.Post("http://app.test/", "", strings.NewReader("x"))
		if err != nil || p.StatusCode != 200 {
			t.Fatalf("%v %v", p, err)
		}
		p.Body.Close()
	}
	for _, e := range l.table.endpoints() {
		eventually(t, "requests are counted out", func() bool { return e.active.Load() == 0 })
	}
}

// TestTLS: HTTP/1.1 and HTTP/2 by ALPN, and the app is told.
func TestTLS(t *testing.T) {
	ca, err := NewDevelopmentCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, func(c *Config) { c.TLS = ca.Config() })
	l.route(goApp(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Header.Get("X-Forwarded-Proto")) }))
	ln := listen(t)
	go l.s.ServeTLS(ln)
	for _, h2 := range []bool{false, true} {
		tr := &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: ca.Pool(), ServerName: "app.test"},
			ForceAttemptHTTP2: h2,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
			},
		}
		defer tr.CloseIdleConnections()
		p, err := (&http.Client{Transport: tr, Timeout: patience}).Get("https://app.test/")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(p.Body)
		if string(body) != "https" || (p.ProtoMajor == 2) != h2 {
			t.Errorf("%s %q", p.Proto, body)
		}
	}
}

// TestWebSocket, to an app of either protocol's way in.
func TestWebSocket(t *testing.T) {
	l := newLab(t)
	l.route(goApp(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(1 << 20)
		for {
			kind, b, err := c.Read(r.Context())
			if err != nil {
				return
			}
			c.Write(r.Context(), kind, bytes.ToUpper(b))
		}
	}))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, p, err := websocket.Dial(ctx, "ws://app.test/", &websocket.DialOptions{HTTPClient: l.browser()})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(1 << 20)
	for _, size := range []int{1, 100, 70_000, 500_000} {
		if err := c.Write(ctx, websocket.MessageText, bytes.Repeat([]byte{'a'}, size)); err != nil {
			t.Fatal(err)
		}
		if _, b, err := c.Read(ctx); err != nil || !bytes.Equal(b, bytes.Repeat([]byte{'A'}, size)) {
			t.Fatalf("%d bytes of %d, %v", len(b), size, err)
		}
	}
	c.Close(websocket.StatusNormalClosure, "")
	if line := l.lines.wait(t, p.Header.Get("X-Vcap-Request-Id")); !strings.Contains(line, `HTTP/1.1" 101 `) {
		t.Error(line)
	}
	eventually(t, "the tunnel is counted out", func() bool { return l.table.endpoints()[0].active.Load() == 0 })
}

func TestUpgradeToH2CIsNotPassedOn(t *testing.T) {
	l := newLab(t)
	l.route(goApp(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header["Upgrade"], r.Header["Connection"], r.Header["Http2-Settings"])
	}))
	p, body := l.do("GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n")
	if p.StatusCode != 200 || body != "[] [] []" {
		t.Errorf("%d %s", p.StatusCode, body)
	}
}

func TestStickySessions(t *testing.T) {
	for name, client := range map[string]func(*lab) *http.Client{"1": (*lab).browser, "2": (*lab).h2Client} {
		t.Run("HTTP/"+name, func(t *testing.T) {
			l := newLab(t)
			app := func(name string) string {
				return goApp(t, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/login" {
						w.Header().Add("Set-Cookie", "JSESSIONID=s; Path=/x; Max-Age=60; Secure; SameSite=Lax; Domain=test")
					}
					io.WriteString(w, name)
				})
			}
			a, b := app("i-0"), app("i-1")
			l.route(a, b)
			ask := func(path, cookie string) (string, string) {
				r, _ := http.NewRequest("GET", "http://app.test"+path, nil)
				r.Header.Set("Cookie", cookie)
				p, err := client(l).Do(r)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(p.Body)
				p.Body.Close()
				for _, c := range p.Header["Set-Cookie"] {
					if strings.HasPrefix(c, vcapID) {
						return string(body), c
					}
				}
				return string(body), ""
			}
			who, cookie := ask("/login", "")
			if want := "__VCAP_ID__=" + who + "; Path=/x; Max-Age=60; SameSite=Lax; HttpOnly; Secure"; cookie != want {
				t.Errorf("%q, want %q", cookie, want)
			}
			for range 6 {
				if got, set := ask("/", "a=b; JSESSIONID=s; __VCAP_ID__="+who); got != who || set != "" {
					t.Fatalf("session of %s went to %s, cookie %q", who, got, set)
				}
			}
			if first, _ := ask("/", "__VCAP_ID__="+who); first == who {
				if second, _ := ask("/", "__VCAP_ID__="+who); second == who {
					t.Error("sticky without a session")
				}
			}
			if got, set := ask("/", "JSESSIONID=s; __VCAP_ID__=gone"); !strings.HasPrefix(set, "__VCAP_ID__="+got+";") {
				t.Errorf("moved to %s with cookie %q", got, set)
			}
		})
	}
}

// TestBridgeEndsWhatStalls: a request that neither sends nor reads on is cut off
// on the bridge too, where one connection has many.
func TestBridgeEndsWhatStalls(t *testing.T) {
	const idle = 2 * tick
	ended := make(chan error, 1)
	l := newLab(t, func(c *Config) {
		c.BodyIdle = idle
		c.House, c.Own = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			ended <- err
		}), map[string]bool{"house.test": true}
		c.Ours = func(string) bool { return false }
	})
	l.route(goApp(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow": // longer than a stalled body may take, in pieces and in silence
			for range 3 {
				io.WriteString(w, "x")
				w.(http.Flusher).Flush()
				<-time.After(idle * 3 / 2)
			}
		case "/endless":
			var err error
			for b := make([]byte, 64<<10); err == nil; {
				_, err = w.Write(b)
			}
			ended <- err
		default:
			_, err := io.ReadAll(r.Body)
			ended <- err
		}
	}))
	client := l.h2Client()
	client.Timeout = 0 // it must be the router that ends it
	wait := func(t *testing.T) error {
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			t.Fatal("it goes on and on")
			return nil
		}
	}
	t.Run("request", func(t *testing.T) {
		out, in := io.Pipe()
		defer in.Close()
		go io.WriteString(in, "begun")
		go client.Post("http://app.test/", "text/plain", out)
		if err := wait(t); err == nil {
			t.Error("the app took a body that stalled for complete")
		}
	})
	t.Run("request to the house", func(t *testing.T) {
		out, in := io.Pipe()
		defer in.Close()
		go io.WriteString(in, "begun")
		go client.Post("http://house.test/", "text/plain", out)
		if err := wait(t); err == nil {
			t.Error("the house took a body that stalled for complete")
		}
	})
	t.Run("answer that nobody reads", func(t *testing.T) {
		p, err := client.Get("http://app.test/endless")
		if err != nil {
			t.Fatal(err)
		}
		defer p.Body.Close()
		if err := wait(t); err == nil {
			t.Error("no end")
		}
	})
	t.Run("answer with pauses", func(t *testing.T) {
		p, err := client.Get("http://app.test/slow")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(p.Body); string(b) != "xxx" || err != nil {
			t.Errorf("%q, %v: an answer may pause on the app's side", b, err)
		}
	})
}
