// Package source is what a push takes from the user's machine: the files of an
// app, and the manifest that says what to make of them. `dew push` reads both
// with it, and reads as `cf push` does, so that the same folder makes the same
// package whichever of the two sends it.
//
// A Tree is a folder or a zip, less what .cfignore names and what is never sent;
// it knows the SHA-1 digest of each file, by which the platform finds those that
// it has. A Manifest is the YAML file with its ((variables)) filled in; what it
// does not understand it passes on.
//
// It starts no goroutine and has no lock. It refuses folders without a file,
// sockets, pipes and devices, files that change while they are sent, variables
// without a value, and YAML that grows without bound when its aliases are
// followed.
//
// Specs: the patterns of gitignore(5) as github.com/sabhiram/go-gitignore, which
// the cf CLI uses, understands them; YAML 1.2.
package source
