package network

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/vnet"
	"github.com/miekg/dns"
)

// TestTheSameFileTalks: one boot of each kind, and all that can be said.
func TestTheSameFileTalks(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			g := start(t, kind, nil)
			serveNames(t, g)
			for _, s := range stories {
				if !t.Run(s.name, func(t *testing.T) { s.tell(t, g) }) {
					break // the guest may be gone
				}
			}
			g.stop(t)
		})
	}
}

var stories = []struct {
	name string
	tell func(*testing.T, *guest)
}{
	{"http", keepAlive},
	{"big", big},
	{"upload", upload},
	{"file", file},
	{"http2 over TLS", http2},
	{"WebSocket", webSocket},
	{"gRPC", rpc},
	{"half-close", halfClose},
	{"datagrams", datagrams},
	{"interfaces", interfaces},
	{"names", names},
	{"client", client},
	{"client of streams", clientOfStreams},
	{"a thousand at once", thousand},
	{"a client that leaves", leave},
	{"loops", loops},
}

// keepAlive: requests one after another on one connection.
func keepAlive(t *testing.T, g *guest) {
	conn, err := g.dial(t.Context(), "", vnic.Addr.String()+":8080")
	check(t, err)
	defer conn.Close()
	c := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		if conn == nil {
			return nil, errors.New("a second connection")
		}
		c := conn
		conn = nil
		return c, nil
	}}}
	for range 20 {
		resp, err := c.Get(url("/hello"))
		check(t, err)
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(b) != "hello HTTP/1.1\n" {
			t.Fatalf("%q", b)
		}
	}
}

func big(t *testing.T, g *guest) {
	const n = 8 << 20
	resp, err := g.client.Get(url(fmt.Sprint("/big?n=", n)))
	check(t, err)
	defer resp.Body.Close()
	check(t, same(resp.Body, n))
}

