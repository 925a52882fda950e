// Package kernel is the ring-0 kernel that is linked into every droplet. When
// a loader enters the ELF through PVH instead of Linux through its entry
// point, this package answers, on bare metal, the calls that the process
// tender lets the host's kernel answer, on the same descriptors (package abi).
// In a process none of it runs: linked is all that anybody calls, and its data
// is untouched zero pages.
//
// The kernel is event-style. Interrupts are off while it runs, and it has one
// stack for each CPU. Every way in (SYSCALL, exception, interrupt) saves the
// registers in the running thread's struct, takes the one lock, calls Go and
// resumes whichever thread that returns. The program also runs in ring 0: the
// virtual machine is the wall, not a ring.
// GS base is the perCPU; FS base is switched to the kernel's own on entry.
//
// Rules for this code and guest/cpu, mem, thread, virtio, firmware, entropy,
// which rules_test.go checks on the compiled packages. It runs on a g that
// belongs to no m, while the garbage collector may be at work:
//   - no allocation, no growing, no maps, no closures that escape, no defer;
//   - no stores of pointers except on the stack (write barriers need a P):
//     structs hold addresses and indices;
//   - only static initialisers: package initialisation has not run at boot;
//   - no panic is recoverable: each is a fatal kernel error with registers.
//
// It refuses any call that a guest does not have by stopping the guest, as
// seccomp does.
//
// Sources: Xen start_info.h 4.17 (PVH); Intel SDM 325462-083; Linux v6.1
// system call semantics by man-pages 6.9; VIRTIO 1.2.
package kernel
