// Package firmware reads what a loader left in memory for the ring-0 kernel:
// the PVH start information with memory map and modules, the kernel command
// line, and the ACPI tables that name CPUs, interrupt controllers and the
// power-off port. guest/kernel is its only caller, once, during start.
//
// Everything is parsed from byte slices with bounds checked, so that it is
// tested and fuzzed on the host; Memory is how the parsers reach what a table
// points at. A table that does not fit is treated as absent. Nothing here
// allocates or keeps a pointer.
//
// Sources: Xen include/public/arch-x86/hvm/start_info.h (4.17); ACPI 6.5
// sections 5.2.5 to 5.2.12; Linux Documentation/admin-guide, virtio_mmio.device.
package firmware