func upload(t *testing.T, g *guest) {
	const n = 4 << 20
	resp, err := g.client.Post(url("/sum"), "application/octet-stream", &pattern{n: n})
	check(t, err)
	defer resp.Body.Close()
	got, _ := io.ReadAll(resp.Body)
	h := sha256.New()
	io.Copy(h, &pattern{n: n})
	if want := fmt.Sprintf("%d %s\n", n, hex.EncodeToString(h.Sum(nil))); string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// loops: after a pause in which the runtime's watching thread has gone to sleep,
// loops take all the guest's processors, and others are still answered. Where
// nothing wakes that thread it looks when the next timer is due, after 13 s.
func loops(t *testing.T, g *guest) {
	<-time.After(300 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
	defer cancel()
	for _, path := range []string{"/spin", "/spin", "/spin", "/still"} { // one more than there are processors
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url(path), nil)
		check(t, err)
		resp, err := g.client.Do(r)
		check(t, err)
		defer resp.Body.Close()
	}
}

// file goes from the image to the card by sendfile(2).
func file(t *testing.T, g *guest) {
	resp, err := g.client.Get(url("/file"))
	check(t, err)
	defer resp.Body.Close()
	check(t, same(resp.Body, fileSize))
}

func http2(t *testing.T, g *guest) {
	c := &http.Client{Transport: &http.Transport{DialContext: g.dial, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer c.CloseIdleConnections()
	var all sync.WaitGroup
	for range 10 { // streams of one connection
		all.Go(func() {
			resp, err := c.Get("https://" + vnic.Addr.String() + ":8443/big?n=200000")
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if resp.Proto != "HTTP/2.0" {
				t.Errorf("%s", resp.Proto)
			}
			if err := same(resp.Body, 200000); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func webSocket(t *testing.T, g *guest) {
	c, _, err := websocket.Dial(t.Context(), url("/socket"), &websocket.DialOptions{HTTPClient: g.client})
	check(t, err)
	defer c.CloseNow()
	for n := range 50 {
		sent := bytes.Repeat([]byte{byte(n)}, n*100)
		check(t, c.Write(t.Context(), websocket.MessageBinary, sent))
		kind, got, err := c.Read(t.Context())
		check(t, err)
		if kind != websocket.MessageBinary || !bytes.Equal(got, sent) {
			t.Fatalf("message %d comes back with %d bytes", n, len(got))
		}
	}
}

// rpc asks for the program's health in gRPC's own framing (PROTOCOL-HTTP2.md):
// a flag byte and a length before each message, the status in a trailer.
func rpc(t *testing.T, g *guest) {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	c := &http.Client{Transport: &http.Transport{DialContext: g.dial, Protocols: p}}
	defer c.CloseIdleConnections()
	req, err := http.NewRequest("POST", "http://"+vnic.Addr.String()+":9090/grpc.health.v1.Health/Check", bytes.NewReader(make([]byte, 5)))
	check(t, err)
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	resp, err := c.Do(req)
	check(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	check(t, err)
	if status := resp.Trailer.Get("Grpc-Status"); status != "0" || !bytes.Equal(b, []byte{0, 0, 0, 0, 2, 8, 1}) {
		t.Errorf("status %q, message %v", status, b)
	}
}

func halfClose(t *testing.T, g *guest) {
	c, err := g.network.DialTCP(t.Context(), netip.AddrPortFrom(vnic.Addr, 7777))
	check(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(60 * time.Second))
	const n = 500_000
	_, err = io.Copy(c, &pattern{n: n})
	check(t, err)
	check(t, c.CloseWrite())
	check(t, same(c, n))
}

// datagrams up to what needs three fragments.
func datagrams(t *testing.T, g *guest) {
	c, l, err := g.network.ListenGateway(5000)
	check(t, err)
	defer c.Close()
	defer l.Close()
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(vnic.Addr, 9999))
	c.SetDeadline(time.Now().Add(60 * time.Second))
	for _, size := range []int{0, 1, 100, 1472, 1473, 4000} {
		sent := bytes.Repeat([]byte{byte(size)}, size)
		_, err := c.WriteTo(sent, to)
		check(t, err)
		got := make([]byte, 65536)
		n, from, err := c.ReadFrom(got)
		check(t, err)
		if !bytes.Equal(got[:n], sent) || from.String() != to.String() {
			t.Errorf("%d bytes come back as %d from %v", size, n, from)
		}
	}
}

func interfaces(t *testing.T, g *guest) {
	const want = "1 lo 65536  up|loopback|running [127.0.0.1/8] <nil>\n2 eth0 1500 02:de:77:01:00:02 up|running [10.7.0.2/32] <nil>\n"
	if got := g.get(t, "/links"); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// serveNames is a name server on the gateway: where a guest looks by default.
func serveNames(t *testing.T, g *guest) {
	packets, streams, err := g.network.ListenGateway(53)
	check(t, err)
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		name := q.Question[0]
		_, overUDP := w.RemoteAddr().(*net.UDPAddr)
		switch {
		case name.Name == "long.test." && overUDP:
			m.Truncated = true
		case name.Name == "missing.test.":
			m.Rcode = dns.RcodeNameError
		case name.Qtype == dns.TypeA:
			count := 1
			if name.Name == "long.test." {
				count = 200
			}
			for n := range count {
				m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: name.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, byte(n))})
			}
		}
		w.WriteMsg(m)
	})
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: h}, {Listener: streams, Handler: h}} {
		done := make(chan struct{})
		go func() { defer close(done); s.ActivateAndServe() }()
		t.Cleanup(func() { packets.Close(); streams.Close(); <-done })
	}
}

func names(t *testing.T, g *guest) {
	if got := g.ask(t, "name", "short.test"); got != "192.0.2.0" {
		t.Errorf("short: %s", got)
	}
	if got := g.ask(t, "name", "long.test"); len(strings.Fields(got)) != 200 {
		t.Errorf("over TCP: %s", got)
	}
	if got := g.ask(t, "name", "missing.test"); !strings.Contains(got, "no such host") {
		t.Errorf("missing: %s", got)
	}
	if got := g.ask(t, "name", "talker") + " " + g.ask(t, "name", "localhost"); got != "10.7.0.2 127.0.0.1" {
		t.Errorf("itself: %s", got)
	}
}

// client: the guest asks a server outside, over HTTP/1.1 and HTTP/2 with TLS.
func client(t *testing.T, g *guest) {
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "from outside") })
	for port, secure := range map[uint16]bool{8000: false, 8001: true} {
		p, l, err := g.network.ListenGateway(port)
		check(t, err)
		p.Close()
		s := httptest.NewUnstartedServer(hello)
		s.Listener.Close()
		s.Listener = l
		s.EnableHTTP2 = secure
		scheme, want := "http", "HTTP/1.1 200 12 from outside"
		if secure {
			s.StartTLS()
			scheme, want = "https", "HTTP/2.0 200 12 from outside"
		} else {
			s.Start()
		}
		defer s.Close()
		if got := g.ask(t, "get", fmt.Sprintf("%s://%v:%d/", scheme, vnet.Gateway, port)); got != want {
			t.Errorf("%s: %s", scheme, got)
		}
	}
}

