// Package sim is a foundation without guests: the real ledger, the real leaders
// and the real runtime, with cells that only pretend. Tests run it in a bubble
// of testing/synctest, where time passes only when everybody waits, so that
// stories of hours take moments and are the same each time.
//
// A Foundation owns its ledger, a goroutine per leader and one per cell. A Cell
// does what cell.Cell does with placements and reports, and instead of guests
// it has rules: what crashes, what never becomes ready, when it hears nothing.
// One lock, Cell.mu, guards those rules and is never held over a transaction.
//
// Each leader and each cell has a wall clock of its own, which stories set; what is
// measured is measured with the bubble's, which nobody sets.
//
// It refuses nothing: it is for tests.
package sim
