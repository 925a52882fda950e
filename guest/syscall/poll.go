package syscall

import (
	"syscall"
	"time"
	"unsafe"

	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/guest/ipc"
)

const forever = time.Duration(-1)

// pollFd is struct pollfd.
type pollFd struct {
	fd      int32
	events  int16
	revents int16
}

const pollInvalid = 0x20 // POLLNVAL

func poll(c Call) (uintptr, syscall.Errno) {
	timeout := forever
	if ms := c.int(2); ms >= 0 {
		timeout = time.Duration(ms) * time.Millisecond
	}
	return pollFor(&c, timeout)
}

func ppoll(c Call) (uintptr, syscall.Errno) {
	timeout, err := timespec(&c, 2)
	if err != 0 {
		return 0, err
	}
	return pollFor(&c, timeout)
}

// timespec reads a timeout, nil for ever.
func timespec(c *Call, n int) (time.Duration, syscall.Errno) {
	ts := at[syscall.Timespec](c, n)
	if ts == nil {
		return forever, 0
	}
	if ts.Sec < 0 || ts.Nsec < 0 || ts.Nsec >= 1e9 {
		return 0, syscall.EINVAL
	}
	return time.Duration(min(ts.Sec, 1<<32))*time.Second + time.Duration(ts.Nsec), 0
}

// maxPoll bounds an array of pollfds.
const maxPoll = fd.Max

func pollFor(c *Call, timeout time.Duration) (uintptr, syscall.Errno) {
	if c.A[1] > maxPoll {
		return 0, syscall.EINVAL
	}
	if c.P[0] == nil && c.A[1] > 0 {
		return 0, syscall.EFAULT
	}
	refs, notifiers := pollFiles(int(c.A[1]), func(i int) int { return int(c.pollFd(i).fd) })
	defer putAll(refs)
	found := 0
	ipc.Poll(timeout, notifiers, func() bool {
		found = 0
		for i, r := range refs {
			p := c.pollFd(i)
			p.revents = 0
			switch {
			case p.fd < 0:
			case r.File == nil:
				p.revents = pollInvalid
			default:
				p.revents = int16(readiness(r)) & (p.events | int16(fd.Failed|fd.HungUp))
			}
			if p.revents != 0 {
				found++
			}
		}
		return found > 0
	})
	return uintptr(found), 0
}

func (c *Call) pollFd(i int) *pollFd {
	return (*pollFd)(unsafe.Add(c.P[0], uintptr(i)*unsafe.Sizeof(pollFd{})))
}

// readiness is what a file is ready for; one that cannot be polled always is.
func readiness(r fd.Ref) fd.Events {
	if p, ok := r.File.(fd.Pollable); ok {
		return p.Ready()
	}
	return fd.Readable | fd.Writable
}

// pollFiles takes a reference to n files, empty for numbers that are not open.
func pollFiles(n int, number func(int) int) ([]fd.Ref, []*fd.Notifier) {
	refs := make([]fd.Ref, n)
	var notifiers []*fd.Notifier
	for i := range refs {
		r, ok := Files.Get(number(i))
		if !ok {
			continue
		}
		refs[i] = r
		if p, ok := r.File.(fd.Pollable); ok {
			notifiers = append(notifiers, p.Notifier())
		}
	}
	return refs, notifiers
}

func putAll(refs []fd.Ref) {
	for _, r := range refs {
		if r.File != nil {
			r.Put()
		}
	}
}

// setSize is FD_SETSIZE.
const setSize = 1024

func selectCall(c Call) (uintptr, syscall.Errno) {
	timeout := forever
	if tv := at[syscall.Timeval](&c, 4); tv != nil {
		if tv.Sec < 0 || tv.Usec < 0 {
			return 0, syscall.EINVAL
		}
		timeout = time.Duration(min(tv.Sec, 1<<32))*time.Second + time.Duration(tv.Usec)*time.Microsecond
	}
	return selectFor(&c, timeout)
}

func pselect6(c Call) (uintptr, syscall.Errno) {
	timeout, err := timespec(&c, 4)
	if err != 0 {
		return 0, err
	}
	return selectFor(&c, timeout)
}

