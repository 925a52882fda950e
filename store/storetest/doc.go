// Package storetest is the suite that every ledger must pass.
//
// The tests of store/sqlite and store/postgres call Run with a function that
// opens an empty ledger. The suite owns nothing and knows neither database; it
// refuses a ledger that loses, invents, reorders or half-writes anything.
//
// Spec: the contracts of cf.Store and cf.Tx.
package storetest
