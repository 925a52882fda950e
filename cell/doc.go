// Package cell is the landlord of one host: it runs exactly the instances that
// the ledger places on it, and says in the ledger what became of them.
//
// cmd/dew makes one Cell per host and calls Run. The cell reads its placements
// whenever it is woken, and every few seconds in any case; it starts what is
// missing and ends what is Stopping or has no placement. It never decides to
// start something again: a crash is reported, and the scheduler places another
// instance. When the ledger cannot be reached, guests go on as they are.
//
// The way of an instance: instance.go (its life), start.go (from placement to
// guest: droplet, command, address, vNIC, boot configuration), health.go,
// output.go (pipes to log lines), and its end. Guests are started through a
// keeper (tender/keeper), so a new Cell gets back what an old one left,
// whatever happened to it; wiring.go keeps the firewall true: a tap comes up
// only after the rules for it are in force.
//
// All that a cell asks of the ledger is a Ledger's: of the ledger itself (Direct),
// or of an API that answers by one.
//
// Goroutines, all started and ended by Run: converge (owns the table of
// instances), one life per instance and two readers of its outputs, the
// reporter (owns what is written to the ledger), the wiring (owns the
// topology), the sampler, the watch over the firewall, the watch over the way out
// (uplink.go), and the flow log
// (flow.go: denied connections in the logs of the apps). Lend gives places in
// the network to who owns the cell, for `dew breach`. Locks: Cell.mu guards the table for readers,
// instance.mu its state for others, addresses.mu, reporter.mu; none is held
// while another is taken or while anything could block. Uplink.mu is held while
// the host is changed or tested.
//
// It refuses to start what it has no rules, no address or no memory for, and
// to start one instance twice.
//
// Spec: health checks, grace periods and log lines as Cloud Foundry's Diego has
// them (cf-api contract, sections 5 and 6).
package cell