// clientOfStreams: the guest connects to who is there, to who is silent and to
// who is not.
func clientOfStreams(t *testing.T, g *guest) {
	packets, streams, err := g.network.ListenGateway(7000)
	check(t, err)
	defer packets.Close()
	defer streams.Close()
	go func() {
		b := make([]byte, 65536)
		for {
			n, from, err := packets.ReadFrom(b)
			if err != nil {
				return
			}
			packets.WriteTo(b[:n], from)
		}
	}()
	go func() { // keeps what it accepts, and says nothing
		for {
			c, err := streams.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	here := netip.AddrPortFrom(vnet.Gateway, 7000).String()
	for _, c := range []struct{ what, addr, want string }{
		{"datagram", here, "5 came back"},
		{"refused", netip.AddrPortFrom(vnet.Gateway, 7001).String(), "true"},
		{"silent", "10.99.99.99:80", "true true"},
		{"deadline", here, "true true true"},
		{"halves", "127.0.0.1:7777", "300000 true"},
		{"many", vnic.Addr.String() + ":7777", "100"},
	} {
		if got := g.ask(t, c.what, c.addr); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

// thousand connections are open at once, and each is served twice.
func thousand(t *testing.T, g *guest) {
	const n = 1000
	open := make([]net.Conn, 0, n)
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	b := make([]byte, 4096)
	request := "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
	for range n {
		c, err := g.dial(t.Context(), "", vnic.Addr.String()+":8080")
		check(t, err)
		open = append(open, c)
		c.SetDeadline(time.Now().Add(90 * time.Second))
	}
	for range 2 {
		for _, c := range open {
			_, err := io.WriteString(c, request)
			check(t, err)
		}
		for _, c := range open {
			k, err := c.Read(b)
			check(t, err)
			if !strings.HasSuffix(string(b[:k]), "hello HTTP/1.1\n") {
				t.Fatalf("%q", b[:k])
			}
		}
	}
}

// leave: a client that resets its connection ends the request that it made.
func leave(t *testing.T, g *guest) {
	c, err := g.network.DialTCP(t.Context(), netip.AddrPortFrom(vnic.Addr, 8080))
	check(t, err)
	_, err = io.WriteString(c, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
	check(t, err)
	check(t, c.SetLinger(0))
	check(t, c.Close())
}

// stop ends the program as a platform does, and looks at what it told.
func (g *guest) stop(t *testing.T) {
	if g.instance == nil {
		return
	}
	link := g.instance.Link()
	var ports []string
	for _, p := range link.Ports() {
		ports = append(ports, fmt.Sprint(p.Protocol, p.Number))
	}
	slices.Sort(ports)
	if want := []string{"tcp7777", "tcp8080", "tcp8443", "tcp9090", "udp9999"}; !slices.Equal(ports, want) {
		t.Errorf("it listens on %v, want %v", ports, want)
	}
	var marks []string
	for _, m := range link.Marks() {
		marks = append(marks, m.Name)
	}
	for _, want := range []string{"runtime", "main", "listening", "first byte"} {
		if !slices.Contains(marks, want) {
			t.Errorf("no mark %q: %v", want, marks)
		}
	}
	if reports := link.Reports(); len(reports) > 0 {
		t.Errorf("it reported %q", reports)
	}
	check(t, link.Signal(t.Context(), syscall.SIGTERM))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	e, err := g.instance.Wait(ctx)
	<-g.stopped
	if err != nil || e.Reason != tender.Exited || e.Status != 0 || !strings.HasSuffix("\n"+g.said.String(), "\nstopping\n") { // before it, net/http tells of clients that left
		t.Errorf("%v, %v, it said\n%s", e, err, g.said)
	}
}
