// Package mem is the memory of the ring-0 kernel: physical page frames, page
// tables and the list of areas that the program has mapped. guest/kernel is
// its only caller and holds its one lock around every call.
//
// All physical memory is reached through an Arena, the address at which frame
// 0 appears. In the kernel that is the direct map in the upper half; in tests
// it is a mapping of ordinary memory, so that everything here runs on the host.
//
// Pages come on first touch and are zero. A page is writable or executable as
// its area says, never by default; address 0 and all that was not mapped
// faults. Space counts translations that other CPUs may still hold in Stale;
// the caller must flush them before it lets anyone see a freed frame again.
//
// It refuses addresses outside [Low, High) and lengths that wrap. It never
// allocates from the Go heap and stores no pointers.
//
// Source: Intel SDM 325462-083 volume 3 chapter 4 (4-level paging).
package mem
