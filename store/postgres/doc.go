// Package postgres keeps the ledger in a PostgreSQL database.
//
// cmd opens it for a platform of several machines. Updates are serializable
// transactions: one that lost a race is run again by store.
// Make the database with the C collation, so that names sort as in SQLite.
//
// Spec: PostgreSQL 15 documentation, 13.2.3 and appendix A (error codes).
package postgres
