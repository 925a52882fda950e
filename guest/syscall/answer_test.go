package syscall

import (
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/dewpaas/dew/guest/fd"
)

// do makes a call as the hook would. Pointers are given as such, numbers as int.
func do(t *testing.T, trap uintptr, args ...any) (uintptr, syscall.Errno) {
	t.Helper()
	var a [6]uintptr
	var p [6]unsafe.Pointer
	for i, v := range args {
		switch v := v.(type) {
		case int:
			a[i] = uintptr(v)
		case uintptr:
			a[i] = v
		case string:
			p[i] = unsafe.Pointer(unsafe.StringData(v + "\x00"))
		case []byte:
			p[i] = unsafe.Pointer(unsafe.SliceData(v))
		case unsafe.Pointer:
			p[i] = v
		}
		if p[i] != nil {
			a[i] = uintptr(p[i])
		}
	}
	r, _, err := Answer(trap, a[0], a[1], a[2], a[3], a[4], a[5], p[0], p[1], p[2], p[3], p[4], p[5])
	return r, err
}

// must is do for calls that have to succeed.
func must(t *testing.T, trap uintptr, args ...any) int {
	t.Helper()
	r, err := do(t, trap, args...)
	if err != 0 {
		t.Fatalf("%s: %v", name(trap), err)
	}
	return int(r)
}

const cwdFD = atCwd

func TestFileIsWrittenReadAndRemoved(t *testing.T) {
	dir := "/" + t.Name()
	must(t, syscall.SYS_MKDIRAT, cwdFD, dir, 0o755)
	f := must(t, syscall.SYS_OPENAT, cwdFD, dir+"/f", syscall.O_RDWR|syscall.O_CREAT|syscall.O_EXCL, 0o666)
	if _, err := do(t, syscall.SYS_OPENAT, cwdFD, dir+"/f", syscall.O_CREAT|syscall.O_EXCL, 0o666); err != syscall.EEXIST {
		t.Errorf("exclusive: %v", err)
	}
	if n := must(t, syscall.SYS_WRITE, f, []byte("hello"), 5); n != 5 {
		t.Fatalf("wrote %d", n)
	}
	must(t, syscall.SYS_PWRITE64, f, []byte("J"), 1, 0)
	b := make([]byte, 10)
	if n := must(t, syscall.SYS_PREAD64, f, b, len(b), 0); string(b[:n]) != "Jello" {
		t.Errorf("read %q", b[:n])
	}
	must(t, syscall.SYS_UNLINK, dir+"/f")
	if n := must(t, syscall.SYS_PREAD64, f, b, len(b), 1); string(b[:n]) != "ello" {
		t.Errorf("read %q after unlink", b[:n])
	}
	must(t, syscall.SYS_CLOSE, f)
	if _, err := do(t, syscall.SYS_CLOSE, f); err != syscall.EBADF {
		t.Errorf("closed twice: %v", err)
	}
}

func TestAppendWritesAtTheEnd(t *testing.T) {
	path := "/" + t.Name()
	f := must(t, syscall.SYS_OPEN, path, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_APPEND, 0o644)
	g := must(t, syscall.SYS_OPEN, path, syscall.O_WRONLY, 0)
	must(t, syscall.SYS_WRITE, f, []byte("ab"), 2)
	must(t, syscall.SYS_WRITE, g, []byte("cdef"), 4)
	must(t, syscall.SYS_WRITE, f, []byte("gh"), 2)
	var st syscall.Stat_t
	must(t, syscall.SYS_FSTAT, f, unsafe.Pointer(&st))
	if st.Size != 6 {
		t.Errorf("size %d, want 6", st.Size)
	}
}

func TestVectorsKeepTheirOrder(t *testing.T) {
	f := must(t, 319, "vector", 0)
	parts := [][]byte{[]byte("one "), {}, []byte("two "), []byte(strings.Repeat("x", bounceSize))}
	var iov []syscall.Iovec
	want := ""
	for _, p := range parts {
		iov = append(iov, syscall.Iovec{Base: unsafe.SliceData(p), Len: uint64(len(p))})
		want += string(p)
	}
	if n := must(t, syscall.SYS_WRITEV, f, unsafe.Pointer(&iov[0]), len(iov)); n != len(want) {
		t.Fatalf("wrote %d of %d", n, len(want))
	}
	got := make([]byte, len(want)+1)
	if n := must(t, syscall.SYS_PREAD64, f, got, len(got), 0); string(got[:n]) != want {
		t.Errorf("%d bytes came back in another order", n)
	}
	if _, err := do(t, syscall.SYS_WRITEV, f, unsafe.Pointer(&iov[0]), maxVector+1); err != syscall.EINVAL {
		t.Errorf("too many pieces: %v", err)
	}
}

