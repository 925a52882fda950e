// Package pvh makes a linked Go program bootable on bare metal: it adds, after
// linking, the ELF note by which QEMU, Firecracker and Cloud Hypervisor find a
// 32-bit entry point, and the few instructions that such a loader enters at.
// Nothing moves and no section is added, so the same file still runs as a
// Linux process. The stager calls Convert once on each guest ELF.
//
// Both go into the unused rest of the ELF header page: the Go linker reserves
// 4 KiB for headers and puts its notes at the end. The note is placed directly
// before the first note and PT_NOTE grown backwards over it; the code stands
// in the gap. Where to jump to is told by an anchor in read-only data, which
// guest/kernel leaves there (a magic, the entry, room for page tables), so
// that a stripped program can be converted too.
//
// Convert is a pure function of its input, which it does not change. It
// refuses a file that is not a static x86-64 ELF with exactly one anchor, one
// PT_NOTE and enough room, and one that was converted before. Its output is
// read back before it is returned.
//
// Sources: Xen docs/misc/pvh.pandoc and xen/include/public/elfnote.h 4.17 (note
// 18); ELF gABI 4.1 chapter 5; Intel SDM 325462-083 volume 3 section 9.8.5.
package pvh
