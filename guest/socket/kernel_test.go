package socket

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	door "github.com/dewpaas/dew/guest/syscall"
	"golang.org/x/sys/unix"
)

// kernel answers system calls: the host's Linux, or the library OS.
type kernel struct {
	name string
	call func(trap uintptr, args ...any) (int, syscall.Errno)
}

// linux is the kernel that the test runs on.
var linux = kernel{"Linux", func(trap uintptr, args ...any) (int, syscall.Errno) {
	var a [6]uintptr
	for i, v := range args {
		a[i] = uintptr(pointerOf(v))
		if n, ok := v.(int); ok {
			a[i] = uintptr(n)
		}
	}
	for {
		r, _, err := syscall.Syscall6(trap, a[0], a[1], a[2], a[3], a[4], a[5])
		if err != syscall.EINTR { // the Go runtime preempts by signals
			return int(r), err
		}
	}
}}

// libraryOS is what programs in a guest have.
var libraryOS = kernel{"the library OS", func(trap uintptr, args ...any) (int, syscall.Errno) {
	register()
	var a [6]uintptr
	var p [6]unsafe.Pointer
	for i, v := range args {
		if n, ok := v.(int); ok {
			a[i] = uintptr(n)
			continue
		}
		p[i] = pointerOf(v)
		a[i] = uintptr(p[i])
	}
	r, _, err := door.Answer(trap, a[0], a[1], a[2], a[3], a[4], a[5], p[0], p[1], p[2], p[3], p[4], p[5])
	return int(r), err
}}

// register gives the families to the library OS, as init does in a guest.
var register = sync.OnceFunc(func() {
	n := New(guestConfig())
	door.RegisterFamily(syscall.AF_INET, n.Open)
	door.RegisterFamily(syscall.AF_NETLINK, openNetlink(&n.network))
	door.RegisterFamily(syscall.AF_PACKET, refuse)
})

func pointerOf(v any) unsafe.Pointer {
	switch v := v.(type) {
	case []byte:
		return unsafe.Pointer(unsafe.SliceData(v))
	case *int32:
		return unsafe.Pointer(v)
	case *unix.Msghdr:
		return unsafe.Pointer(v)
	case *unix.Iovec:
		return unsafe.Pointer(v)
	case *unix.PollFd:
		return unsafe.Pointer(v)
	case *unix.EpollEvent:
		return unsafe.Pointer(v)
	}
	return nil
}

// script is a program under test and what it saw, which does not depend on
// ports, descriptor numbers and times.
type script struct {
	t *testing.T
	kernel
	saw strings.Builder
}

// say notes what was seen.
func (s *script) say(format string, args ...any) { fmt.Fprintf(&s.saw, format+"\n", args...) }

// do makes a call that must succeed.
func (s *script) do(trap uintptr, args ...any) int {
	s.t.Helper()
	n, err := s.call(trap, args...)
	if err != 0 {
		s.t.Fatalf("%s: call %d: %v", s.name, trap, err)
	}
	return n
}

// try makes a call and notes what it returned.
func (s *script) try(what string, trap uintptr, args ...any) int {
	n, err := s.call(trap, args...)
	if err != 0 {
		s.say("%s: %v", what, err)
		return -1
	}
	s.say("%s: %d", what, n)
	return n
}

func (s *script) socket(typ int) int {
	fd := s.do(syscall.SYS_SOCKET, syscall.AF_INET, typ, 0)
	s.t.Cleanup(func() { s.call(syscall.SYS_CLOSE, fd) })
	return fd
}

// at is a sockaddr_in of the loopback.
func at(port uint16) []byte {
	b := []byte{2, 0, byte(port >> 8), byte(port), 127, 0, 0, 1}
	return append(b, make([]byte, 8)...)
}

func (s *script) port(fd int) uint16 {
	b, n := make([]byte, 16), int32(16)
	s.do(syscall.SYS_GETSOCKNAME, fd, b, &n)
	return binary.BigEndian.Uint16(b[2:])
}

// bound is a socket with a port of the loopback.
func (s *script) bound(typ int) (fd int, port uint16) {
	fd = s.socket(typ)
	s.do(syscall.SYS_BIND, fd, at(0), 16)
	return fd, s.port(fd)
}

// pair is a connection: the client's end and the server's.
func (s *script) pair() (client, server int) {
	l, port := s.bound(syscall.SOCK_STREAM)
	s.do(syscall.SYS_LISTEN, l, 1)
	client = s.socket(syscall.SOCK_STREAM)
	s.do(syscall.SYS_CONNECT, client, at(port), 16)
	server = s.do(syscall.SYS_ACCEPT4, l, 0, 0, 0)
	s.t.Cleanup(func() { s.call(syscall.SYS_CLOSE, server) })
	return client, server
}

// nobody is a port of the loopback on which nobody listens.
func (s *script) nobody() uint16 {
	fd, port := s.bound(syscall.SOCK_STREAM)
	s.do(syscall.SYS_CLOSE, fd)
	return port
}

// poll says which events of those asked for come within a second, or at once.
func (s *script) poll(what string, fd int, events int16, ms int) {
	p := unix.PollFd{Fd: int32(fd), Events: events}
	s.do(syscall.SYS_POLL, &p, 1, ms)
	s.say("%s: events %#x", what, p.Revents)
}

const anyEvent = unix.POLLIN | unix.POLLOUT | unix.POLLRDHUP | unix.POLLPRI

// until waits for an event that must come.
func (s *script) until(fd int, events int16) {
	p := unix.PollFd{Fd: int32(fd), Events: events}
	if s.do(syscall.SYS_POLL, &p, 1, 5000) == 0 {
		s.t.Fatalf("%s: no event of %#x", s.name, events)
	}
}

// alone gives the test's thread a network of its own, where nobody else takes
// ports; without root it stays in the host's.
func alone(t *testing.T) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Log("without root, ports are shared with the host's: ", err)
		return
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	r, _ := unix.NewIfreq("lo")
	r.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r); err != nil {
		t.Fatal(err)
	}
}

// TestAsLinux runs each script on the host's kernel and on the library OS, and
// wants to see the same.
func TestAsLinux(t *testing.T) {
	for name, run := range scripts {
		t.Run(name, func(t *testing.T) {
			alone(t)
			var saw [2]string
			for i, k := range []kernel{linux, libraryOS} {
				s := &script{t: t, kernel: k}
				run(s)
				saw[i] = s.saw.String()
			}
			if saw[0] != saw[1] {
				t.Error(difference(saw[0], saw[1]))
			}
		})
	}
}

// difference shows the lines that differ, and those before them.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var b strings.Builder
	for i := range max(len(w), len(g)) {
		var x, y string
		if i < len(w) {
			x = w[i]
		}
		if i < len(g) {
			y = g[i]
		}
		if x != y {
			fmt.Fprintf(&b, "\nLinux:          %s\nthe library OS: %s", x, y)
		}
	}
	return b.String()
}
