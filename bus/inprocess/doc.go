// Package inprocess is a bus within one process: for simulations, tests, and
// where a server would be too much. Each subscription has one goroutine and a
// queue of bounded length; Bus.mu guards who is subscribed, subscription.mu its
// queue; the first is never taken while the second is held.
package inprocess
