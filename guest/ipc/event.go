package ipc

import (
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/dewpaas/dew/guest/fd"
)

// device is st_dev of all files of this package.
const device = 0xc

var lastIno atomic.Uint64

func nextIno() uint64 { return lastIno.Add(1) }

func anonymous(st *syscall.Stat_t) syscall.Errno {
	*st = syscall.Stat_t{Dev: device, Ino: 1, Mode: 0o600, Nlink: 1, Blksize: 4096}
	return 0
}

// Event is an eventfd(2).
type Event struct {
	mu        sync.Mutex
	n         uint64
	semaphore bool
	notifier  fd.Notifier
}

var _ fd.Pollable = (*Event)(nil)

// maxEvent is the highest value of an eventfd.
const maxEvent = ^uint64(0) - 1

// NewEvent makes an event counter.
func NewEvent(n uint64, semaphore bool) *Event { return &Event{n: n, semaphore: semaphore} }

// Read implements fd.File.
func (e *Event) Read(p []byte, off int64) (int, syscall.Errno) {
	if len(p) < 8 {
		return 0, syscall.EINVAL
	}
	e.mu.Lock()
	n := e.n
	if e.semaphore && n > 0 {
		n = 1
	}
	e.n -= n
	e.mu.Unlock()
	if n == 0 {
		return 0, syscall.EAGAIN
	}
	put64(p, n)
	e.notifier.Notify(fd.Writable)
	return 8, 0
}

// Write implements fd.File.
func (e *Event) Write(p []byte, off int64) (int, syscall.Errno) {
	if len(p) < 8 {
		return 0, syscall.EINVAL
	}
	n := get64(p)
	if n > maxEvent {
		return 0, syscall.EINVAL
	}
	e.mu.Lock()
	if n > maxEvent-e.n {
		e.mu.Unlock()
		return 0, syscall.EAGAIN
	}
	e.n += n
	e.mu.Unlock()
	e.notifier.Notify(fd.Readable)
	return 8, 0
}

func put64(p []byte, n uint64) { copy(p, (*[8]byte)(unsafe.Pointer(&n))[:]) }

func get64(p []byte) (n uint64) {
	copy((*[8]byte)(unsafe.Pointer(&n))[:], p)
	return n
}

// Ready implements fd.Pollable.
func (e *Event) Ready() fd.Events {
	e.mu.Lock()
	defer e.mu.Unlock()
	var ev fd.Events
	if e.n > 0 {
		ev |= fd.Readable
	}
	if e.n < maxEvent {
		ev |= fd.Writable
	}
	return ev
}

// Notifier implements fd.Pollable.
func (e *Event) Notifier() *fd.Notifier { return &e.notifier }

// Stat implements fd.File.
func (e *Event) Stat(st *syscall.Stat_t) syscall.Errno { return anonymous(st) }

// Close implements fd.File.
func (e *Event) Close() {}