func selectFor(c *Call, timeout time.Duration) (uintptr, syscall.Errno) {
	n := c.int(0)
	if n < 0 {
		return 0, syscall.EINVAL
	}
	n = min(n, setSize)
	var want [3]syscall.FdSet // readable, writable, exceptional
	var numbers []int
	for k := range want {
		if s := at[syscall.FdSet](c, k+1); s != nil {
			want[k] = *s
		}
	}
	for i := range n {
		if (want[0].Bits[i/64]|want[1].Bits[i/64]|want[2].Bits[i/64])>>(i%64)&1 != 0 {
			numbers = append(numbers, i)
		}
	}
	refs, notifiers := pollFiles(len(numbers), func(i int) int { return numbers[i] })
	defer putAll(refs)
	for _, r := range refs {
		if r.File == nil {
			return 0, syscall.EBADF
		}
	}
	var got [3]syscall.FdSet
	found := 0
	ipc.Poll(timeout, notifiers, func() bool {
		got, found = [3]syscall.FdSet{}, 0
		for i, r := range refs {
			found += selectOne(readiness(r), numbers[i], &want, &got)
		}
		return found > 0
	})
	for k := range got {
		if s := at[syscall.FdSet](c, k+1); s != nil {
			*s = got[k]
		}
	}
	return uintptr(found), 0
}

// selectOne marks what one file is ready for (the masks are those of fs/select.c).
func selectOne(e fd.Events, number int, want, got *[3]syscall.FdSet) int {
	masks := [3]fd.Events{fd.Readable | fd.HungUp | fd.Failed, fd.Writable | fd.Failed, fd.Urgent}
	found := 0
	for k, mask := range masks {
		bit := int64(1) << (number % 64)
		if e&mask != 0 && want[k].Bits[number/64]&bit != 0 {
			got[k].Bits[number/64] |= bit
			found++
		}
	}
	return found
}

func epollCreate(c Call) (uintptr, syscall.Errno) {
	if c.int(0) <= 0 {
		return 0, syscall.EINVAL
	}
	return install(ipc.NewEpoll(), syscall.O_RDWR)
}

func epollCreate1(c Call) (uintptr, syscall.Errno) {
	if c.int(0)&^syscall.O_CLOEXEC != 0 {
		return 0, syscall.EINVAL
	}
	return install(ipc.NewEpoll(), syscall.O_RDWR|c.int(0))
}

// epoll is the instance of argument 0.
func (c *Call) epoll() (*ipc.Epoll, fd.Ref, syscall.Errno) {
	r, err := c.file(0)
	if err != 0 {
		return nil, r, err
	}
	p, ok := r.File.(*ipc.Epoll)
	if !ok {
		r.Put()
		return nil, r, syscall.EINVAL
	}
	return p, r, 0
}

func epollCtl(c Call) (uintptr, syscall.Errno) {
	p, r, err := c.epoll()
	if err != 0 {
		return 0, err
	}
	defer r.Put()
	target, err := c.file(2)
	if err != 0 {
		return 0, err
	}
	defer target.Put()
	var ev ipc.EpollEvent
	if c.int(1) != syscall.EPOLL_CTL_DEL {
		if c.P[3] == nil {
			return 0, syscall.EFAULT
		}
		ev = *at[ipc.EpollEvent](&c, 3)
	}
	return 0, p.Control(c.int(1), c.int(2), target.File, ev)
}

func epollWait(c Call) (uintptr, syscall.Errno) {
	timeout := forever
	if ms := c.int(3); ms >= 0 {
		timeout = time.Duration(ms) * time.Millisecond
	}
	return epollFor(&c, timeout)
}

func epollPwait2(c Call) (uintptr, syscall.Errno) {
	timeout, err := timespec(&c, 3)
	if err != 0 {
		return 0, err
	}
	return epollFor(&c, timeout)
}

