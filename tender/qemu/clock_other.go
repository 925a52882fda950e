//go:build !amd64

package qemu

// cycles is 0: QEMU's guest has a time stamp counter that this CPU has not.
func cycles() uint64 { return 0 }
