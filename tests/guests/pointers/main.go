package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

func main() {
	goroutines := flag.Int("goroutines", 2400, "how many at once")
	rounds := flag.Int("rounds", 5, "calls of each goroutine")
	flag.Parse()
	var wrong atomic.Int64
	var all sync.WaitGroup
	stop := make(chan struct{})
	go collect(stop)
	for i := range *goroutines {
		all.Go(func() {
			for r := range *rounds {
				if !exchange(byte(i), byte(r)) || r%5 == 0 && !overSockets(byte(i), byte(r)) {
					wrong.Add(1)
				}
			}
		})
	}
	all.Wait()
	close(stop)
	fmt.Println("pointers: wrong", wrong.Load())
	if wrong.Load() > 0 {
		os.Exit(1)
	}
}

// collect keeps the collector at work: it shrinks stacks as it goes.
func collect(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			runtime.GC()
		}
	}
}

// exchange blocks in a read into its stack on a pipe, a socket pair and a
// message with two pieces while another goroutine writes with a deep stack.
func exchange(a, b byte) bool {
	var fds [2]int32
	if _, _, e := syscall.RawSyscall(syscall.SYS_PIPE2, uintptr(unsafe.Pointer(&fds)), 0, 0); e != 0 {
		return false
	}
	defer syscall.Close(int(fds[0]))
	defer syscall.Close(int(fds[1]))
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(pair[0])
	defer syscall.Close(pair[1])
	go deep(40, func() {
		send(int(fds[1]), a, b)
		send(pair[1], a, b)
		send(pair[1], b, a)
	})
	return receive(int(fds[0]), a, b) && receiveFrom(pair[0], a, b) && receivePieces(pair[0], b, a)
}

const size = 96

// send writes from the stack.
func send(fd int, a, b byte) {
	var buf [size]byte
	fill(&buf, a, b)
	syscall.Syscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&buf)), size)
}

func receive(fd int, a, b byte) bool {
	var buf [size]byte
	n, _, e := syscall.Syscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&buf)), size)
	return e == 0 && n == size && check(&buf, a, b)
}

// receiveFrom has three pointers to the stack in one call.
func receiveFrom(fd int, a, b byte) bool {
	var buf [size]byte
	var addr [110]byte
	length := int32(len(addr))
	n, _, e := syscall.Syscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&buf)), size, 0,
		uintptr(unsafe.Pointer(&addr)), uintptr(unsafe.Pointer(&length)))
	return e == 0 && n == size && check(&buf, a, b) && length <= 2
}

// receivePieces has pointers in memory that a pointer points to, all on the stack.
func receivePieces(fd int, a, b byte) bool {
	var buf [size]byte
	iov := [2]syscall.Iovec{{Base: &buf[0], Len: 40}, {Base: &buf[40], Len: size - 40}}
	m := syscall.Msghdr{Iov: &iov[0], Iovlen: 2}
	n, _, e := syscall.Syscall(syscall.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&m)), 0)
	return e == 0 && n == size && check(&buf, a, b)
}

func fill(buf *[size]byte, a, b byte) {
	for i := range buf {
		buf[i] = a ^ byte(i)*b
	}
}

func check(buf *[size]byte, a, b byte) bool {
	for i, v := range buf {
		if v != a^byte(i)*b {
			return false
		}
	}
	return true
}

// deep calls f with n frames below it, so that the stack has to grow.
//
//go:noinline
func deep(n int, f func()) byte {
	var pad [512]byte
	if n == 0 {
		f()
		return 0
	}
	pad[n] = deep(n-1, f)
	return pad[n]
}
