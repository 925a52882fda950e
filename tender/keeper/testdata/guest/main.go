// Command guest is a guest for the keeper's tests: an ordinary Go program that
// speaks on the control channel itself.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

const control = 7 // abi.FDControl

func main() {
	switch os.Args[1] {
	case "exit":
		status, _ := strconv.Atoi(os.Args[2])
		fmt.Println("leaving")
		fmt.Fprintln(os.Stderr, "in error")
		os.Exit(status)
	case "flood":
		for n := range 30_000 {
			fmt.Println(strings.Repeat("x", 50), n)
		}
	case "count":
		listening()
		for n := 1; ; n++ {
			fmt.Println(n)
			if answer() {
				fmt.Println("asked to end")
				return
			}
			syscall.Nanosleep(&syscall.Timespec{Nsec: 2e6}, nil) // time.Sleep needs a poller, which the wall does not let it make
		}
	}
}

// listening says that port 8080 accepts.
func listening() {
	syscall.Write(control, append([]byte{69, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0}, 0x90, 0x1f, 't', 'c', 'p'))
}

// answer deals with one frame if there is one. It tells whether that was a signal.
func answer() bool {
	var b [16]byte
	n, err := syscall.Read(control, b[:])
	if err != nil || n < 12 {
		return false
	}
	if b[0] == 1 {
		return true
	}
	syscall.Write(control, append([]byte{64, 0, 0, 0, b[4], b[5], b[6], b[7], 5, 0, 0, 0}, "alive"...))
	return false
}
