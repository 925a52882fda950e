// Package image is the read-only file-system image of a droplet: the writer
// that the stager uses and the reader that the guest uses on the bytes it has
// mapped. One parser serves both sides, so that what is checked when a droplet
// is opened is what the guest will see.
//
// An image is one immutable byte string, little endian (docs/format/image.md):
//
//	header   64 bytes
//	inodes   64 bytes each, inode 0 is the root directory
//	entries  16 bytes each, one run per directory, sorted by name
//	names    the bytes of all names and symbolic link targets
//	data     file contents, each beginning on a 4,096 byte boundary
//
// Contents begin on page boundaries so that a guest can map a file; nothing is
// compressed so that nothing is copied. Modification times are not kept: the
// same tree gives the same bytes.
//
// Open checks the header, and every accessor checks what it follows: a damaged
// or hostile image gives ErrDamaged, never a read outside the slice. Check
// walks everything once, for the side that must refuse a bad image as a whole.
package image
