package main

import (
	"fmt"
	"time"
	"unsafe"
)

// raw makes a system call that no library OS sees.
func raw(number, a, b, c uintptr) (result int)

type piece struct {
	base *byte
	size uint64
}

var frame [70000]byte

const (
	header = 12
	again  = -11
)

// echo sends frames back to where they came from until one is empty.
func echo() {
	fmt.Println("ready")
	for count := 0; ; {
		n := raw(0, 3, uintptr(unsafe.Pointer(&frame)), uintptr(len(frame)))
		switch {
		case n == again:
			time.Sleep(100 * time.Microsecond)
			continue
		case n < header+14:
			fmt.Println("read", n)
			return
		case n == header+14 || frame[header+14] == 0xff:
			fmt.Println("echoed", count)
			return
		case frame[header+12] != 0x88 || frame[header+13] != 0xb5:
			continue
		}
		for i := range 6 {
			frame[header+i], frame[header+6+i] = frame[header+6+i], frame[header+i]
		}
		pieces := [2]piece{{&frame[0], header}, {&frame[header], uint64(n - header)}}
		if sent := raw(20, 3, uintptr(unsafe.Pointer(&pieces)), 2); sent != n {
			fmt.Println("sent", sent, "of", n)
		}
		count++
	}
}
