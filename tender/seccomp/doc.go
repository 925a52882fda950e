// Package seccomp is the wall around a guest that runs as a host process: the
// calls that the host kernel answers, the few that it pretends to, and death
// for all others. tender/process installs the program right before the guest's
// first instruction. stager/sandbox compiles a table of its own with it.
//
// Wall is the table, and the documentation of the wall; Compile turns tables into
// classic BPF (Linux Documentation/userspace-api/seccomp_filter.rst, 6.18).
// Calls that a busy guest makes often are tested first, the others by binary
// search. Arguments are compared by their low 32 bits: wherever the table does
// so the kernel takes an int, or ignores the upper half (see each rule).
//
// The package is pure. It owns nothing and has no locks. It refuses to compile
// a table whose jumps would not fit.
package seccomp
