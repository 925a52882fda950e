package cell

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/dewpaas/dew/cf"
)

// Defaults of health checks.
const (
	startTimeout  = 60 * time.Second // to become healthy
	invocation    = time.Second      // for one check
	interval      = 30 * time.Second // between checks of what is healthy
	startInterval = 250 * time.Millisecond
)

// check is a health check made ready: its times are set.
type check struct {
	kind, endpoint                string
	timeout, invocation, interval time.Duration
}

func newCheck(h cf.HealthCheck) check {
	c := check{kind: h.Type, endpoint: h.Endpoint, timeout: startTimeout, invocation: invocation, interval: interval}
	if h.Timeout > 0 {
		c.timeout = time.Duration(h.Timeout) * time.Second
	}
	if h.InvocationTimeout > 0 {
		c.invocation = time.Duration(h.InvocationTimeout) * time.Second
	}
	if h.Interval > 0 {
		c.interval = time.Duration(h.Interval) * time.Second
	}
	if c.endpoint == "" {
		c.endpoint = "/"
	}
	return c
}

// trivial tells whether the check always passes while the guest runs.
func (c check) trivial() bool { return c.kind != "port" && c.kind != "http" }

type dialer func(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error)

// do makes the check once. It returns what is wrong, in the words that users
// know, or "".
func (c check) do(ctx context.Context, dial dialer, to netip.AddrPort) string {
	if c.trivial() {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, c.invocation)
	defer cancel()
	if c.kind == "http" {
		return c.get(ctx, dial, to)
	}
	conn, err := dial(ctx, to)
	if err != nil {
		return fmt.Sprintf("Failed to make TCP connection to %s: %s", to, reason(err))
	}
	conn.Close()
	return ""
}

func (c check) get(ctx context.Context, dial dialer, to netip.AddrPort) string {
	failed := fmt.Sprintf("Failed to make HTTP request to '%s' on port %d: ", c.endpoint, to.Port())
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, to) }}
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+to.String()+c.endpoint, nil)
	if err != nil {
		return failed + err.Error()
	}
	q.Header.Set("User-Agent", "diego-healthcheck")
	answer, err := client.Do(q)
	if err != nil {
		return failed + reason(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Sprintf("%sreceived status code %d", failed, answer.StatusCode)
	}
	return ""
}

// advice is what the author of a program that never becomes healthy can do.
func (c check) advice() string {
	if c.kind == "http" {
		return ". The program must answer 200 there; give it more time with -t, or choose another check with -u."
	}
	return ". The program must listen on $PORT, on all addresses; give it more time with -t, or push what does not listen with -u process."
}

// timedOut is the reason of a check that got no answer.
const timedOut = "timed out"

// reason is what went wrong, without what everybody knows already.
func reason(err error) string {
	var number syscall.Errno
	var timed net.Error
	switch {
	case errors.As(err, &number):
		return number.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timed) && timed.Timeout():
		return timedOut
	}
	return err.Error()
}
