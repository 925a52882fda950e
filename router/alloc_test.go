package router

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// echoForever answers each request head with the same bytes and allocates
// nothing, so that what is counted is the router's.
func echoForever(c net.Conn, br *bufio.Reader) {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello")
	for {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return
		}
		if len(line) == 2 {
			c.Write(answer)
		}
	}
}

func TestARequestDoesNotAllocate(t *testing.T) {
	if raceDetector {
		t.Skip("needs a build without the race detector, under which sync.Pool forgets on purpose")
	}
	l := newLab(t, func(c *Config) { c.AccessLog = nil })
	l.route(rawApp(t, echoForever))
	w := l.dial()
	request := []byte("GET / HTTP/1.1\r\nHost: app.test\r\nUser-Agent: x\r\nCookie: a=b\r\n\r\n")
	b := make([]byte, 4096)
	once := func() {
		w.Write(request)
		for n := 0; !bytes.HasSuffix(b[:n], []byte("hello")); {
			m, err := w.Conn.Read(b[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += m
		}
	}
	for range 10 {
		once()
	}
	if n := testing.AllocsPerRun(500, once); n >= 1 {
		t.Errorf("%v allocations for one request", n)
	}
}

func TestMetrics(t *testing.T) {
	l := newLab(t)
	l.route(rawApp(t, echoForever))
	l.do(get)
	l.do("GET / HTTP/1.1\r\nHost: nobody\r\n\r\n")
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(l.s)
	want := []string{`dew_router_requests_total{status="2xx"} 1`, `dew_router_requests_total{status="4xx"} 1`, "dew_router_response_seconds_count 2", `le="+Inf"} 2`, "# TYPE dew_router_connections gauge",
		`dew_app_requests_total{app_guid="app-guid",index="0",instance="i-0",status="2xx"} 1`}
	eventually(t, "both requests are counted", func() bool {
		w := httptest.NewRecorder()
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != 200 {
			t.Fatal(w.Body)
		}
		for _, s := range want {
			if !strings.Contains(w.Body.String(), s) {
				return false
			}
		}
		return true
	})
}

func BenchmarkRequest(b *testing.B) {
	table := NewTable()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go echoForever(c, bufio.NewReader(c))
		}
	}()
	table.Apply(Change{Put: []Route{{Key: Key{Host: "app.test"}, Endpoints: []Endpoint{{Instance: "i", Address: ln.Addr().String()}}}}})
	s := New(Config{Table: table})
	defer s.Close()
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go s.Serve(front)
	c, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		io.WriteString(c, get)
		for n := 0; !bytes.HasSuffix(buf[:n], []byte("hello")); {
			m, err := c.Read(buf[n:])
			if err != nil {
				b.Fatal(err)
			}
			n += m
		}
	}
}
