// Package shadow is what the shadow of the standard library differs in from
// the installed one: text edits as data, and files added to std's own packages
// (below the folder _std, which the go tool ignores). The stager applies both
// when it makes a shadow GOROOT; nothing of this package runs in a guest.
//
// The edits hook the three places where a Go program meets its kernel:
//
//	syscall   every call of package syscall (and so of x/sys, os and net) goes
//	          to the library OS; pointers are converted before the stack can move
//	runtime   the network poller waits on the tender's epoll and takes readiness
//	          from the library OS; the number of CPUs comes from the tender;
//	          nothing is started that seccomp would kill
//	os, net   import the file half and the socket half of the library OS
//
// Each edit must match exactly once. One that does not means a Go version
// that nobody has looked at: the stager refuses it by name.
package shadow
