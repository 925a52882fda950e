// Package blob keeps the bytes of packages in files, by their SHA-256, and is
// the one door for uploaded zips.
//
// api writes uploads here and tells stagers the digest. It owns the folder it
// was opened on; a blob appears in it complete and on disk, or not at all. It has
// no lock and starts no goroutine.
//
// Check refuses zips that would be dangerous to unpack: more bytes or files than
// the limits (counted while inflating, not believed from headers), names that
// leave the folder or appear twice, links and devices.
//
// Spec: PKWARE APPNOTE 6.3.10.
package blob
