package resolver

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const (
	// attemptTime is how long one upstream may think; all of them together
	// have forwardTime, which is below the 5 s of common clients (resolv.conf(5)).
	attemptTime = 1200 * time.Millisecond
	forwardTime = 4 * time.Second
	// downTime is how long an upstream that did not answer is asked last.
	downTime = 10 * time.Second
	// ednsSize is what passes every path unfragmented (DNS flag day 2020).
	ednsSize = 1232
)

// Dialer connects to an upstream; network is udp or tcp.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// upstreams are the name servers that know the rest of the world, in the order
// of preference.
type upstreams struct {
	dial Dialer
	list atomic.Pointer[[]*upstream]
}

type upstream struct {
	addr string

	mu   sync.Mutex
	down time.Time // asked last until then
}

func newUpstreams(addrs []netip.AddrPort, dial Dialer) *upstreams {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	u := &upstreams{dial: dial}
	u.use(addrs)
	return u
}

// use replaces the list. Who stays on it keeps its record.
func (u *upstreams) use(addrs []netip.AddrPort) {
	var list, before []*upstream
	if old := u.list.Load(); old != nil {
		before = *old
	}
	for _, a := range addrs {
		at := slices.IndexFunc(before, func(s *upstream) bool { return s.addr == a.String() })
		if at < 0 {
			list = append(list, &upstream{addr: a.String()})
		} else {
			list = append(list, before[at])
		}
	}
	u.list.Store(&list)
}

// Upstreams reads the name servers of this host from a file like
// /etc/resolv.conf.
func Upstreams(path string) ([]netip.AddrPort, error) {
	c, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the host's name servers: %w", err)
	}
	var list []netip.AddrPort
	for _, s := range c.Servers {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("%s: name server %q: %w", path, s, err)
		}
		list = append(list, netip.AddrPortFrom(addr, 53))
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s names no name server", path)
	}
	return list, nil
}

var errNoUpstream = errors.New("there is no upstream")

// ask asks one upstream after the other until one knows. The answer is
// NOERROR or NXDOMAIN; anything else is an error.
func (u *upstreams) ask(ctx context.Context, q question) (*dns.Msg, error) {
	if len(*u.list.Load()) == 0 {
		return nil, errNoUpstream
	}
	ctx, cancel := context.WithTimeout(ctx, forwardTime)
	defer cancel()
	var failed error
	for ctx.Err() == nil {
		silent := false
		for _, s := range u.order() {
			m, err := u.attempt(ctx, s, q)
			if err == nil {
				return m, nil
			}
			failed = fmt.Errorf("upstream %s: %w", s.addr, err)
			var refused rcodeError
			silent = silent || !errors.As(err, &refused)
		}
		if !silent { // all have answered, and will answer the same
			break
		}
		pause(ctx, attemptTime/10) // for upstreams that fail at once
	}
	return nil, cmp.Or(failed, ctx.Err())
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// order puts upstreams that were silent lately behind the others.
func (u *upstreams) order() []*upstream {
	now := time.Now()
	list := slices.Clone(*u.list.Load())
	slices.SortStableFunc(list, func(a, b *upstream) int {
		return boolCompare(a.isDown(now), b.isDown(now))
	})
	return list
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func (s *upstream) isDown(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.down)
}

func (s *upstream) setDown(until time.Time) {
	s.mu.Lock()
	s.down = until
	s.mu.Unlock()
}

// rcodeError is an upstream's word that it will not answer.
type rcodeError int

func (e rcodeError) Error() string { return "answers " + dns.RcodeToString[int(e)] }

// attempt asks one upstream: by UDP, by TCP when the answer does not fit, or
// when its question is spelled in other letters than ours.
func (u *upstreams) attempt(ctx context.Context, s *upstream, q question) (*dns.Msg, error) {
	query := newQuery(q)
	m, err := u.exchange(ctx, "udp", s, query)
	if errors.Is(err, errSpelling) || err == nil && m.Truncated {
		m, err = u.exchange(ctx, "tcp", s, query)
	}
	if err == nil && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented) {
		query.Extra = nil // from before EDNS (RFC 6891 section 7)
		m, err = u.exchange(ctx, "tcp", s, query)
	}
	switch {
	case err != nil:
		if ctx.Err() == nil {
			s.setDown(time.Now().Add(downTime))
		}
		return nil, err
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return nil, rcodeError(m.Rcode)
	}
	s.setDown(time.Time{})
	return m, nil
}

// newQuery spells the name in random letters: who forges an answer has to
// guess them besides the id and the port (RFC 5452 section 4).
func newQuery(q question) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(spell(q.name), q.kind)
	m.SetEdns0(ednsSize, false)
	return m
}

func spell(name string) string {
	dice := make([]byte, len(name))
	rand.Read(dice) // never fails
	b := []byte(name)
	for i, c := range b {
		if 'a' <= c && c <= 'z' && dice[i]&1 == 1 {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

var errSpelling = errors.New("the question came back in other letters")

// exchange sends a query from a socket, and so a port, of its own. What comes
// back over UDP and is no answer to it is passed over: it may be forged, and
// the true one may follow.
func (u *upstreams) exchange(ctx context.Context, network string, s *upstream, query *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	raw, err := u.dial(ctx, network, s.addr)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })()
	conn := &dns.Conn{Conn: raw, UDPSize: ednsSize}
	if err := conn.WriteMsg(query); err != nil {
		return nil, err
	}
	for {
		p, err := conn.ReadMsgHeader(nil)
		if err != nil && !errors.Is(err, dns.ErrShortRead) {
			return nil, err
		}
		m := new(dns.Msg)
		if err == nil {
			err = m.Unpack(p)
		}
		if err == nil {
			err = matches(query, m)
		}
		if errors.Is(err, errSpelling) && network == "tcp" { // nobody but the upstream can write here
			err = nil
		}
		if err == nil || network == "tcp" || errors.Is(err, errSpelling) {
			return m, err
		}
	}
}

var errMismatch = errors.New("the answer belongs to another question")

func matches(query, m *dns.Msg) error {
	if m.Id != query.Id || !m.Response || len(m.Question) != 1 {
		return errMismatch
	}
	asked, got := query.Question[0], m.Question[0]
	switch {
	case asked.Qtype != got.Qtype || asked.Qclass != got.Qclass || !strings.EqualFold(asked.Name, got.Name):
		return errMismatch
	case asked.Name != got.Name:
		return errSpelling
	}
	return nil
}
