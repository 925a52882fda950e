// Package scheduler decides what runs where: cells, what is desired and what
// the cells say go in, placements, stops and the progress of deployments and
// tasks come out.
//
// It is a state machine and nothing else. State.Step takes events and the
// time and returns actions; it starts no goroutine, reads no clock, does no
// I/O and takes no lock, and the same events at the same times give the same
// actions, instance GUIDs included. scheduler/leader feeds it from the ledger
// and carries its actions back there in one transaction; when that fails, the
// State is thrown away and read again, so every rule here is level-triggered:
// it looks at what is, never at what was told once.
//
// A slot is one index of one process. It has one instance that is firm, placed
// or waiting, and beside it those that are stopping, and those on cells that
// are lost or leaving, which are kept until the firm one runs.
//
// It refuses to overcommit a cell's memory or disk: what does not fit waits,
// with the reason in words. Quotas are not looked at here: the API refuses
// wishes above them before they are in the ledger.
//
// Spec: Cloud Foundry's restart policy (three restarts at once, then 30 s
// doubling to 16 min, 200 in all, forgotten after 5 min) and the arithmetic of
// rolling and canary deployments of the V3 API, 3.195.0.
package scheduler
