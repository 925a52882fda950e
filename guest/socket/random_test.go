package socket

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	randomRuns = flag.Int("runs", 60, "how many random programs TestRandomProgramsAsLinux tries")
	randomSeed = flag.Uint64("seed", 1, "of the first random program")
)

// world is one kernel's side of a random program.
type world struct {
	*script
	fds   []int    // by number of the program's own, -1 closed
	ports []uint16 // of sockets by the same number, 0 none

	connected map[int]bool // streams that are or were
}

// TestRandomProgramsAsLinux makes programs of non-blocking socket calls and
// wants the library OS to answer each call as the host's kernel does.
func TestRandomProgramsAsLinux(t *testing.T) {
	alone(t)
	for n := range *randomRuns {
		seed := *randomSeed + uint64(n)
		if why := randomProgram(t, seed); why != "" {
			t.Fatalf("seed %d:%s", seed, why)
		}
	}
}

func randomProgram(t *testing.T, seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 0))
	worlds := []*world{{script: &script{t: t, kernel: linux}, connected: map[int]bool{}},
		{script: &script{t: t, kernel: libraryOS}, connected: map[int]bool{}}}
	defer func() {
		for _, w := range worlds {
			for _, fd := range w.fds {
				if fd >= 0 {
					w.call(syscall.SYS_CLOSE, fd)
				}
			}
		}
	}()
	var told string
	for n := range 60 {
		act := acts[r.IntN(len(acts))]
		if n < 4 {
			act = acts[n/2] // two of each kind
		}
		a, b, c := r.IntN(6), r.IntN(6), r.IntN(1000)
		var saw [2]string
		for i, w := range worlds {
			w.saw.Reset()
			act.run(w, a, b, c)
			saw[i] = w.saw.String()
		}
		told += fmt.Sprintf("\n%s %d %d %d: %s", act.name, a, b, c, strings.ReplaceAll(strings.TrimSpace(saw[0]), "\n", "; "))
		if saw[0] != saw[1] {
			return told + "\nthe library OS says: " + saw[1]
		}
	}
	return ""
}

var acts = []struct {
	name string
	run  func(w *world, a, b, c int)
}{
	{"stream", func(w *world, a, b, c int) { w.open(syscall.SOCK_STREAM) }},
	{"datagram", func(w *world, a, b, c int) { w.open(syscall.SOCK_DGRAM) }},
	{"bind", func(w *world, a, b, c int) {
		w.named(a, func() { w.note(a, w.try("", syscall.SYS_BIND, w.fd(a), at(0), 16)) })
	}},
	{"bind the same", func(w *world, a, b, c int) {
		if b < len(w.ports) && w.kind(a) == w.kind(b) { // a port of TCP is another of UDP
			w.named(a, func() { w.note(a, w.try("", syscall.SYS_BIND, w.fd(a), at(w.ports[b]), 16)) })
		}
	}},
	{"reuse", func(w *world, a, b, c int) {
		w.try("", syscall.SYS_SETSOCKOPT, w.fd(a), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, pointer(int32(c&1)), 4)
	}},
	{"listen", func(w *world, a, b, c int) {
		w.named(a, func() { w.note(a, w.try("", syscall.SYS_LISTEN, w.fd(a), 3)) })
	}},
	{"connect", connectTo}, {"connect", connectTo},
	{"accept", func(w *world, a, b, c int) {
		addr, n := make([]byte, 16), int32(16)
		fd, err := w.call(syscall.SYS_ACCEPT4, w.fd(a), addr, &n, syscall.SOCK_NONBLOCK)
		w.say("%v, %d, %v", err, n, addr[:2])
		if err == 0 {
			w.fds, w.ports = append(w.fds, fd), append(w.ports, 0)
			w.connected[len(w.fds)-1] = true
		}
	}},
	{"send", func(w *world, a, b, c int) {
		w.try("", syscall.SYS_SENDTO, w.fd(a), make([]byte, 1000), c, syscall.MSG_NOSIGNAL, 0, 0)
	}},
	{"send to", func(w *world, a, b, c int) {
		w.try("", syscall.SYS_SENDTO, w.fd(a), make([]byte, 1000), c, syscall.MSG_NOSIGNAL, at(w.to(b, w.kind(a))), 16)
	}},
	{"receive", func(w *world, a, b, c int) {
		addr, n := make([]byte, 16), int32(16)
		w.try("", syscall.SYS_RECVFROM, w.fd(a), make([]byte, 1000), c, 0, addr, &n)
		w.say("%d", n)
	}},
	{"peek", func(w *world, a, b, c int) {
		w.try("", syscall.SYS_RECVFROM, w.fd(a), make([]byte, 1000), c, syscall.MSG_PEEK|syscall.MSG_TRUNC, 0, 0)
	}},
	{"shutdown", shutdown},
	{"close", func(w *world, a, b, c int) {
		w.try("", syscall.SYS_CLOSE, w.fd(a))
		if a < len(w.fds) {
			w.fds[a] = -1
		}
	}},
	{"poll", func(w *world, a, b, c int) {
		p := unix.PollFd{Fd: int32(w.fd(a)), Events: anyEvent}
		n := w.do(syscall.SYS_POLL, &p, 1, 0)
		w.say("%d, events %#x", n, p.Revents)
	}},
	{"error", func(w *world, a, b, c int) {
		v, n := int32(0), int32(4)
		_, err := w.call(syscall.SYS_GETSOCKOPT, w.fd(a), syscall.SOL_SOCKET, syscall.SO_ERROR, &v, &n)
		w.say("%v, %v", err, syscall.Errno(v))
	}},
	{"listening", func(w *world, a, b, c int) {
		v, n := int32(0), int32(4)
		_, err := w.call(syscall.SYS_GETSOCKOPT, w.fd(a), syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN, &v, &n)
		w.say("%v, %v", err, v)
	}},
	{"name", nameOf},
	{"peer", func(w *world, a, b, c int) {
		addr, n := make([]byte, 16), int32(16)
		_, err := w.call(syscall.SYS_GETPEERNAME, w.fd(a), addr, &n)
		w.say("%v, %d, %v", err, n, addr[4:8])
	}},
	{"unread", func(w *world, a, b, c int) {
		n := int32(-1)
		_, err := w.call(syscall.SYS_IOCTL, w.fd(a), 0x541b, &n)
		w.say("%v, %d", err, n)
	}},
}

