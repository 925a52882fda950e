// Package authority is a certificate authority in two files: ca.pem, which others
// trust, and ca-key.pem, which only its owner may read.
//
// router makes the development CA of it, which signs for hosts, and cmd/dew/identity
// that of a foundation, which signs for roles. A CA starts no goroutine and has no
// lock; it is not changed once it is open, and safe for concurrent use.
//
// It refuses a folder in which one of the files is without the other: whoever made
// that has lost a key, and a new one would not be what others trust.
//
// Spec: RFC 5280.
package authority
