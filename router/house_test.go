package router

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// TestHouseIsToldTheClient: by a load balancer that is known, and by nobody else.
func TestHouseIsToldTheClient(t *testing.T) {
	house := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) })
	for _, tt := range []struct {
		proxies, said, want string
	}{
		{"127.0.0.0/8", "X-Forwarded-For: 9.9.9.9, 192.0.2.7\r\n", "192.0.2.7:0"},
		{"127.0.0.0/8", "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 2001:db8::1\r\n", "[2001:db8::1]:0"},
		{"127.0.0.0/8", "X-Forwarded-For: 192.0.2.7, nobody\r\n", "127.0.0.1:"},
		{"127.0.0.0/8", "", "127.0.0.1:"},
		{"10.0.0.0/8", "X-Forwarded-For: 192.0.2.7\r\n", "127.0.0.1:"},
	} {
		l := newLab(t, func(c *Config) {
			c.House, c.Own, c.Proxies = house, map[string]bool{"api.test": true}, []netip.Prefix{netip.MustParsePrefix(tt.proxies)}
		})
		if _, got := l.do("GET / HTTP/1.1\r\nHost: api.test\r\n" + tt.said + "\r\n"); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s behind %s: %s", tt.said, tt.proxies, got)
		}
	}
}

func TestForwardedFor(t *testing.T) {
	for given, want := range map[string]string{"": "10.0.0.1:5", "1.1.1.1, 192.0.2.7": "192.0.2.7:0", "nonsense": "10.0.0.1:5"} {
		r := &http.Request{RemoteAddr: "10.0.0.1:5", Header: http.Header{}}
		if given != "" {
			r.Header.Set("X-Forwarded-For", given)
		}
		if got := ForwardedFor(r); got != want {
			t.Errorf("%q: %s, want %s", given, got, want)
		}
	}
}

// TestHouseAnswersWhereNoRouteDoes: on one connection, in any order, and with
// bodies that came with their heads and bodies that did not.
func TestHouseAnswersWhereNoRouteDoes(t *testing.T) {
	house := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		ip, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "house %s %s %d from %s", r.Method, r.URL, len(b), ip)
	})
	l := newLab(t, func(c *Config) {
		c.House, c.Own = house, map[string]bool{"api.apps.test": true}
		c.Ours = func(host string) bool { return !strings.HasSuffix(host, ".apps.test") }
	})
	app := goApp(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "app") })
	to := []Endpoint{{Instance: "i", Address: app}}
	l.apply(Change{Put: []Route{{Key: Key{Host: "one.apps.test"}, Endpoints: to}, {Key: Key{Host: "api.apps.test"}, Endpoints: to},
		{Key: Key{Host: "api.apps.test", Path: "/v3"}, Endpoints: to}}})
	client := &http.Client{Transport: &http.Transport{Proxy: nil, MaxConnsPerHost: 1}}
	for _, c := range []struct{ host, method, body, want string }{
		{"api.test", "GET", "", "house GET /v3 0 from 127.0.0.1"},
		{"one.apps.test", "GET", "", "app"},
		{"API.test:8080", "POST", "small", "house POST /v3 5 from 127.0.0.1"},
		{"api.test", "PUT", strings.Repeat("x", 1<<20), "house PUT /v3 1048576 from 127.0.0.1"},
		{"two.apps.test", "GET", "", "404 Not Found: Requested route ('two.apps.test') does not exist.\n"},
		{"one.apps.test", "GET", "", "app"},
		{"Api.Apps.test.:8080", "GET", "", "house GET /v3 0 from 127.0.0.1"}, // routes of its own host lead nowhere
	} {
		q, err := http.NewRequest(c.method, "http://"+l.addr+"/v3", strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		q.Host = c.host
		a, err := client.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(a.Body)
		a.Body.Close()
		if err != nil || string(b) != c.want {
			t.Errorf("%s %s: %q, %v; want %q", c.method, c.host, b, err, c.want)
		}
	}
}