// connectTo asks at once how it went, as nothing of the loopback takes time. A
// socket that could not connect is closed: what can be done with it then is
// nothing that programs build on.
func connectTo(w *world, a, b, c int) {
	if a == b {
		return // to itself: a connection with one end, of which timing is all
	}
	var err syscall.Errno
	w.named(a, func() {
		_, err = w.call(syscall.SYS_CONNECT, w.fd(a), at(w.to(b, w.kind(a))), 16)
		w.say("%v", err)
	})
	if err == syscall.EINPROGRESS {
		w.until(w.fd(a), unix.POLLOUT)
		v, n := int32(0), int32(4)
		w.do(syscall.SYS_GETSOCKOPT, w.fd(a), syscall.SOL_SOCKET, syscall.SO_ERROR, &v, &n)
		w.say("%v", syscall.Errno(v))
		if v != 0 {
			w.do(syscall.SYS_CLOSE, w.fd(a))
			w.fds[a] = -1
		}
		w.connected[a] = true
	}
}

// named does what gives a socket a name. It leaves streams alone whose
// connection is over: Linux has forgotten some of them by then.
func (w *world) named(n int, do func()) {
	length := int32(16)
	_, err := w.call(syscall.SYS_GETPEERNAME, w.fd(n), make([]byte, 16), &length)
	if w.connected[n] && err == syscall.ENOTCONN {
		return
	}
	do()
}

func (w *world) open(typ int) {
	fd := w.do(syscall.SYS_SOCKET, syscall.AF_INET, typ|syscall.SOCK_NONBLOCK, 0)
	if typ == syscall.SOCK_STREAM { // or it depends on the time when a second small piece goes
		w.do(syscall.SYS_SETSOCKOPT, fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, pointer(1), 4)
	}
	w.fds, w.ports = append(w.fds, fd), append(w.ports, 0)
}

// fd is the descriptor of one of the program's sockets, or of nothing.
func (w *world) fd(n int) int {
	if n >= len(w.fds) {
		return 1 << 19
	}
	return w.fds[n]
}

// to is the port of a socket of the kind: of another, or one that never had
// any, a port that nobody has.
func (w *world) to(n int, kind int32) uint16 {
	if n < len(w.ports) && w.ports[n] != 0 && w.kind(n) == kind {
		return w.ports[n]
	}
	return 1
}

// note keeps the port of a socket that was bound or listens; who only connects
// shares its port with others in a guest, and not on Linux.
func (w *world) note(n, outcome int) {
	if outcome < 0 {
		return
	}
	addr, length := make([]byte, 16), int32(16)
	if _, err := w.call(syscall.SYS_GETSOCKNAME, w.fd(n), addr, &length); err == 0 {
		w.ports[n] = uint16(addr[2])<<8 | uint16(addr[3])
	}
}

// shutdown leaves out what no program builds on: datagram sockets, of which
// Linux then answers EAGAIN to who does not block and 0 to who does, and
// streams that are not connected, which cannot be used any more.
func shutdown(w *world, a, b, c int) {
	length := int32(16)
	if _, err := w.call(syscall.SYS_GETPEERNAME, w.fd(a), make([]byte, 16), &length); err == 0 && w.kind(a) == syscall.SOCK_STREAM {
		w.try("", syscall.SYS_SHUTDOWN, w.fd(a), c%3)
	}
}

// kind is the type of a socket, 0 of none.
func (w *world) kind(n int) int32 {
	v, length := int32(0), int32(4)
	w.call(syscall.SYS_GETSOCKOPT, w.fd(n), syscall.SOL_SOCKET, syscall.SO_TYPE, &v, &length)
	return v
}

// nameOf leaves out what the name of a socket is that is not connected, or not
// any more: Linux forgets parts of it.
func nameOf(w *world, a, b, c int) {
	addr, n := make([]byte, 16), int32(16)
	_, err := w.call(syscall.SYS_GETSOCKNAME, w.fd(a), addr, &n)
	length := int32(16)
	if _, lost := w.call(syscall.SYS_GETPEERNAME, w.fd(a), make([]byte, 16), &length); lost == 0 {
		w.say("%v, port %v", addr[4:8], addr[2] != 0 || addr[3] != 0)
	}
	w.say("%v, %d", err, n)
}