func TestHostilePointersAreRefused(t *testing.T) {
	for trap, args := range map[uintptr][]any{
		syscall.SYS_READ:          {0, 0, 10},
		syscall.SYS_OPEN:          {0, 0, 0},
		syscall.SYS_FSTAT:         {0, 0},
		syscall.SYS_UNAME:         {0},
		syscall.SYS_PIPE2:         {0, 0},
		syscall.SYS_POLL:          {0, 3, 0},
		syscall.SYS_CLOCK_GETTIME: {0, 0},
	} {
		if _, err := do(t, trap, args...); err != syscall.EFAULT && err != syscall.EBADF {
			t.Errorf("%s with a null pointer: %v", name(trap), err)
		}
	}
	if _, err := do(t, syscall.SYS_OPEN, strings.Repeat("x", pathMax), 0, 0); err != syscall.ENAMETOOLONG {
		t.Errorf("endless path: %v", err)
	}
}

func TestUnknownCallIsCounted(t *testing.T) {
	before := Missed(450)
	for range 3 {
		if _, err := do(t, 450); err != syscall.ENOSYS {
			t.Fatal(err)
		}
	}
	if n := Missed(450) - before; n != 3 {
		t.Errorf("counted %d of 3", n)
	}
	if _, err := do(t, 1<<40); err != syscall.ENOSYS {
		t.Errorf("a number beyond all: %v", err)
	}
}

func TestBlockingReadWaitsForTheWriter(t *testing.T) {
	var fds [2]int32
	must(t, syscall.SYS_PIPE2, unsafe.Pointer(&fds), 0)
	got := make(chan string)
	go func() {
		b := make([]byte, 10)
		n, err := do(t, syscall.SYS_READ, int(fds[0]), b, len(b))
		if err != 0 {
			t.Error(err)
		}
		got <- string(b[:n])
	}()
	must(t, syscall.SYS_WRITE, int(fds[1]), []byte("now"), 3)
	if s := <-got; s != "now" {
		t.Errorf("read %q", s)
	}
	must(t, syscall.SYS_CLOSE, int(fds[0]))
	if _, err := do(t, syscall.SYS_WRITE, int(fds[1]), []byte("x"), 1); err != syscall.EPIPE {
		t.Errorf("write without a reader: %v", err)
	}
	must(t, syscall.SYS_CLOSE, int(fds[1]))
}

func TestPollAndEpollSeeAnEvent(t *testing.T) {
	ev := must(t, syscall.SYS_EVENTFD2, 0, syscall.O_NONBLOCK)
	ep := must(t, syscall.SYS_EPOLL_CREATE1, 0)
	reg := struct {
		events uint32
		data   [2]int32
	}{syscall.EPOLLIN, [2]int32{7, 9}}
	must(t, syscall.SYS_EPOLL_CTL, ep, syscall.EPOLL_CTL_ADD, ev, unsafe.Pointer(&reg))
	out := reg
	out.data = [2]int32{}
	if n := must(t, syscall.SYS_EPOLL_WAIT, ep, unsafe.Pointer(&out), 1, 0); n != 0 {
		t.Fatalf("%d events before any", n)
	}
	one := make([]byte, 8)
	one[0] = 1
	must(t, syscall.SYS_WRITE, ev, one, 8)
	if n := must(t, syscall.SYS_EPOLL_WAIT, ep, unsafe.Pointer(&out), 1, -1); n != 1 || out.data != reg.data {
		t.Errorf("%d events, data %v", n, out.data)
	}
	p := pollFd{fd: int32(ev), events: int16(fd.Readable)}
	if n := must(t, syscall.SYS_POLL, unsafe.Pointer(&p), 1, -1); n != 1 || p.revents != int16(fd.Readable) {
		t.Errorf("%d polled, %x", n, p.revents)
	}
	must(t, syscall.SYS_CLOSE, ev)
	if n := must(t, syscall.SYS_EPOLL_WAIT, ep, unsafe.Pointer(&out), 1, 0); n != 0 {
		t.Error("a closed descriptor still has events")
	}
	must(t, syscall.SYS_CLOSE, ep)
}

func TestExecAndForkAreRefused(t *testing.T) {
	for _, trap := range []uintptr{syscall.SYS_FORK, syscall.SYS_CLONE, syscall.SYS_EXECVE} {
		if _, err := do(t, trap); err != syscall.ENOSYS {
			t.Errorf("%s: %v", name(trap), err)
		}
	}
	if _, err := do(t, syscall.SYS_MOUNT); err != syscall.EPERM {
		t.Errorf("mount: %v", err)
	}
}
