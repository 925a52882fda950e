// Command attacker is a guest that attacks its walls: it makes the system call or the sequence of
// calls that its first argument names, by the SYSCALL instruction, past any
// library OS, and says "done" on stdout when it got what it wanted.
//
// It is started by tests/guests, inside and outside the wall. It refuses names
// that it does not know with status 9.
package main
