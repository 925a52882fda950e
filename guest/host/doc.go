// Package host is the library OS's way down: the few calls that the tender
// answers on the descriptors of package abi, and the hooks into the Go runtime
// and into package syscall. Everything above it is the same on every tender.
//
// In a guest (build tag dewguest, resolved by the stager) the calls are SYSCALL
// instructions that the host kernel answers under seccomp, or the ring-0 kernel
// on bare metal. On the host, where the packages above are unit-tested, there
// is no tender: Active is false and what has no meaning there fails with
// ENOSYS; only clocks, random bytes and the console work.
//
// None of these calls blocks its thread but Console, which may wait for a
// tender that is slow to read and gives up its P meanwhile.
package host
