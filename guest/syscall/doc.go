// Package syscall is the library OS's door: every system call that the
// program, the standard library or golang.org/x/sys makes inside a guest comes
// to Answer, on the goroutine that makes it.
//
// The table in table.go is the documentation: number, name, handler, how much
// of the call is there and what is missing. A page of docs is generated from
// it. A call without a handler is answered ENOSYS, counted, and reported once
// by name on the control channel.
//
// Package os imports this package, so its init runs before the program's. It
// does next to nothing outside a guest, and inside one it sets the hooks,
// reads the boot record and strips abi.BootEnv from the environment; all
// larger things are made when first asked for. Package guest/socket, which
// package net imports, adds its address families with RegisterFamily.
//
// Pointer safety. Arguments that are pointers arrive as unsafe.Pointer and may
// point into the calling goroutine's stack, which the Go runtime moves. So a
// handler (1) derives slices from Call.P, never from Call.A, and (2) never
// stores them in the heap nor hands them to another goroutine: nothing would
// adjust the copy. A Call is passed by value for the same reason.
//
// Locks: the handlers own none but those documented beside their state; no lock
// of this package is held while a File is called.
package syscall
