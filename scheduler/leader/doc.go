// Package leader runs the scheduler: it feeds scheduler.State from the ledger
// and carries its actions back there.
//
// cmd/dew runs one Leader in every process that may schedule; the lease in the
// ledger lets one of them work. A round reads what is desired, what the cells
// report and what users asked for, makes events of the differences, steps, and
// writes all actions in one transaction that finds the lease's token unchanged.
// If that fails, the state is thrown away and read again: nothing is remembered
// that is not in the ledger. Rounds come when the Leader is woken, when the
// scheduler asked to be, and every few seconds.
//
// Runtime is the other side: what the API asks and wishes of instances. It
// works in every process, whoever leads.
//
// Run is the only goroutine and owns the State. Wake and Sync may be called
// from anywhere. No locks.
//
// It refuses to work without the lease, and to compare clocks of two machines:
// a lease is taken over when its holder has not counted for a while by the
// taker's own clock.
package leader
