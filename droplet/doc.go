// Package droplet writes, reads and verifies droplets: immutable parcels of a
// program linked with the library OS, and the files that it finds when it runs
// (docs/format/droplet.md). The stager writes them, cells and `dew run` open
// them; nothing else of the platform parses one.
//
// A droplet is an OCI artifact. Its digest is that of its OCI manifest, which
// names every other byte by digest and size, so equal content has an equal
// digest. It comes as one file (a tar of an OCI image layout) or as a folder,
// and lives in a Store, which keeps the parts in files by their digest: the
// guests of one droplet, and droplets that share parts, share the page cache.
//
// No byte is trusted. Everything is read within bounds, digests are verified
// when bytes enter a Store or leave an archive, programs must be static x86-64
// ELF files with a PVH entry and sane segments, file-system images must pass
// abi/image's own check. A panic of a parser is an error.
//
// The package starts no goroutine. A Store takes a file lock: shared while
// parts are added, exclusive while they are swept away; so processes may share
// one. A Droplet does not change and is safe for concurrent use.
//
// Specs: OCI image-spec 1.1.1 (manifest, index, image layout), ELF gABI 4.1.
package droplet
