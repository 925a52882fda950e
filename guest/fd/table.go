package fd

import (
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Max is how many descriptors a guest can have.
const Max = 1 << 20

// description counts who holds a File: each descriptor, and each call.
type description struct {
	file  File
	flags atomic.Uint32 // O_NONBLOCK, O_APPEND and the access mode: shared by dups
	refs  atomic.Int64  // descriptors and calls under way; 0 is final
	fds   atomic.Int64  // descriptors alone
}

// descriptor is what a number stands for.
type descriptor struct {
	*description
	closeOnExec atomic.Bool // kept for F_GETFD; a guest never execs
	// polls are the runtime's pollDescs opened on this number.
	mu    sync.Mutex
	polls []poll
}

// Table is a descriptor table. The zero value is empty and ready for use.
type Table struct {
	mu   sync.Mutex // guards changes: growth of slots, next, the filling of a slot
	next int        // no free number is below it
	// slots is replaced by a longer copy when it is full; a slot is changed in
	// place. Lookups read both without a lock.
	slots atomic.Pointer[[]atomic.Pointer[descriptor]]
}

// Ref is a file in use by a call. Put must follow.
type Ref struct {
	File
	d *description
}

// Get takes a reference to the file behind the number. ok is false for a
// number that is not open.
func (t *Table) Get(fd int) (Ref, bool) {
	d := t.lookup(fd)
	if d == nil || !d.take() {
		return Ref{}, false
	}
	return Ref{d.file, d.description}, true
}

// Put gives the reference back; the file closes if it was the last.
func (r Ref) Put() { r.d.drop() }

// Flags returns the O_ flags that dups share.
func (r Ref) Flags() int { return int(r.d.flags.Load()) }

// NonBlocking tells whether a call that cannot go on must return EAGAIN.
func (r Ref) NonBlocking() bool { return r.d.flags.Load()&syscall.O_NONBLOCK != 0 }

// SetFlags replaces O_NONBLOCK and O_APPEND, as F_SETFL does, and keeps the rest.
func (r Ref) SetFlags(flags int) {
	const settable = syscall.O_NONBLOCK | syscall.O_APPEND | syscall.O_DIRECT | syscall.O_ASYNC
	for {
		old := r.d.flags.Load()
		if r.d.flags.CompareAndSwap(old, old&^settable|uint32(flags)&settable) {
			return
		}
	}
}

// take adds a reference unless the file is closing already.
func (d *description) take() bool {
	for {
		n := d.refs.Load()
		if n == 0 {
			return false
		}
		if d.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (d *description) drop() {
	if d.refs.Add(-1) == 0 {
		d.file.Close()
	}
}

func (t *Table) lookup(fd int) *descriptor {
	slots := t.slots.Load()
	if slots == nil || fd < 0 || fd >= len(*slots) {
		return nil
	}
	return (*slots)[fd].Load()
}

// Install gives the file the lowest free number that is at least min. flags
// are O_ flags. EMFILE when the table is full; the file is not closed then.
func (t *Table) Install(f File, flags, min int) (int, syscall.Errno) {
	d := &description{file: f}
	d.flags.Store(uint32(flags &^ syscall.O_CLOEXEC))
	return t.put(d, min, flags&syscall.O_CLOEXEC != 0)
}

// put fills the lowest free slot with another descriptor of d.
func (t *Table) put(d *description, min int, closeOnExec bool) (int, syscall.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := max(t.next, min)
	for ; n < Max; n++ {
		if t.lookup(n) == nil {
			break
		}
	}
	if n >= Max {
		return -1, syscall.EMFILE
	}
	t.fill(n, d, closeOnExec)
	if min <= t.next {
		t.next = n + 1
	}
	return n, 0
}

// fill puts d into slot n, which is free. t.mu is held.
func (t *Table) fill(n int, d *description, closeOnExec bool) {
	slots := t.slots.Load()
	if slots == nil || n >= len(*slots) {
		grown := make([]atomic.Pointer[descriptor], max(16, n+1, 2*t.capacity()))
		if slots != nil {
			for i := range *slots {
				grown[i].Store((*slots)[i].Load())
			}
		}
		t.slots.Store(&grown)
		slots = &grown
	}
	d.refs.Add(1)
	d.fds.Add(1)
	added := &descriptor{description: d}
	added.closeOnExec.Store(closeOnExec)
	(*slots)[n].Store(added)
}

func (t *Table) capacity() int {
	if slots := t.slots.Load(); slots != nil {
		return len(*slots)
	}
	return 0
}

// Dup gives the file behind fd another number, the lowest that is at least min.
func (t *Table) Dup(fd, min int, closeOnExec bool) (int, syscall.Errno) {
	if min < 0 || min >= Max {
		return -1, syscall.EINVAL
	}
	r, ok := t.Get(fd)
	if !ok {
		return -1, syscall.EBADF
	}
	defer r.Put()
	return t.put(r.d, min, closeOnExec)
}

// DupTo makes the number to stand for the file behind fd; what it stood for
// before is closed, with no moment in between in which the number is free.
func (t *Table) DupTo(fd, to int, closeOnExec bool) syscall.Errno {
	if to < 0 || to >= Max {
		return syscall.EBADF
	}
	r, ok := t.Get(fd)
	if !ok {
		return syscall.EBADF
	}
	defer r.Put()
	t.mu.Lock()
	old := t.lookup(to)
	t.fill(to, r.d, closeOnExec)
	t.mu.Unlock()
	if old != nil {
		old.close()
	}
	return 0
}

// Close frees the number.
func (t *Table) Close(fd int) syscall.Errno {
	t.mu.Lock()
	d := t.lookup(fd)
	if d == nil {
		t.mu.Unlock()
		return syscall.EBADF
	}
	(*t.slots.Load())[fd].Store(nil)
	t.next = min(t.next, fd)
	t.mu.Unlock()
	d.close()
	return 0
}

// close ends a descriptor that the table does not have any more.
func (d *descriptor) close() {
	if p, ok := d.file.(Pollable); ok {
		d.mu.Lock()
		for _, q := range d.polls {
			p.Notifier().closePoll(q)
		}
		d.polls = nil
		d.mu.Unlock()
	}
	if d.fds.Add(-1) == 0 {
		if s, ok := d.file.(Shutter); ok {
			s.Closing()
		}
		if p, ok := d.file.(Pollable); ok {
			p.Notifier().forget()
		}
	}
	d.drop()
}

// CloseOnExec tells the FD_CLOEXEC flag of a number.
func (t *Table) CloseOnExec(fd int) (bool, syscall.Errno) {
	d := t.lookup(fd)
	if d == nil {
		return false, syscall.EBADF
	}
	return d.closeOnExec.Load(), 0
}

// SetCloseOnExec sets the FD_CLOEXEC flag of a number.
func (t *Table) SetCloseOnExec(fd int, on bool) syscall.Errno {
	d := t.lookup(fd)
	if d == nil {
		return syscall.EBADF
	}
	d.closeOnExec.Store(on)
	return 0
}

// Numbers returns the open numbers in ascending order, for /proc/self/fd.
func (t *Table) Numbers() []int {
	var open []int
	for n := range t.capacity() {
		if t.lookup(n) != nil {
			open = append(open, n)
		}
	}
	return open
}

// OpenPoll registers a pollDesc of the runtime on a number. EPERM for a file
// that is always ready, EEXIST for a number that has one.
func (t *Table) OpenPoll(fd int, desc unsafe.Pointer, seq uintptr) syscall.Errno {
	d := t.lookup(fd)
	if d == nil || !d.take() {
		return syscall.EBADF
	}
	defer d.drop()
	p, ok := d.file.(Pollable)
	if !ok {
		return syscall.EPERM
	}
	q := poll{desc, seq}
	d.mu.Lock()
	if len(d.polls) > 0 { // as EPOLL_CTL_ADD of what is there
		d.mu.Unlock()
		return syscall.EEXIST
	}
	d.polls = append(d.polls, q)
	d.mu.Unlock()
	n := p.Notifier()
	n.openPoll(q)
	// Edge-triggered as epoll is: what is ready now is told now.
	n.Notify(p.Ready())
	return 0
}

// ClosePoll forgets the pollDescs of a number: the runtime closes its own just
// before the descriptor.
func (t *Table) ClosePoll(fd int) {
	d := t.lookup(fd)
	if d == nil {
		return
	}
	if p, ok := d.file.(Pollable); ok {
		d.mu.Lock()
		for _, q := range d.polls {
			p.Notifier().closePoll(q)
		}
		d.polls = nil
		d.mu.Unlock()
	}
}
