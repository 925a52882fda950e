// Package cf holds the nouns of the platform and the contracts between rooms.
//
// Every room that is not below the droplet imports it; it imports only the
// standard library. A noun is a struct: what the API shows of it is made in
// api, how it is kept is made in store. What rooms ask of each other is here:
// Store for the ledger, Query for questions to it, Extract for what a room has to know of it, DesiredLRP and ActualLRP
// between the control plane and the cells, Launch and Environment for what an
// instance is made from, Error for everything that fails.
//
// The package starts no goroutine and has no lock. Values are not safe for
// concurrent change; a Store is safe for concurrent use.
//
// It refuses questions that cannot be answered: a Query may name only the keys
// that its noun declares in Keys, so that no filter is silently ignored.
//
// Spec: Cloud Controller API V3, 3.211.0.
package cf
