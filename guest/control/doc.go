// Package control is the guest's end of the control channel (abi/control): it
// delivers the tender's signals to the program, answers its questions about
// goroutines, memory and time, and tells it what happened: marks of the boot
// timeline, ports that the program listens on, lines for the platform's log.
//
// Packages guest/syscall and guest/socket call it. One goroutine, started by
// the first of them, owns reading; writing is guarded by a lock that is held for
// one write. A full or closed channel drops frames: nothing here may hold up
// the program, and nothing here keeps it alive: the goroutine counts as a
// system goroutine, so a program in which all others wait for ever is told
// "all goroutines are asleep" as it would be natively.
package control
