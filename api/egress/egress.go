package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// Guard decides where connections may go. The zero Guard is the strict one.
type Guard struct {
	Allow []netip.Prefix // wins over everything else
	Deny  []netip.Prefix // networks of the platform itself
}

// ErrRefused is an address that tenants may not make the platform talk to.
var ErrRefused = errors.New("the platform does not connect to this address")

// Check tells whether an address may be connected to.
func (g Guard) Check(a netip.Addr) error {
	a = a.Unmap()
	for _, p := range g.Allow {
		if p.Contains(a) {
			return nil
		}
	}
	bad := !a.IsValid() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || a.Is4() && a.As4()[0] == 0 ||
		a.Is6() && translated(a)
	for _, p := range g.Deny {
		bad = bad || p.Contains(a)
	}
	if bad {
		return fmt.Errorf("%w: %s", ErrRefused, a)
	}
	return nil
}

// translated are IPv6 addresses that gateways turn into IPv4 ones (RFC 6052
// section 2.1, RFC 3056), which could be any of those above.
func translated(a netip.Addr) bool {
	return netip.MustParsePrefix("64:ff9b::/96").Contains(a) || netip.MustParsePrefix("2002::/16").Contains(a)
}

// Dialer connects within the guard.
func (g Guard) Dialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %s", ErrRefused, address)
		}
		return g.Check(at.Addr().WithZone(""))
	}}
}

// Client makes requests within the guard. It goes through no proxy, which would
// connect in its place, and follows no redirections, which would carry
// credentials elsewhere.
func (g Guard) Client(timeout time.Duration) *http.Client {
	dial := g.Dialer(10 * time.Second)
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return dial.DialContext(ctx, network, address)
			},
			TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
		},
	}
}
