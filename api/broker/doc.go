// Package broker speaks with service brokers: their catalogs, instances and
// bindings, until each has answered.
//
// api writes what a broker shall do into the ledger (cf.ServiceWork), in the
// transaction in which a user asked for it, and kicks the Worker, which does it:
// it sends the request, polls what takes long, writes the outcome to the
// instance, the binding and the job, and cleans up at the broker what was not
// taken into the ledger (orphan mitigation). Work survives restarts; a request is
// sent again with the same guids, which brokers answer as before.
//
// A Worker owns the goroutines that do work, at most so many at once, started by
// Run and ended with its context. Several Workers may share a ledger: work is
// claimed by moving its due time.
//
// Everything that a broker says is hostile: answers are bounded, catalogs are
// checked as a whole before anything is taken. Brokers of one space, which
// tenants register, are only reached through egress.
//
// Spec: Open Service Broker API 2.17.
package broker
