// Package feed tells a router what the ledger says: which hosts and paths lead
// to which instances that are running and ready.
//
// cmd/dew makes one Feed per router and lets router.Follow read it. Each read
// sees one state of the ledger and is compared with the one before, so that the
// router gets what differs, and never an instance's end before the beginning of
// the one that replaces it. Reads come when the Feed is woken and every few
// seconds.
//
// Next is called by one goroutine (Follow's), which owns what was told. Wake,
// Sync, Drained and Foreign may be called from any goroutine; one mutex guards
// who waits, and is never held while reading.
//
// It refuses routes that the router's table would refuse, one by one: a wrong
// one does not keep others out.
package feed
