package router

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
)

func TestHeadersToTheAppAndBack(t *testing.T) {
	seen := make(chan *http.Request, 1)
	l := newLab(t)
	l.route(goApp(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		w.Header().Set("X-App", "yes")
		w.Header().Set("X-Vcap-Request-Id", "forged")
		w.Header().Set("X-Cf-Routererror", "forged")
	}))
	p, _ := l.do("GET /a/b?c=%20d HTTP/1.1\r\nHost: APP.test:80\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n" +
		"X-Forwarded-Proto: https\r\nX-Forwarded-Host: kept\r\nX-Forwarded-Client-Cert: forged\r\nX-Cf-Instanceid: forged\r\nX-Vcap-Request-Id: forged\r\n" +
		"Connection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nX-Request-Id: mine\r\n\r\n")
	r := <-seen
	id := r.Header.Get("X-Vcap-Request-Id")
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) {
		t.Errorf("request id %q", id)
	}
	for name, want := range map[string]string{
		"X-Forwarded-For": "1.1.1.1, 2.2.2.2, 127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "kept",
		"X-Forwarded-Client-Cert": "", "X-Cf-Instanceid": "i-0", "X-Cf-Instanceindex": "0", "X-Cf-Applicationid": "app-guid",
		"X-Mine": "", "Keep-Alive": "", "Te": "trailers", "X-Request-Id": "mine", "Via": "1.1 dew",
	} {
		if got := strings.Join(r.Header[name], "|"); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if r.Host != "APP.test:80" || r.RequestURI != "/a/b?c=%20d" || r.Header.Get("X-Request-Start") == "" {
		t.Errorf("host %q, target %q, start %q", r.Host, r.RequestURI, r.Header.Get("X-Request-Start"))
	}
	if p.Header.Get("X-Vcap-Request-Id") != id || p.Header.Get("X-App") != "yes" || p.Header.Get("X-Cf-Routererror") != "" {
		t.Errorf("answer: %v", p.Header)
	}
	line := l.lines.wait(t, id)
	want := regexp.MustCompile(`^app-guid/0 APP\.test:80 - \[[0-9T:.-]+Z\] "GET /a/b\?c=%20d HTTP/1\.1" 200 0 0 "-" "-" "127\.0\.0\.1:\d+" "127\.0\.0\.1:\d+" x_forwarded_for:"1\.1\.1\.1, 2\.2\.2\.2, 127\.0\.0\.1" x_forwarded_proto:"http" vcap_request_id:"` + id + `" response_time:\d+\.\d+ gorouter_time:\d+\.\d+ app_id:"app-guid" app_index:"0" instance_id:"i-0" x_cf_routererror:"-"$`)
	if !want.MatchString(line) {
		t.Errorf("access log: %s", line)
	}
}

func TestTrustedForwarding(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	l.route(goApp(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header["X-Forwarded-Proto"], r.Header["X-Forwarded-Client-Cert"])
	}))
	if _, body := l.do("GET / HTTP/1.1\r\nHost: app.test\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Proto: x\r\nX-Forwarded-Client-Cert: c\r\n\r\n"); body != "[https] [c]" {
		t.Error(body)
	}
}

func TestRouterErrors(t *testing.T) {
	l := newLab(t)
	l.route(goApp(t, func(http.ResponseWriter, *http.Request) {}))
	l.apply(Change{Put: []Route{{Key: Key{Host: "empty.test"}}, {Key: Key{Host: "dead.test"}, Endpoints: []Endpoint{{Instance: "x", Address: deadAddress(t)}}}}})
	tests := []struct {
		head, extra string
		status      int
		routerError string
		body        string
	}{
		{"Host: nobody.test", "", 404, "unknown_route", "404 Not Found: Requested route ('nobody.test') does not exist."},
		{"Host: empty.test:81", "", 503, "no_endpoints", "503 Service Unavailable: Requested route ('empty.test') has no available endpoints."},
		{"Host: dead.test", "", 502, "endpoint_failure (connection refused or unreachable)", "502 Bad Gateway: Registered endpoint failed to handle the request."},
		{"Host:", "", 400, "empty_host", ""},
		{"A: b", "", 400, "empty_host", ""},
		{"Host: app.test", "X-Cf-App-Instance: app-guid:0\r\n", 200, "", ""},
		{"Host: app.test", "X-Cf-App-Instance: app-guid:1\r\n", 400, "unknown_route", ""},
		{"Host: app.test", "X-Cf-App-Instance: app-guid\r\n", 400, "invalid_cf_app_instance_header", ""},
		{"Host: app.test", "X-Cf-App-Instance: app-guid:x\r\n", 400, "invalid_cf_app_instance_header", ""},
		{"Host: app.test", "X-Cf-Process-Instance: process-guid\r\n", 200, "", ""},
		{"Host: app.test", "X-Cf-Process-Instance: process-guid:7\r\n", 400, "unknown_route", ""},
		{"Host: app.test", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400, "", ""},
	}
	for _, tt := range tests {
		p, body := l.do("GET / HTTP/1.1\r\n" + tt.head + "\r\n" + tt.extra + "\r\n")
		if p.StatusCode != tt.status || p.Header.Get("X-Cf-Routererror") != tt.routerError || !strings.HasPrefix(body, tt.body) {
			t.Errorf("%s %s: %d %q %q", tt.head, tt.extra, p.StatusCode, p.Header.Get("X-Cf-Routererror"), body)
		}
		if tt.status >= 400 && p.Header.Get("Cache-Control") != "no-cache, no-store" {
			t.Errorf("%s: error may be cached", tt.head)
		}
	}
	p, _ := l.do("TRACE / HTTP/1.1\r\nHost: app.test\r\n\r\n")
	if p.StatusCode != 405 {
		t.Errorf("TRACE: %d", p.StatusCode)
	}
}

