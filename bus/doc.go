// Package bus carries messages between rooms, whether they are in one process
// or on many machines: bus/inprocess is for one process and simulations,
// bus/nats is a NATS server in the process or a cluster. cmd/dew makes one Bus
// per process that has the ledger, and wires rooms to its topics; no room knows it.
//
// Messages are hints. They may be lost, come late or twice; whoever acts on one
// looks into the ledger first, and looks there from time to time without one.
// What must not be lost is not sent here.
//
// A Bus is safe for concurrent use. Publishing never waits for subscribers: one
// that is slow loses messages, and nobody else does. What comes out of a bus is
// checked like any input from elsewhere: a body that is no message of its topic
// is dropped.
package bus
