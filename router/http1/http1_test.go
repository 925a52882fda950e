package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestKnownNamesAreFiledUnderTheirLength(t *testing.T) {
	seen := map[Name]bool{}
	for n, list := range byLength {
		for _, s := range list {
			if len(s.lower) != n || s.lower != strings.ToLower(s.lower) {
				t.Errorf("%q is filed under %d", s.lower, n)
			}
			if got := nameOf([]byte(strings.ToUpper(s.lower))); got != s.name {
				t.Errorf("nameOf(%q) = %d, want %d", s.lower, got, s.name)
			}
			seen[s.name] = true
		}
	}
	for n := Other + 1; n <= XCfRouterError; n++ {
		if !seen[n] {
			t.Errorf("name %d has no spelling", n)
		}
	}
}

func parseRequest(raw string) (*Request, int, error) {
	end, _, err := HeadEnd([]byte(raw), 0)
	if err != nil {
		return nil, 0, err
	}
	if end == 0 {
		return nil, 0, io.ErrUnexpectedEOF
	}
	r := new(Request)
	return r, end, r.Parse([]byte(raw)[:end])
}

const line1 = "GET /a?b HTTP/1.1\r\nHost: h\r\n"

func TestRefusedRequests(t *testing.T) {
	tests := []struct {
		name, raw string
		want      error
	}{
		{"bare LF", "GET / HTTP/1.1\nHost: h\n\n", ErrBareLF},
		{"bare LF inside", line1 + "A: b\nC: d\r\n\r\n", ErrBareLF},
		{"bare CR in value", line1 + "A: b\rc\r\n\r\n", ErrField},
		{"NUL in value", line1 + "A: b\x00c\r\n\r\n", ErrField},
		{"two spaces", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", ErrRequestLine},
		{"tab for space", "GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", ErrRequestLine},
		{"no version", "GET /\r\nHost: h\r\n\r\n", ErrRequestLine},
		{"trailing space", "GET / HTTP/1.1 \r\nHost: h\r\n\r\n", ErrRequestLine},
		{"version 2", "GET / HTTP/2.0\r\nHost: h\r\n\r\n", ErrVersion},
		{"version 1.2", "GET / HTTP/1.2\r\nHost: h\r\n\r\n", ErrVersion},
		{"fragment", "GET /#a HTTP/1.1\r\nHost: h\r\n\r\n", ErrTarget},
		{"relative target", "GET a HTTP/1.1\r\nHost: h\r\n\r\n", ErrTarget},
		{"CONNECT", "CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", ErrTarget},
		{"star for GET", "GET * HTTP/1.1\r\nHost: h\r\n\r\n", ErrTarget},
		{"userinfo", "GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n", ErrTarget},
		{"other scheme", "GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", ErrTarget},
		{"no host", "GET / HTTP/1.1\r\n\r\n", ErrNoHost},
		{"empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", ErrNoHost},
		{"1.0 without host", "GET / HTTP/1.0\r\n\r\n", ErrNoHost},
		{"two hosts", line1 + "Host: h\r\n\r\n", ErrHost},
		{"host list", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", ErrHost},
		{"host with slash", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", ErrHost},
		{"host with letters as port", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", ErrHost},
		{"port only", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", ErrHost},
		{"obs-fold", line1 + "A: b\r\n c\r\n\r\n", ErrField},
		{"space before colon", line1 + "A : b\r\n\r\n", ErrField},
		{"space before name", "GET / HTTP/1.1\r\n Host: h\r\n\r\n", ErrField},
		{"empty name", line1 + ": b\r\n\r\n", ErrField},
		{"no colon", line1 + "A\r\n\r\n", ErrField},
		{"same length twice", line1 + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", ErrLength},
		{"length list", line1 + "Content-Length: 1, 1\r\n\r\n", ErrLength},
		{"signed length", line1 + "Content-Length: +1\r\n\r\n", ErrLength},
		{"negative length", line1 + "Content-Length: -1\r\n\r\n", ErrLength},
		{"hex length", line1 + "Content-Length: 0x1\r\n\r\n", ErrLength},
		{"empty length", line1 + "Content-Length:\r\n\r\n", ErrLength},
		{"length overflow", line1 + "Content-Length: 18446744073709551617\r\n\r\n", ErrLength},
		{"length and coding", line1 + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", ErrFraming},
		{"coding twice", line1 + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", ErrFraming},
		{"coding in 1.0", "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", ErrFraming},
		{"gzip, chunked", line1 + "Transfer-Encoding: gzip, chunked\r\n\r\n", ErrCoding},
		{"chunked with parameter", line1 + "Transfer-Encoding: chunked;a=b\r\n\r\n", ErrCoding},
		{"xchunked", line1 + "Transfer-Encoding: xchunked\r\n\r\n", ErrCoding},
		{"vertical tab", line1 + "Transfer-Encoding: \vchunked\r\n\r\n", ErrField},
		{"Connection takes length away", line1 + "Connection: content-length\r\nContent-Length: 5\r\n\r\n", ErrConnection},
		{"Connection takes Host away", line1 + "Connection: host\r\n\r\n", ErrConnection},
		{"Connection with space", line1 + "Connection: a b\r\n\r\n", ErrField},
		{"expectation", line1 + "Expect: tea\r\n\r\n", ErrExpect},
		{"too many", line1 + strings.Repeat("A: b\r\n", MaxFields) + "\r\n", ErrTooManyFields},
	}
	for _, tt := range tests {
		if _, _, err := parseRequest(tt.raw); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestAcceptedRequests(t *testing.T) {
	tests := []struct{ raw, method, target, host string }{
		{line1 + "\r\n", "GET", "/a?b", "h"},
		{"GET http://x:81/p HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "/p", "x:81"},
		{"GET HTTP://x?q HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "/?q", "x"},
		{"GET https://x HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "/", "x"},
		{"OPTIONS * HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "OPTIONS", "*", "[::1]:8080"},
		{"M-SEARCH /a%20b HTTP/1.0\r\nhOST: \t h \t\r\n\r\n", "M-SEARCH", "/a%20b", "h"},
	}
	for _, tt := range tests {
		r, _, err := parseRequest(tt.raw)
		if err != nil || string(r.Method) != tt.method || string(r.Target) != tt.target || string(r.Host) != tt.host {
			t.Errorf("%q: %v %q %q %q", tt.raw, err, r.Method, r.Target, r.Host)
		}
	}
}

func TestPersistence(t *testing.T) {
	tests := []struct {
		head string
		want bool
	}{
		{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", true},
		{"GET / HTTP/1.1\r\nHost: h\r\nConnection: a, Close\r\n\r\n", false},
		{"GET / HTTP/1.0\r\nHost: h\r\n\r\n", false},
		{"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", true},
		{"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", false},
	}
	for _, tt := range tests {
		if r, _, err := parseRequest(tt.head); err != nil || r.Persistent() != tt.want {
			t.Errorf("%q: %v, want %v", tt.head, err, tt.want)
		}
	}
}

func TestFieldsOfOneConnection(t *testing.T) {
	r, _, err := parseRequest(line1 + "Connection: X-A, upgrade\r\nX-A: 1\r\nx-b: 2\r\nUpgrade: websocket\r\nTE: trailers, x\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if string(r.Upgrade) != "websocket" || !r.TETrailers {
		t.Errorf("upgrade %q, trailers %v", r.Upgrade, r.TETrailers)
	}
	for _, f := range r.Fields {
		ends := string(f.Name) != "Host" && string(f.Name) != "x-b"
		if f.Hop != ends {
			t.Errorf("%s: ends here = %v", f.Name, f.Hop)
		}
	}
	if r, _, _ = parseRequest(line1 + "Upgrade: websocket\r\n\r\n"); r.Upgrade != nil {
		t.Error("an upgrade that Connection does not name was taken")
	}
}

func TestResponses(t *testing.T) {
	tests := []struct {
		head  string
		head2 bool // answer to HEAD
		body  Body
		err   error
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, Body{kind: length, left: 5}, nil},
		{"HTTP/1.1 200\r\n\r\n", false, Body{kind: untilClose}, nil},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, Body{}, nil},
		{"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", false, Body{}, nil},
		{"HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n", false, Body{}, nil},
		{"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n", false, Body{kind: chunked}, nil},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", false, Body{}, ErrLength},
		{"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, Body{}, ErrFraming},
		{"HTTP/1.1 20 OK\r\n\r\n", false, Body{}, ErrStatusLine},
		{"HTTP/1.1 099 OK\r\n\r\n", false, Body{}, ErrStatusLine},
		{"HTTP/1.1 2000 OK\r\n\r\n", false, Body{}, ErrStatusLine},
		{"HTTP/2 200 OK\r\n\r\n", false, Body{}, ErrStatusLine},
		{"ICY 200 OK\r\n\r\n", false, Body{}, ErrStatusLine},
	}
	for _, tt := range tests {
		var r Response
		err := r.Parse([]byte(tt.head))
		if !errors.Is(err, tt.err) {
			t.Errorf("%q: %v, want %v", tt.head, err, tt.err)
		}
		if got := r.Body(tt.head2); err == nil && (got.kind != tt.body.kind || got.left != tt.body.left) {
			t.Errorf("%q: body %+v, want %+v", tt.head, got, tt.body)
		}
	}
}

// drain reads a body that arrives in pieces of size step.
func drain(b Body, p []byte, step int) (data []byte, used int, err error) {
	have := 0
	for {
		d, n, done, err := b.Next(p[used:have])
		data, used = append(data, d...), used+n
		if err != nil || done {
			return data, used, err
		}
		if n > 0 {
			continue
		}
		if have == len(p) {
			return data, used, io.ErrUnexpectedEOF
		}
		have = min(have+step, len(p))
	}
}

func TestChunkedBodies(t *testing.T) {
	tests := []struct {
		in, want string
		err      error
	}{
		{"0\r\n\r\n", "", nil},
		{"5\r\nhello\r\n0\r\n\r\n", "hello", nil},
		{"00A;x=\"y\"\r\n0123456789\r\n1\r\nz\r\n0\r\nX-T: 1\r\n\r\n", "0123456789z", nil},
		{"5\nhello\r\n0\r\n\r\n", "", ErrChunk},
		{"5 \r\nhello\r\n0\r\n\r\n", "", ErrChunk},
		{"0x5\r\nhello\r\n0\r\n\r\n", "", ErrChunk},
		{"+5\r\nhello\r\n0\r\n\r\n", "", ErrChunk},
		{"-5\r\nhello\r\n0\r\n\r\n", "", ErrChunk},
		{"\r\nhello\r\n", "", ErrChunk},
		{";a\r\nhello\r\n", "", ErrChunk},
		{"5\r\nhelloXX0\r\n\r\n", "hello", ErrChunk},
		{"5\r\nhello\n0\r\n\r\n", "hello", ErrChunk},
		{"1000000000000000\r\n", "", ErrChunk},
		{"5;a\rb\r\nhello\r\n", "", ErrChunk},
		{strings.Repeat("0", 300), "", ErrChunk},
		{"0\r\nContent-Length: 5\r\n\r\n", "", ErrTrailer},
		{"0\r\nHost: x\r\n\r\n", "", ErrTrailer},
		{"0\r\n a\r\n\r\n", "", ErrTrailer},
		{"0\r\nX: " + strings.Repeat("a", maxTrailerSize) + "\r\n\r\n", "", ErrTooLarge},
		{"5\r\nhel", "hel", io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		for _, step := range []int{1, 3, 1 << 20} {
			got, used, err := drain(Body{kind: chunked}, []byte(tt.in), step)
			if string(got) != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%.40q by %d: %q, %v", tt.in, step, got, err)
			}
			if err == nil && used != len(tt.in) {
				t.Errorf("%.40q by %d: used %d", tt.in, step, used)
			}
		}
	}
}

// FuzzRequest compares with net/http. What we accept, net/http must understand
// in the same way, to the last byte: method, host, fields, framing, body and
// where the next request begins. (We refuse more than it does; that is the point.)
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		line1 + "\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;a\r\nabc\r\n0\r\nX: y\r\n\r\nrest",
		"GET http://x/p?q HTTP/1.1\r\nHost: h\r\nConnection: close, X\r\nX: 1\r\n\r\n",
		"OPTIONS * HTTP/1.0\r\nHost: [::1]:80\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		end, _, err := HeadEnd(raw, 0)
		if err != nil || end == 0 {
			return
		}
		var r Request
		if r.Parse(raw[:end]) != nil {
			return
		}
		body, used, err := drain(r.Body(), raw[end:], 7)
		if err != nil {
			return
		}
		theirs := bufio.NewReaderSize(bytes.NewReader(raw), 1<<20)
		q, err := http.ReadRequest(theirs)
		if err != nil {
			// net/http parses URLs; we pass targets on as they are.
			if strings.Contains(err.Error(), "parse ") || strings.Contains(err.Error(), "invalid URI") {
				return
			}
			t.Fatalf("net/http refuses %q: %v", raw, err)
		}
		theirBody, err := io.ReadAll(q.Body)
		if err != nil {
			t.Fatalf("net/http refuses the body of %q: %v", raw, err)
		}
		if q.Method != string(r.Method) || !bytes.Equal(theirBody, body) {
			t.Fatalf("%q: %s %q, net/http %s %q", raw, r.Method, body, q.Method, theirBody)
		}
		if !strings.EqualFold(q.Host, string(r.Host)) {
			t.Fatalf("%q: host %q, net/http %q", raw, r.Host, q.Host)
		}
		if rest, _ := io.ReadAll(theirs); len(rest) != len(raw)-end-used {
			t.Fatalf("%q: %d bytes left, net/http %d", raw, len(raw)-end-used, len(rest))
		}
	})
}

// FuzzResponse: what we accept from an app, net/http reads with the same
// status and body.
func FuzzResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"), false)
	f.Add([]byte("HTTP/1.1 404\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nz\r\n0\r\n\r\n"), false)
	f.Add([]byte("HTTP/1.0 200 OK\r\n\r\nuntil the end"), true)
	f.Fuzz(func(t *testing.T, raw []byte, toHead bool) {
		end, _, err := HeadEnd(raw, 0)
		var r Response
		if err != nil || end == 0 || r.Parse(raw[:end]) != nil || r.Status < 200 {
			return
		}
		b := r.Body(toHead)
		body, _, err := drain(b, raw[end:], 5)
		if b.UntilClose() {
			err = nil
		}
		if err != nil {
			return
		}
		method := "GET"
		if toHead {
			method = "HEAD"
		}
		q, err := http.ReadResponse(bufio.NewReaderSize(bytes.NewReader(raw), 1<<20), &http.Request{Method: method})
		if err != nil {
			t.Fatalf("net/http refuses %q: %v", raw, err)
		}
		theirs, err := io.ReadAll(q.Body)
		if err != nil || q.StatusCode != r.Status || !bytes.Equal(theirs, body) {
			t.Fatalf("%q: %d %q, net/http %d %q %v", raw, r.Status, body, q.StatusCode, theirs, err)
		}
	})
}

func TestParsingDoesNotAllocate(t *testing.T) {
	head := []byte(line1 + "User-Agent: x\r\nAccept: */*\r\nConnection: keep-alive\r\nCookie: a=b\r\n\r\n")
	var r Request
	var p Response
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: x\r\n\r\n")
	if n := testing.AllocsPerRun(100, func() {
		if r.Parse(head) != nil || p.Parse(answer) != nil {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	head := []byte("GET / HTTP/1.1\r\nHost: app.example.com\r\nUser-Agent: curl/8\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nCookie: a=b\r\n\r\n")
	var r Request
	for b.Loop() {
		end, _, _ := HeadEnd(head, 0)
		if r.Parse(head[:end]) != nil {
			b.Fatal("refused")
		}
	}
}
