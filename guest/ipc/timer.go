package ipc

import (
	"sync"
	"syscall"
	"time"

	"github.com/dewpaas/dew/guest/fd"
)

// Timer is a timerfd_create(2).
type Timer struct {
	mu       sync.Mutex
	timer    *time.Timer
	next     time.Time // zero: not armed
	interval time.Duration
	expired  uint64
	armed    uint64 // counts Set, so that a timer that fires late is told apart
	notifier fd.Notifier
}

var _ fd.Pollable = (*Timer)(nil)

// Set arms the timer to expire after d and then each interval; d of 0 disarms
// it. It returns what was set before.
func (t *Timer) Set(d, interval time.Duration) (left, old time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	left, old = t.left(), t.interval
	if t.timer != nil {
		t.timer.Stop()
	}
	t.armed++
	t.next, t.interval, t.expired = time.Time{}, interval, 0
	if d > 0 {
		t.next = time.Now().Add(d)
		armed := t.armed
		t.timer = time.AfterFunc(d, func() { t.fire(armed) })
	}
	return left, old
}

// Get returns the time to the next expiry, 0 if disarmed, and the interval.
func (t *Timer) Get() (left, interval time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.left(), t.interval
}

func (t *Timer) left() time.Duration {
	if t.next.IsZero() {
		return 0
	}
	return max(1, time.Until(t.next))
}

func (t *Timer) fire(armed uint64) {
	t.mu.Lock()
	if armed != t.armed {
		t.mu.Unlock()
		return
	}
	t.expired++
	if t.interval > 0 {
		missed := time.Since(t.next) / t.interval
		t.expired += uint64(max(0, missed))
		t.next = t.next.Add((max(0, missed) + 1) * t.interval)
		t.timer.Reset(time.Until(t.next))
	} else {
		t.next = time.Time{}
	}
	t.mu.Unlock()
	t.notifier.Notify(fd.Readable)
}

// Read implements fd.File.
func (t *Timer) Read(p []byte, off int64) (int, syscall.Errno) {
	if len(p) < 8 {
		return 0, syscall.EINVAL
	}
	t.mu.Lock()
	n := t.expired
	t.expired = 0
	t.mu.Unlock()
	if n == 0 {
		return 0, syscall.EAGAIN
	}
	put64(p, n)
	return 8, 0
}

// Write implements fd.File.
func (t *Timer) Write(p []byte, off int64) (int, syscall.Errno) { return 0, syscall.EINVAL }

// Ready implements fd.Pollable.
func (t *Timer) Ready() fd.Events {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.expired > 0 {
		return fd.Readable
	}
	return 0
}

// Notifier implements fd.Pollable.
func (t *Timer) Notifier() *fd.Notifier { return &t.notifier }

// Stat implements fd.File.
func (t *Timer) Stat(st *syscall.Stat_t) syscall.Errno { return anonymous(st) }

// Close implements fd.File.
func (t *Timer) Close() { t.Set(0, 0) }
