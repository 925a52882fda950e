// Package depot carries packages and droplets between the machines of a
// foundation, by their SHA-256: every API keeps all of them, stagers and cells
// fetch what they lack and keep it for a while.
//
// cmd/dew serves a Depot beside each API, to peers that have proven their role, and
// gives other roles a Peers to fetch from and to leave droplets with. What arrives
// is verified before it has a name: a package by its digest, a droplet as one that
// a stranger sent. An API that lacks what the ledger names gets it from another
// (Converge), so that two APIs have the same, soon after one got it.
//
// Nothing is owned but the two folders of an API, of which droplets that nobody
// names any more are swept here and packages by the API. Converge runs in its
// caller's goroutine. No locks.
//
// It refuses digests that are none, packages to others than APIs and the stager that
// has a build of it, droplets to others than APIs and cells on which they are placed,
// and droplets of others than stagers that have a build.
package depot
