// Package process is the tender that needs no hypervisor: the droplet's ELF as
// a host process, sealed before its first instruction. `dew run` and the cell
// call Tender.Start.
//
// The jail is a list of system calls (jail), prepared in Go and carried out by
// forty instructions of assembly in a child that shares the caller's memory
// and never returns to Go (spawn): namespaces, cgroups, an empty read-only
// root, the descriptors of package abi, resource limits, no capabilities, an
// identity of its own, seccomp, execveat. Between clone and exec no Go code
// runs, so nothing of the cost of starting Go is paid, and no helper process
// stays behind: the instance is one pidfd and two descriptors in its caller.
// The first call that fails is reported by name.
//
// Each Instance has one goroutine, ended by the guest's end, that collects the
// exit status, removes the cgroup and closes the link. No locks but the link's.
//
// It refuses to run without root (or a user namespace in which the caller is
// root), because then nothing above could be promised.
//
// Specs: clone(2), pivot_root(2), capabilities(7), Linux 6.18.
package process
