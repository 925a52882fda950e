// Package container starts the baseline of package breach: an ordinary process
// in what people mean by a container, so that a droplet can be compared with
// it. It is as near to the usual runtimes' defaults as can be had without one:
// namespaces for mounts, processes, network, IPC, host name and control
// groups; a root directory of its own; the masked and read-only paths of /proc;
// the capabilities and the seccomp profile that Docker gives by default, taken
// from its own source (github.com/moby/profiles); and the limits of the guest
// that it is compared with.
//
// Two variants are compared: Root, user 0 with Docker's 14 capabilities, and
// User, an unprivileged user without any and with no_new_privs, as the stricter
// platforms run their containers.
//
// The program that is started completes its container itself, by its step
// "contain" (breach/attacker), before it executes itself again: it is the
// harness's own until then. The filter differs from Docker's in one thing, to
// the attacker's disadvantage: calls through the 32-bit entry are refused.
//
// Start returns a Container, which the caller ends with Kill and Wait; one
// goroutine waits for the process. It refuses to run without root.
//
// Sources: opencontainers/runc libcontainer/standard_init_linux.go,
// moby/moby daemon/pkg/oci/defaults.go and caps/defaults.go, 28.x.
package container