// TestSmugglingNeverReachesTheApp sends what a lenient router would pass on
// with a second request inside.
func TestSmugglingNeverReachesTheApp(t *testing.T) {
	hidden := "GET /hidden HTTP/1.1\r\nHost: app.test\r\n\r\n"
	l := newLab(t)
	l.route(goApp(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/hidden" {
			t.Errorf("the hidden request arrived: %v", r.Header)
		}
	}))
	for _, head := range []string{
		"Content-Length: 0\r\nTransfer-Encoding: chunked",
		"Content-Length: 0\r\nContent-Length: 43",
		"Content-Length: 43, 0",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
		"Transfer-Encoding : chunked",
		"Transfer-Encoding: xchunked",
		"Transfer-Encoding:\n chunked",
		"X: y\nContent-Length: 43",
		"Content-Length: +0",
		"Connection: Content-Length\r\nContent-Length: 43",
	} {
		w := l.dial()
		w.send("POST / HTTP/1.1\r\nHost: app.test\r\n" + head + "\r\n\r\n" + hidden)
		if p, _ := w.answer("POST"); p.StatusCode < 400 || !p.Close {
			t.Errorf("%q: %d, closes: %v", head, p.StatusCode, p.Close)
		}
		w.wantClosed()
	}
	// A broken chunk after a good head: refused, and the app sees no end.
	p, _ := l.do("POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n" + hidden)
	if p.StatusCode != 400 {
		t.Errorf("broken chunk: %d", p.StatusCode)
	}
}

func TestPipelinedRequests(t *testing.T) {
	l := newLab(t)
	l.route(goApp(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.URL.Path, b)
	}))
	w := l.dial()
	w.send("POST /1 HTTP/1.1\r\nHost: app.test\r\nContent-Length: 2\r\n\r\nab" +
		"\r\nPOST /2 HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nc\r\n0\r\n\r\n" +
		"GET /none HTTP/1.1\r\nHost: nobody\r\n\r\n" +
		"GET http://app.test/3 HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n")
	for _, want := range []string{"/1 ab", "/2 c", "404 Not Found: Requested route ('nobody') does not exist.\n", "/3 "} {
		if _, body := w.answer("POST"); body != want {
			t.Errorf("%q, want %q", body, want)
		}
	}
	w.wantClosed()
}

