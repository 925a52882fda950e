// Package tender is the contract between those who run guests (`dew run`, a
// cell) and the kinds of tender that can: tender/process seals the droplet as
// a host process, tender/qemu boots it in a virtual machine. The caller opens
// everything; a tender opens nothing but its own machinery, so what a guest can
// reach is written in its Spec and nowhere else.
//
// A tender starts a guest and steps aside: for a process there is no resident
// helper at all. What is left is an Instance, owned by its caller: one
// goroutine reads the control channel (Link), and Wait may be called by any
// number of goroutines. A Link has one mutex, which guards its questions in
// flight and what the guest told so far; it is never held while writing.
//
// All that comes out of a guest is hostile: frames are parsed in one place
// (abi/control.Parse through Link), bounded in size and number, and a guest
// that breaks the framing loses its control channel and nothing else.
package tender
