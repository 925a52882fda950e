// Command pointers makes system calls with buffers on goroutine stacks while
// the stacks move and the garbage collector runs, and checks every byte.
//
// The library OS is ordinary Go code behind a call whose arguments are
// numbers to the runtime: what keeps a number pointing to the right place
// after the stack has moved are the two rules in guest/syscall/doc.go. Each
// broken rule shows here as a wrong byte or a crash. The program is a guest;
// on a host it passes trivially.
package main
