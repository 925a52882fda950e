package resolver

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/singleflight"

	"github.com/miekg/dns"
)

// Config is how the resolver reaches the rest of the world.
type Config struct {
	// Upstreams are asked in this order for what is not internal. Without any,
	// such names fail.
	Upstreams []netip.AddrPort
	// Dial reaches them; nil dials from the network namespace of the process.
	Dial Dialer
	// Log is told of upstreams that fail; nil is silence.
	Log *slog.Logger
}

// Resolver answers the guests of one cell. Its methods may be called from any
// goroutine.
type Resolver struct {
	upward   *upstreams
	ask      func(context.Context, question) (*dns.Msg, error) // of upward
	log      *slog.Logger
	table    atomic.Pointer[table]
	updates  sync.Mutex // one Update at a time: each builds on the last
	flights  singleflight.Group
	forwards chan struct{} // a slot for each query at the upstreams
	counts   counters
}

// New makes a resolver that knows nobody, and so answers nobody, until the
// first Update.
func New(c Config) *Resolver {
	r := &Resolver{upward: newUpstreams(c.Upstreams, c.Dial), log: c.Log, forwards: make(chan struct{}, maxForwards)}
	r.ask = r.upward.ask
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	empty, _ := compile(Snapshot{}, &table{}) // an empty world holds nothing wrong
	r.table.Store(empty)
	return r
}

// Update makes s the world, at once and as a whole. The cell calls it before
// the first frame of a new guest. Entries that are wrong are left out and named
// in the error; the rest is in force all the same.
func (r *Resolver) Update(s Snapshot) error {
	r.updates.Lock()
	defer r.updates.Unlock()
	t, err := compile(s, r.table.Load())
	r.table.Store(t)
	if err != nil {
		return fmt.Errorf("resolver: %w", err)
	}
	return nil
}

// Ask makes upstreams those that are asked from now on.
func (r *Resolver) Ask(upstreams []netip.AddrPort) { r.upward.use(upstreams) }

// Counts says what the resolver has done since it was made.
type Counts struct {
	Queries   uint64 // read from known askers within their limits
	Internal  uint64 // answered with addresses of instances
	Missing   uint64 // internal names that do not exist for their asker
	Forwarded uint64 // sent to an upstream
	Cached    uint64 // outside names answered from a cache
	Failed    uint64 // forwarded without a useful answer
	Rebinding uint64 // outside names that lead to protected addresses
	Refused   uint64 // classes, types and names that are not served
	Limited   uint64 // dropped or failed because the asker asks too much
	Strangers uint64 // from addresses that are no asker's
}

type counters struct {
	queries, internal, missing, forwarded, cached, failed, rebinding, refused, limited, strangers atomic.Uint64
}

// Counts reads the counters.
func (r *Resolver) Counts() Counts {
	c := &r.counts
	return Counts{c.queries.Load(), c.internal.Load(), c.missing.Load(), c.forwarded.Load(), c.cached.Load(),
		c.failed.Load(), c.rebinding.Load(), c.refused.Load(), c.limited.Load(), c.strangers.Load()}
}

// forward answers an outside name from the app's cache or the upstreams, the
// same question of one app once at a time: many at once would let a forger
// guess in parallel.
func (r *Resolver) forward(ctx context.Context, a *app, q question) (cachedReply, bool) {
	if found, age := a.cache.get(q); found != nil {
		r.counts.cached.Add(1)
		return cachedReply{found, uint32(age.Seconds())}, true
	}
	select {
	case r.forwards <- struct{}{}:
		defer func() { <-r.forwards }()
	default:
		r.counts.limited.Add(1)
		return cachedReply{}, false
	}
	v, _, _ := r.flights.Do(a.guid+" "+strconv.Itoa(int(q.kind))+" "+q.name, func() (any, error) {
		return r.lookUp(ctx, a, q), nil
	})
	return cachedReply{v.(*reply), 0}, true
}

// cachedReply is an answer and the seconds that it has been kept.
type cachedReply struct {
	*reply
	age uint32
}

func (r *Resolver) lookUp(ctx context.Context, a *app, q question) *reply {
	r.counts.forwarded.Add(1)
	m, err := r.ask(ctx, q)
	var found *reply
	if err == nil {
		found, err = scrub(q, m)
	}
	if err != nil {
		r.counts.failed.Add(1)
		r.log.Debug("a name was not resolved", "app", a.guid, "name", q.name, "error", err)
		found = &reply{rcode: dns.RcodeServerFailure, ttl: failureTTL}
	}
	a.cache.put(q, found)
	return found
}

// addrOf is the address of a query's sender.
func addrOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
