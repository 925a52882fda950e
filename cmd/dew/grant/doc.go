// Package grant says what each role may see of the ledger, and what it may write:
// one table (table.go), by role, noun and record. What the table does not grant is
// refused: a noun that is not in it, a role that is not in it, a record for which it
// says no. Of many records only a part is seen.
//
// cmd/dew/desk answers a role's questions over what Guard returns, so that no
// question, whatever it asks for, gets more than the table says. APIs and the
// scheduler have the ledger itself and are not in the table.
//
// A guard owns nothing and starts no goroutine. Each transaction works out what is
// its peer's (scope.go) in the state of the ledger that it sees, once.
//
// It refuses records above 256 KiB from anybody.
package grant
