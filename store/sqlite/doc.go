// Package sqlite keeps the ledger in one file of this machine.
//
// cmd opens it for a platform of one machine. The file is in WAL mode with
// synchronous=FULL: what was acknowledged survives a power cut. There is one
// writing connection, so writers queue in Go instead of failing as busy, and a
// pool of reading ones, each of which sees a snapshot.
//
// Spec: SQLite 3 documentation, "Write-Ahead Logging" and "PRAGMA synchronous".
package sqlite
