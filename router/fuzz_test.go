package router

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/dewpaas/dew/router/http1"
)

// FuzzForward: whatever request the door lets in, the head that goes to the
// app is one head, for every reader: our own parser finds its end where we
// ended it and understands the same message, net/http does too, framing and
// identity fields are there once, and nothing of one connection passes.
func FuzzForward(f *testing.F) {
	for _, s := range []string{
		get,
		"POST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: X-Forwarded-Proto, close\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\nTE: trailers\r\n\r\n",
		"GET http://h:1/x HTTP/1.1\r\nHost: z\r\nX-Forwarded-For: a\r\nX-Forwarded-For: b\r\nX-Cf-InstanceId: c\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-Vcap-Request-Id: 1\r\n\r\n",
		"GET / HTTP/1.0\r\nHost: h\r\nExpect: 100-continue\r\nCookie: JSESSIONID=1; __VCAP_ID__=2\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nX-Cf-App-Instance: a:1\r\nConnection: te, X\r\nX: \xff\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	s := &Server{cfg: Config{SessionCookies: []string{"JSESSIONID"}}}
	e := newEndpoint(Endpoint{Instance: "i", App: "a"})
	f.Fuzz(func(t *testing.T, raw []byte) {
		end, _, err := http1.HeadEnd(raw, 0)
		if err != nil || end == 0 {
			return
		}
		c := &client{srv: s, ip: "9.9.9.9", proto: "http"}
		q := &c.req
		if q.Parse(raw[:end]) != nil {
			return
		}
		x := &exchange{client: c, upgrade: mayUpgrade(q)}
		for i := range x.id {
			x.id[i] = 'f'
		}
		x.readSession()
		readPin(q)
		head := x.appendRequest(nil, e)
		if n, _, err := http1.HeadEnd(head, 0); err != nil || n != len(head) {
			t.Fatalf("%q became %q: its head ends at %d, %v", raw, head, n, err)
		}
		var again http1.Request
		if err := again.Parse(head); err != nil {
			t.Fatalf("%q became %q: %v", raw, head, err)
		}
		if !bytes.Equal(again.Method, q.Method) || !bytes.Equal(again.Target, q.Target) || !bytes.Equal(again.Host, q.Host) ||
			again.ContentLength != q.ContentLength || again.Chunked != q.Chunked || again.Expect != q.Expect {
			t.Fatalf("%q became another request: %q", raw, head)
		}
		counts := map[http1.Name]int{}
		for _, g := range again.Fields {
			counts[g.ID]++
		}
		for _, id := range []http1.Name{http1.Host, http1.XForwardedFor, http1.XForwardedProto, http1.XVcapRequestID, http1.XCfInstanceID} {
			if counts[id] != 1 {
				t.Fatalf("%q became %q: field %d is there %d times", raw, head, id, counts[id])
			}
		}
		if counts[http1.KeepAlive]+counts[http1.ProxyAuthorization]+counts[http1.HTTP2Settings]+counts[http1.XForwardedClientCert] > 0 {
			t.Fatalf("%q became %q", raw, head)
		}
		agreesWithGo(t, raw, head, &again)
	})
}

func agreesWithGo(t *testing.T, raw, head []byte, q *http1.Request) {
	r, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(head), 1<<20))
	if err != nil {
		if strings.Contains(err.Error(), "parse ") || strings.Contains(err.Error(), "invalid URI") {
			return // net/http judges URLs, we pass them on
		}
		t.Fatalf("%q became %q: net/http: %v", raw, head, err)
	}
	if r.Method != string(q.Method) || len(r.TransferEncoding) > 0 != q.Chunked || !q.Chunked && r.ContentLength != max(q.ContentLength, 0) {
		t.Fatalf("%q became %q: net/http reads %s, %d, %v", raw, head, r.Method, r.ContentLength, r.TransferEncoding)
	}
}

// FuzzAnswer: whatever an app answers, what the client gets is one head.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nSet-Cookie: JSESSIONID=1; Path=/a; Secure\r\n\r\n"), true)
	f.Add([]byte("HTTP/1.1 204\r\nConnection: X, Date\r\nX: y\r\nDate: z\r\n\r\n"), false)
	f.Add([]byte("HTTP/1.0 426 Up\r\nUpgrade: x\r\nConnection: Upgrade\r\nX-Cf-RouterError: y\r\n\r\n"), true)
	s := &Server{cfg: Config{SessionCookies: []string{"JSESSIONID"}}}
	up := &upstream{endpoint: newEndpoint(Endpoint{Instance: "i", App: "a"})}
	f.Fuzz(func(t *testing.T, raw []byte, modern bool) {
		end, _, err := http1.HeadEnd(raw, 0)
		var p http1.Response
		if err != nil || end == 0 || p.Parse(raw[:end]) != nil || p.Status == 101 {
			return
		}
		c := &client{srv: s}
		if modern {
			c.req.Minor = 1
		}
		x := &exchange{client: c, up: up, pool: new(pool)}
		copy(x.id[:], strings.Repeat("f", len(x.id)))
		body := p.Body(false)
		fr := x.framing(&p, &body)
		head := x.appendResponse(nil, &p, fr)
		var again http1.Response
		if n, _, err := http1.HeadEnd(head, 0); err != nil || n != len(head) || again.Parse(head) != nil {
			t.Fatalf("%q became %q: ends at %d, %v", raw, head, n, err)
		}
		after := again.Body(false)
		switch {
		case again.Status != p.Status:
			t.Fatalf("%q became %q", raw, head)
		case p.Interim():
			return
		case body.Empty() != after.Empty() || body.Counted() != after.Counted() || body.Left() != after.Left():
			t.Fatalf("%q became %q: another body", raw, head)
		case after.UntilClose() && !again.Close:
			t.Fatalf("%q became %q: nobody knows where the body ends", raw, head)
		}
		theirs, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), nil)
		if err != nil {
			t.Fatalf("%q became %q: net/http: %v", raw, head, err)
		}
		io.Copy(io.Discard, theirs.Body)
	})
}
