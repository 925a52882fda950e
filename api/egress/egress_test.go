package egress

import (
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestCheck(t *testing.T) {
	g := Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}, Deny: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
	for address, ok := range map[string]bool{
		"93.184.216.34": true, "10.0.0.1": true, "2606:2800::1": true, "127.0.0.9": true,
		"127.0.0.1": false, "::1": false, "::ffff:127.0.0.1": false, "169.254.169.254": false, "fe80::1": false, "0.0.0.0": false, "0.1.2.3": false, "::": false,
		"224.0.0.1": false, "ff02::1": false, "10.1.2.3": false, "::ffff:10.1.2.3": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false,
		"64:ff9b:1::7f00:1": false, "2001:0:7f00:1::": false, "fd00:ec2::254": false, "fd20:ce::254": false, "100.100.100.200": false, "168.63.129.16": false,
	} {
		if err := g.Check(netip.AddrPortFrom(netip.MustParseAddr(address), 443)); (err == nil) != ok || err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v, want allowed %v", address, err, ok)
		}
	}
}

// TestOwnMachine: what tenants make us connect to on our own machine is what
// everybody reaches there.
func TestOwnMachine(t *testing.T) {
	g := Guard{Self: []netip.Prefix{netip.MustParsePrefix("203.0.113.7/32"), netip.MustParsePrefix("::1/128")}, Gates: []uint16{80, 443}}
	for to, ok := range map[string]bool{"203.0.113.7:443": true, "203.0.113.7:22": false, "[::ffff:203.0.113.7]:22": false, "203.0.113.8:22": true, "[::1]:443": true, "127.0.0.1:80": true, "127.0.0.1:22": false, "[::1]:22": false} {
		if err := g.Check(netip.MustParseAddrPort(to)); (err == nil) != ok {
			t.Errorf("%s: %v, want allowed %v", to, err, ok)
		}
	}
}

// TestNamesAreCheckedWhenDialed: what counts is where the name leads now.
func TestNamesAreCheckedWhenDialed(t *testing.T) {
	s := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound))
	defer s.Close()
	url := strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	if _, err := new(Guard).Client(time.Minute).Get(url); !errors.Is(err, ErrRefused) {
		t.Errorf("localhost: %v", err)
	}
	loop := Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
	answer, err := loop.Client(time.Minute).Get(url)
	if err != nil || answer.StatusCode != http.StatusFound {
		t.Fatalf("%v, %v: want the redirection, not its target", answer, err)
	}
	answer.Body.Close()
	answer, err = loop.Client(time.Minute).Get(strings.Replace(s.URL, "127.0.0.1", "a.Name.LocalHost.", 1))
	if err != nil {
		t.Fatalf("a name below localhost: %v", err)
	}
	answer.Body.Close()
	if _, err := new(Guard).Dial(t.Context(), "tcp", "a.localhost:1", time.Minute); !errors.Is(err, ErrRefused) {
		t.Errorf("a name below localhost: %v", err)
	}
	if _, err := loop.Dialer(time.Minute).Dial("tcp", net.JoinHostPort("169.254.169.254", "80")); !errors.Is(err, ErrRefused) {
		t.Errorf("metadata service: %v", err)
	}
}

// TestRoots: the server of a broker is believed when its certificate comes from Roots.
func TestRoots(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	ours := x509.NewCertPool()
	ours.AddCert(s.Certificate())
	for _, c := range []struct {
		roots *x509.CertPool
		ok    bool
	}{{ours, true}, {nil, false}, {x509.NewCertPool(), false}} {
		g := Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Roots: c.roots}
		answer, err := g.Client(time.Minute).Get(s.URL)
		if (err == nil) != c.ok {
			t.Errorf("%v: %v", c, err)
		}
		if err == nil {
			answer.Body.Close()
		}
	}
}
