// Package qemu is the tender that boots a droplet's ELF in a virtual machine:
// QEMU's microvm by PVH, on KVM where that works and emulated (TCG) where it
// does not. Inside, guest/kernel answers what the host kernel answers for
// tender/process, so that droplet and boot record are the same.
//
// Probe decides about KVM once by running a few instructions with a time limit,
// since /dev/kvm may exist and not work. Start hands QEMU open descriptors: the
// program, one memfd with boot record and image (secrets are on no command line
// and no disk), the tap, the log pipes, and one end of a socket pair for the
// control channel. The machine has three devices: a console with three ports
// (control, stdout, stderr), the network card, and a serial port for the
// kernel's last words, which go to stderr too.
//
// As root the caller gives QEMU, from its first instruction, namespaces of its
// own (user, net, ipc, uts, pid, mount) and a uid that nobody else has. Before
// the guest's first instruction QEMU also moves to an empty root directory,
// drops what it may do in its user namespace and turns on its seccomp sandbox;
// it has no monitor. Without root there is only the sandbox. The program must
// be readable for all, and /dev/kvm usable for all where KVM works. QEMU sets
// O_NONBLOCK on the log pipes it is given.
//
// What owns what: each Instance has one goroutine that waits for the process
// and ends with it, a Link, and as root a control group (tender/cgroup) that
// enforces the limits on QEMU and guest together.
//
// Tried with QEMU 7.2 and 10.0.
//
// Sources: QEMU 7.2 docs/system/i386/microvm.rst, qemu-system-x86_64(1);
// hw/misc/debugexit.c (exit status 2*v+1).
package qemu
