// Package boot encodes and decodes the boot record: all that a guest is told
// before it runs. The tender writes it into a sealed memfd (process) or in
// front of the file-system image in the first PVH module (metal); the guest
// maps it read-only at abi.FDBoot. It may hold secrets (the environment), so
// it never reaches a command line or a disk.
//
// Layout, little endian: the 8 bytes of Magic, u32 version, u32 length of the
// whole record in bytes, then items of {u32 tag, u32 length, bytes, zero
// padding to 8}. Unknown tags are skipped, so that an older guest can read a
// newer record of the same version.
//
// Items walks a record without allocating, for the ring-0 kernel, which may
// not allocate; Decode is for everyone else. Both refuse a record whose
// lengths do not fit with an error and never read outside the slice.
package boot
