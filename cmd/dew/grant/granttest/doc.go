// Package granttest is a ledger in which everybody has something to lose: at least
// one record of every noun, secrets that can be told from each other, and three
// tenants, of whom one is at home on cell "c1", one is connected with that by a
// network policy, and one has nothing to do with either.
//
// Tests of cmd/dew/grant and cmd/dew/desk attack it as the roles that they take over.
// It owns nothing but the database of the test and refuses nothing.
package granttest
