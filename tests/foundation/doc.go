// Package foundation tests `dew up` as its users have it: the real binary, real
// guests, the real command line, under load, and killed at any moment. TestRoles
// does the same to single roles, two of each, with a real PostgreSQL and NATS, and
// tries what whoever takes one over would.
//
// The tests need root, and are skipped with that reason without it. They own a
// data folder and whatever they start, and leave nothing behind.
package foundation
