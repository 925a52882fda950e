// Package modproxy is the one way from a sandboxed build to the world: it
// answers the Go module proxy protocol from folders of this machine and from
// upstream proxies, and nothing else. The stager serves it inside the sandbox.
//
// A Relay keeps what never changes (the files of canonical versions) in a folder
// of its own, complete or not there, so that builds share downloads but no
// build can put anything in: only upstream's answers go in, and the go command
// verifies them against go.sum and the checksum database on every use.
//
// It refuses paths that are not of the protocol, and answers with an error once
// a build has taken more bytes than it may. It starts no goroutine; a Relay is
// safe for concurrent use.
//
// Spec: go.dev/ref/mod, "Module proxies" and "Checksum database".
package modproxy
