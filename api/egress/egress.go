package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Guard decides where connections may go. The zero Guard is the strict one.
type Guard struct {
	Allow []netip.Prefix // wins over everything else
	Deny  []netip.Prefix // networks of the platform itself

	// Self are addresses of this machine besides loopback, where more may listen
	// than tenants are to know of. Its Gates, the ports of the router, they may
	// reach as anybody.
	Self  []netip.Prefix
	Gates []uint16

	// Roots are whom servers of brokers and drains must have their certificates
	// from. nil: whom the system trusts.
	Roots *x509.CertPool
}

// ErrRefused is an address that tenants may not make the platform talk to.
var ErrRefused = errors.New("the platform does not connect to this address")

// Check tells whether an address may be connected to.
func (g Guard) Check(to netip.AddrPort) error {
	a := to.Addr().Unmap()
	for _, p := range g.Allow {
		if p.Contains(a) {
			return nil
		}
	}
	bad := !a.IsValid() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || a.Is4() && a.As4()[0] == 0 ||
		within(a, translated) || within(a, metadata) || within(a, g.Deny) ||
		(a.IsLoopback() || within(a, g.Self)) && !slices.Contains(g.Gates, to.Port())
	if bad {
		return fmt.Errorf("%w: %s", ErrRefused, a)
	}
	return nil
}

func within(a netip.Addr, list []netip.Prefix) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// translated are IPv6 addresses that gateways turn into IPv4 ones (RFC 6052
// section 2.1, RFC 8215, RFC 3056, RFC 4380), which could be any of those above.
var translated = prefixes("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")

// metadata are addresses that are not link-local, under which clouds tell a
// machine its secrets: of AWS and of Google over IPv6, of Alibaba, of Azure.
var metadata = prefixes("fd00:ec2::254/128", "fd20:ce::254/128", "100.100.100.200/32", "168.63.129.16/32")

func prefixes(list ...string) (all []netip.Prefix) {
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// Dialer connects within the guard.
func (g Guard) Dialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %s", ErrRefused, address)
		}
		return g.Check(netip.AddrPortFrom(at.Addr().WithZone(""), at.Port()))
	}}
}

// Dial connects within the guard. Names below localhost are this machine (RFC 6761
// section 6.3): servers of names do not know them, but they are what apps of a
// foundation on a developer's machine are called.
func (g Guard) Dial(ctx context.Context, network, address string, timeout time.Duration) (net.Conn, error) {
	d := g.Dialer(timeout)
	host, port, err := net.SplitHostPort(address)
	if name := strings.ToLower(strings.TrimSuffix(host, ".")); err != nil || name != "localhost" && !strings.HasSuffix(name, ".localhost") {
		return d.DialContext(ctx, network, address)
	}
	c, err := d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	if err == nil {
		return c, nil
	}
	if c, six := d.DialContext(ctx, network, net.JoinHostPort("::1", port)); six == nil {
		return c, nil
	}
	return nil, err
}

// Client makes requests within the guard. It goes through no proxy, which would
// connect in its place, and follows no redirections, which would carry
// credentials elsewhere.
func (g Guard) Client(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return g.Dial(ctx, network, address, 10*time.Second)
			},
			TLSClientConfig:     &tls.Config{RootCAs: g.Roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
		},
	}
}
