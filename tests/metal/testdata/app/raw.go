package main

// raw makes a system call that no library OS sees.
func raw(number uintptr)