// epollFor waits into memory of the heap: the caller's may be on its stack,
// and the wait's closure is not.
func epollFor(c *Call, timeout time.Duration) (uintptr, syscall.Errno) {
	const batch = 128
	if c.int(2) <= 0 {
		return 0, syscall.EINVAL
	}
	if c.P[1] == nil {
		return 0, syscall.EFAULT
	}
	p, r, err := c.epoll()
	if err != 0 {
		return 0, err
	}
	defer r.Put()
	got := make([]ipc.EpollEvent, min(c.int(2), batch))
	n := p.Wait(got, timeout)
	copy(unsafe.Slice(at[ipc.EpollEvent](c, 1), n), got[:n])
	return uintptr(n), 0
}

func eventfd(c Call) (uintptr, syscall.Errno) { return newEvent(&c, 0) }
func eventfd2(c Call) (uintptr, syscall.Errno) {
	return newEvent(&c, c.int(1))
}

func newEvent(c *Call, flags int) (uintptr, syscall.Errno) {
	const semaphore = 1
	if flags&^(semaphore|syscall.O_NONBLOCK|syscall.O_CLOEXEC) != 0 {
		return 0, syscall.EINVAL
	}
	return install(ipc.NewEvent(uint64(uint32(c.A[0])), flags&semaphore != 0), syscall.O_RDWR|flags&^semaphore)
}

func pipe(c Call) (uintptr, syscall.Errno)  { return newPipe(&c, 0) }
func pipe2(c Call) (uintptr, syscall.Errno) { return newPipe(&c, c.int(1)) }

func newPipe(c *Call, flags int) (uintptr, syscall.Errno) {
	if flags&^(syscall.O_NONBLOCK|syscall.O_CLOEXEC|syscall.O_DIRECT) != 0 || flags&syscall.O_DIRECT != 0 {
		return 0, syscall.EINVAL
	}
	if c.P[0] == nil {
		return 0, syscall.EFAULT
	}
	r, w := ipc.Pipe()
	return c.installBoth(0, r, w, syscall.O_RDONLY|flags, syscall.O_WRONLY|flags)
}

// itimer is struct itimerspec.
type itimer struct{ interval, value syscall.Timespec }

func timerfdCreate(c Call) (uintptr, syscall.Errno) {
	if c.int(1)&^(syscall.O_NONBLOCK|syscall.O_CLOEXEC) != 0 {
		return 0, syscall.EINVAL
	}
	if _, err := clockNow(c.int(0)); err != 0 {
		return 0, err
	}
	return install(&timerFile{clock: c.int(0)}, syscall.O_RDWR|c.int(1))
}

// timerFile is a timer and the clock it was made for.
type timerFile struct {
	ipc.Timer
	clock int
}

func (c *Call) timer() (*timerFile, fd.Ref, syscall.Errno) {
	r, err := c.file(0)
	if err != 0 {
		return nil, r, err
	}
	t, ok := r.File.(*timerFile)
	if !ok {
		r.Put()
		return nil, r, syscall.EINVAL
	}
	return t, r, 0
}

func timerfdSettime(c Call) (uintptr, syscall.Errno) {
	const absolute = 1
	t, r, err := c.timer()
	if err != 0 {
		return 0, err
	}
	defer r.Put()
	next := at[itimer](&c, 2)
	if next == nil {
		return 0, syscall.EFAULT
	}
	for _, ts := range []syscall.Timespec{next.interval, next.value} {
		if ts.Sec < 0 || ts.Nsec < 0 || ts.Nsec >= 1e9 {
			return 0, syscall.EINVAL
		}
	}
	d := next.value.Nano()
	if d > 0 && c.int(1)&absolute != 0 {
		now, _ := clockNow(t.clock)
		d = max(1, d-now)
	}
	left, interval := t.Set(time.Duration(d), time.Duration(next.interval.Nano()))
	if old := at[itimer](&c, 3); old != nil {
		*old = itimer{syscall.NsecToTimespec(int64(interval)), syscall.NsecToTimespec(int64(left))}
	}
	return 0, 0
}

func timerfdGettime(c Call) (uintptr, syscall.Errno) {
	t, r, err := c.timer()
	if err != 0 {
		return 0, err
	}
	defer r.Put()
	out := at[itimer](&c, 1)
	if out == nil {
		return 0, syscall.EFAULT
	}
	left, interval := t.Get()
	*out = itimer{syscall.NsecToTimespec(int64(interval)), syscall.NsecToTimespec(int64(left))}
	return 0, 0
}
