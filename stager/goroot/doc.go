// Package goroot makes the shadow of the installed Go: a GOROOT whose standard
// library links the library OS into every program, and whose compiler, linker
// and go command are the installed ones. The stager builds with it; so do the
// tests that need a program as it is in a guest.
//
// A shadow is a farm of symbolic links: only the files that guest/shadow edits
// or adds, and the sources of the library OS (below internal/dew), are real. It
// lies in a cache folder under the digest of everything that went into it, is
// complete or not there, and never changes; any number of processes may make
// the same one at once. The package starts no goroutine and has no lock.
//
// It refuses a Go release that the edits were not made for, and one in which an
// edit does not match exactly once, with an error that names the supported ones.
package goroot
