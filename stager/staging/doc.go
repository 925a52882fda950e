// Package staging is the platform's stager: it turns the packages of apps into
// droplets, on behalf of the API. cmd wires it between ledger, blobs, droplet
// store and logs; it is the API's Stager and keeps its Droplets.
//
// The queue is the ledger: every build in state STAGING is to be done, whoever
// wrote it. Stage only says that there is one. So a stager that was killed goes
// on where it was, and a build that nobody can end is failed when its time is
// up. A droplet is on disk before the ledger names it.
//
// Run owns everything: one goroutine that decides what is built next, one per
// build, all ended when it returns. The mutex of a Stager guards the set of
// builds under way and is held for no I/O.
//
// What a package may do is bounded by Config: builds at once, time, memory, disk,
// log; a space that has builds waiting does not keep others from theirs. Errors
// that a developer can mend are told in the log and in the build; others go to
// the operator's log and are told as "the stager failed".
//
// All that a stager asks of the ledger is a Ledger's: of the ledger itself (Direct),
// or of an API that answers by one. Any number of stagers share it. A build is done under a lease of its own
// (claim.go): its stager raises the lease's beat, another takes the build over when
// the beat has not moved for a while by its own clock, and the end of a build is
// written only under the lease.
package staging
