// Command attacker is a guest that an attacker owns. Each of its arguments is
// one step, "name argument ...", made by the SYSCALL instruction past any
// library OS, on the descriptors of package abi, or, where it runs in ring 0,
// by the instructions that a kernel has. The harness (package breach) starts
// it behind the walls, with a wall left out, and as an ordinary process in a
// container, and looks from outside at what came of it; what the program says
// of itself on stdout is for people.
//
// It must link nothing but the standard library: the harness builds it outside
// of this module. A step that is not known ends the program with status 9, so
// that a misspelt attack cannot pass for one that was stopped. Step "hold"
// stays, for the harness to look at what is held.
package main