func TestAnswersWithoutBody(t *testing.T) {
	l := newLab(t)
	l.route(rawApp(t, func(c net.Conn, br *bufio.Reader) {
		for {
			q, _, err := readRequest(br)
			if err != nil {
				return
			}
			switch q.URL.Path {
			case "/head":
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
			case "/204":
				io.WriteString(c, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n")
			case "/304":
				io.WriteString(c, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n")
			default:
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		}
	}))
	w := l.dial()
	for _, tt := range []struct{ method, path, length string }{{"HEAD", "/head", "5"}, {"GET", "/204", ""}, {"GET", "/304", "5"}} {
		w.send(tt.method + " " + tt.path + " HTTP/1.1\r\nHost: app.test\r\n\r\n" + get)
		p, _ := w.answer(tt.method)
		if p.Header.Get("Content-Length") != tt.length || p.Header.Get("Date") == "" {
			t.Errorf("%s: %v", tt.path, p.Header)
		}
		if _, body := w.answer("GET"); body != "ok" {
			t.Errorf("after %s: %q", tt.path, body)
		}
	}
}

// TestAnswerThatEndsWithTheConnection: a 1.1 client gets chunks, a 1.0 client the same end.
func TestAnswerThatEndsWithTheConnection(t *testing.T) {
	l := newLab(t)
	l.route(rawApp(t, func(c net.Conn, br *bufio.Reader) {
		readRequest(br)
		io.WriteString(c, "HTTP/1.0 200 OK\r\nX: y\r\n\r\nall of it")
	}))
	w := l.dial()
	for range 2 {
		w.send(get)
		if p, body := w.answer("GET"); body != "all of it" || p.TransferEncoding == nil {
			t.Errorf("%q %v", body, p.TransferEncoding)
		}
	}
	w = l.dial()
	w.send("GET / HTTP/1.0\r\nHost: app.test\r\nConnection: keep-alive\r\n\r\n")
	if p, body := w.answer("GET"); body != "all of it" || p.TransferEncoding != nil || !p.Close {
		t.Errorf("1.0: %q %v", body, p.TransferEncoding)
	}
}

func TestHTTP10KeepAlive(t *testing.T) {
	l := newLab(t)
	l.route(goApp(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
	w := l.dial()
	for range 2 {
		w.send("GET / HTTP/1.0\r\nHost: app.test\r\nConnection: keep-alive\r\n\r\n")
		if p, body := w.answer("GET"); body != "ok" || p.Header.Get("Connection") != "keep-alive" {
			t.Errorf("%q %v", body, p.Header)
		}
	}
	w.send("GET / HTTP/1.0\r\nHost: app.test\r\n\r\n")
	w.answer("GET")
	w.wantClosed()
}

// TestLargeBodies is large enough for the kernel to move both.
func TestLargeBodies(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcde\n"), 1<<18) // 4 MiB
	l := newLab(t)
	l.route(goApp(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.URL.Path == "/counted" {
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		}
		w.Write(b)
	}))
	client := l.browser()
	for _, path := range []string{"/counted", "/chunked", "/counted"} {
		for _, body := range []io.Reader{bytes.NewReader(data), io.MultiReader(bytes.NewReader(data))} {
			p, err := client.Post("http://app.test"+path, "", body)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(p.Body)
			p.Body.Close()
			if err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
				t.Errorf("%s: %d bytes, %v", path, len(got), err)
			}
		}
	}
}

func TestTrailersBothWays(t *testing.T) {
	l := newLab(t)
	l.route(goApp(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set("X-Sum", r.Trailer.Get("X-In"))
	}))
	p, body := l.do("POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-In\r\n\r\n3\r\nabc\r\n0\r\nX-In: 42\r\n\r\n")
	if body != "body" || p.Trailer.Get("X-Sum") != "42" {
		t.Errorf("%q %v", body, p.Trailer)
	}
}

// TestEventsAreNotHeldBack: each event arrives before the app goes on.
func TestEventsAreNotHeldBack(t *testing.T) {
	step := make(chan bool)
	l := newLab(t)
	l.route(goApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			<-step
		}
	}))
	w := l.dial()
	w.send(get)
	p, err := http.ReadResponse(w.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	events := bufio.NewReader(p.Body)
	for i := range 3 {
		if line, err := events.ReadString('\n'); line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("%q %v", line, err)
		}
		events.ReadString('\n')
		step <- true
	}
}

func TestContinue(t *testing.T) {
	l := newLab(t)
	l.route(goApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(403)
			return
		}
		b, _ := io.ReadAll(r.Body) // net/http sends 100 here
		w.Write(b)
	}))
	w := l.dial()
	w.send("POST /yes HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	line, _ := w.br.ReadString('\n')
	if !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("%q", line)
	}
	w.br.ReadString('\n')
	w.send("hello")
	if _, body := w.answer("POST"); body != "hello" {
		t.Errorf("%q", body)
	}
	w.send("POST /no HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	if p, _ := w.answer("POST"); p.StatusCode != 403 || !p.Close {
		t.Errorf("%d closes %v", p.StatusCode, p.Close)
	}
	w.wantClosed()
}

// TestAnswerBeforeTheBody: the app refuses an upload it does not read.
func TestAnswerBeforeTheBody(t *testing.T) {
	l := newLab(t)
	l.route(rawApp(t, func(c net.Conn, br *bufio.Reader) {
		http.ReadRequest(br)
		io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")
		io.Copy(io.Discard, br)
	}))
	w := l.dial()
	w.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 100000000\r\n\r\nfirst bytes")
	if p, body := w.answer("POST"); p.StatusCode != 413 || body != "no!" || !p.Close {
		t.Errorf("%d %q closes %v", p.StatusCode, body, p.Close)
	}
}

// TestTalkInBothDirections: an HTTP/1.1 app that answers while it still reads.
func TestTalkInBothDirections(t *testing.T) {
	l := newLab(t)
	l.route(goApp(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		rc.Flush()
		b := make([]byte, 16)
		for {
			n, err := r.Body.Read(b)
			w.Write(bytes.ToUpper(b[:n]))
			rc.Flush()
			if err != nil {
				return
			}
		}
	}))
	w := l.dial()
	w.send("POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n")
	p, err := http.ReadResponse(w.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 3)
	for _, word := range []string{"one", "two", "six"} {
		w.send("3\r\n" + word + "\r\n")
		if _, err := io.ReadFull(p.Body, b); err != nil || string(b) != strings.ToUpper(word) {
			t.Fatalf("%q %v", b, err)
		}
	}
	w.send("0\r\n\r\n")
	if rest, err := io.ReadAll(p.Body); len(rest) > 0 || err != nil {
		t.Errorf("%q %v", rest, err)
	}
}
