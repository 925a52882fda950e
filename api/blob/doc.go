// Package blob keeps the bytes of packages in files, by their SHA-256, and is
// the one door for uploaded zips.
//
// api writes uploads here and tells stagers the digest. It owns the folder it
// was opened on; a blob appears in it complete and on disk, or not at all. Beside
// each zip lies an index of the files in it, by which a new package takes files
// from older ones: they are copied as they are compressed. One lock guards the
// indexes in memory; it starts no goroutine.
//
// Check refuses zips that would be dangerous to unpack: more bytes or files than
// the limits (counted while inflating, not believed from headers), entries that
// overlap, a directory that would fill memory before its entries are counted,
// names that leave the folder or appear twice, links that lead out or have
// something below them, devices.
//
// Spec: PKWARE APPNOTE 6.3.10.
package blob
