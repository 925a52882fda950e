// Package resolver is the name server of a cell's guests. It stands on the
// gateway address inside the cell's network, where the firewall vouches for the
// source address of every query: the address says which app asks.
//
// Names below an internal domain are answered from the table that the cell
// feeds: A records of ready instances, shuffled, with TTL 0, and only of apps
// that a network policy lets the asker reach. Every other internal name does
// not exist, whether there is such an app or not, and none is ever sent on. The
// rest of the names is asked of upstreams, with a cache of its own for each
// app: what one app looks up can be neither timed nor evicted by another.
//
// The cell makes one Resolver, calls Update with every change of the world, for
// which SnapshotOf reads its topology, and Serve, which owns all goroutines: two listeners, one goroutine per query and
// per TCP connection, both bounded. The table is immutable and swapped whole.
// Locks, none held while another is taken: a cache's, a meter's, an upstream's.
//
// It refuses: addresses it does not know (no answer at all), more queries than
// the limits of limit.go, classes other than IN, ANY and zone transfers, outside
// names for apps that may not reach the outside. An outside name that points to
// this host, its guests, the gateway or a metadata service is answered as
// missing. Upstreams see neither the asker nor its choice of letters, and their
// answers are cut down to the records that answer the question.
//
// Guests have no IPv6: AAAA questions get an empty answer. DNSSEC is left to the
// upstreams.
//
// Specs: RFC 1034, 1035; 2181 and 2308 (TTLs); 5452 (forgery); 6891 (EDNS);
// 7766 (TCP); 8482 (ANY); 8914 (extended errors); 9520 (failures).
package resolver
