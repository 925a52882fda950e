// Package passage is the way from a router to instances on another machine: one
// port of each cell, behind mutual TLS, at which routers name an instance and get
// a connection to it.
//
// cmd/dew serves a Gate at each cell and gives a router a Dialer. Both ends
// know by their TLS configuration who is at the other; this package sees no keys.
// A connection is asked for by the instance's GUID, never by an address: one that
// has ended is refused, and nobody else gets its requests. What is refused was
// not sent, so a router may try another instance.
//
// Before a router's first connection to a cell there is a session, over which the
// cell asks routers to stop sending to an instance and hears that nothing is under
// way any more. So an instance can end without a lost request, whatever became of
// the ledger and the bus.
//
//	router: dew/1 session LF                cell: + LF, then lines "drain GUID" LF
//	                                        router: lines "drained GUID" LF
//	router: dew/1 instance GUID PORT LF     cell: + LF, then bytes, or "- reason" LF
//
// Goroutines: a Gate has one per connection, two while bytes pass; a Dialer one
// per session and one per drain. Close of each ends them. Locks: one each, held for
// no I/O.
//
// It refuses lines above 256 bytes, what is not said within seconds, and
// connections from routers without a session.
package passage
