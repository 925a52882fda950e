// Package cpu holds the x86-64 instructions, registers and descriptor tables
// that the ring-0 kernel needs and that Go has no words for. guest/kernel is
// its only caller.
//
// Each instruction is one assembly routine with an ordinary Go signature. They
// may only run in ring 0 (a process that calls one dies of SIGSEGV), with two
// exceptions that say so. Calling assembly from Go reloads g from FS:-8, so
// the kernel switches FS base to its own thread-local storage before it runs
// Go code: FSGSBASE is therefore required of the CPU.
//
// What can be said without executing it (descriptor encodings, the trampoline
// of a second processor, clock scales) is pure and tested on the host. The
// rules for kernel code of guest/kernel hold here: nothing allocates, nothing
// stores pointers, nothing blocks; every routine may run with interrupts off.
//
// Sources: Intel SDM order number 325462-083 (SDM), volume 3 unless said
// otherwise; Intel 82093AA I/O APIC 1996 (IOAPIC); Intel 8254 PIT.
package cpu
