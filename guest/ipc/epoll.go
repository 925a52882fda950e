package ipc

import (
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/guest/host"
)

// Bits of the events of an epoll registration (include/uapi/linux/eventpoll.h).
const (
	edgeTriggered = 1 << 31
	oneShot       = 1 << 30
	always        = fd.Failed | fd.HungUp
)

// Epoll is an epoll instance.
type Epoll struct {
	mu       sync.Mutex
	entries  map[epollKey]*epollEntry
	ready    []*epollEntry // entries that may be ready, first come first
	notifier fd.Notifier   // wakes waiters, and the epoll that this one is in
}

// epollKey is what Linux has too: the number and the description, so that a
// number closed and used again is another entry.
type epollKey struct {
	number int
	file   fd.Pollable
}

type epollEntry struct {
	key    epollKey
	owner  *Epoll
	events uint32
	data   [2]int32
	queued bool
	gone   bool
}

var (
	_ fd.Pollable = (*Epoll)(nil)
	_ fd.Watcher  = (*epollEntry)(nil)
)

// EpollEvent is struct epoll_event.
type EpollEvent struct {
	Events uint32
	Data   [2]int32
}

// NewEpoll makes an epoll instance.
func NewEpoll() *Epoll { return &Epoll{entries: map[epollKey]*epollEntry{}} }

// Wake implements fd.Watcher: the file may be ready.
func (e *epollEntry) Wake(ev fd.Events) {
	if uint32(ev)&(e.events|uint32(always)) == 0 {
		return
	}
	p := e.owner
	p.mu.Lock()
	p.queue(e)
	p.mu.Unlock()
	p.notifier.Notify(fd.Readable)
}

// queue puts the entry in line. p.mu is held.
func (p *Epoll) queue(e *epollEntry) {
	if !e.queued && !e.gone {
		e.queued = true
		p.ready = append(p.ready, e)
	}
}

// Control is epoll_ctl(2).
func (p *Epoll) Control(op, number int, file fd.File, ev EpollEvent) syscall.Errno {
	pollable, ok := file.(fd.Pollable)
	if !ok {
		return syscall.EPERM
	}
	if inner, ok := file.(*Epoll); ok && (inner == p || inner.reaches(p, 5)) {
		return syscall.ELOOP
	}
	key := epollKey{number, pollable}
	p.mu.Lock()
	e := p.entries[key]
	switch op {
	case syscall.EPOLL_CTL_ADD:
		if e != nil {
			p.mu.Unlock()
			return syscall.EEXIST
		}
		e = &epollEntry{key: key, owner: p}
		p.entries[key] = e
	case syscall.EPOLL_CTL_MOD, syscall.EPOLL_CTL_DEL:
		if e == nil {
			p.mu.Unlock()
			return syscall.ENOENT
		}
	default:
		p.mu.Unlock()
		return syscall.EINVAL
	}
	if op == syscall.EPOLL_CTL_DEL {
		p.forget(e)
		p.mu.Unlock()
		pollable.Notifier().Unwatch(e)
		return 0
	}
	e.events, e.data = ev.Events, ev.Data
	p.queue(e) // Wait looks whether it is
	p.mu.Unlock()
	if op == syscall.EPOLL_CTL_ADD {
		pollable.Notifier().Watch(e)
	}
	p.notifier.Notify(fd.Readable)
	return 0
}

// reaches tells whether p watches q, however indirectly, within depth steps;
// deeper is taken for yes (epoll(7), ELOOP).
func (p *Epoll) reaches(q *Epoll, depth int) bool {
	if depth == 0 {
		return true
	}
	p.mu.Lock()
	var inner []*Epoll
	for key := range p.entries {
		if x, ok := key.file.(*Epoll); ok {
			inner = append(inner, x)
		}
	}
	p.mu.Unlock()
	return slices.ContainsFunc(inner, func(x *Epoll) bool { return x == q || x.reaches(q, depth-1) })
}

// forget takes an entry out. p.mu is held.
func (p *Epoll) forget(e *epollEntry) {
	delete(p.entries, e.key)
	e.gone = true
	if i := slices.Index(p.ready, e); i >= 0 {
		p.ready = slices.Delete(p.ready, i, i+1)
	}
}

// Forget implements fd.Forgetter: the file's last descriptor was closed.
func (e *epollEntry) Forget() {
	p := e.owner
	p.mu.Lock()
	p.forget(e)
	p.mu.Unlock()
	e.key.file.Notifier().Unwatch(e)
}

// Collect writes what is ready now into out and returns how many.
func (p *Epoll) Collect(out []EpollEvent) int {
	p.mu.Lock()
	line := p.ready
	p.ready = nil
	for _, e := range line {
		e.queued = false
	}
	p.mu.Unlock()
	n := 0
	for i, e := range line {
		if n == len(out) {
			p.requeue(line[i:])
			break
		}
		n += p.take(e, out[n:])
	}
	return n
}

func (p *Epoll) requeue(line []*epollEntry) {
	p.mu.Lock()
	for _, e := range line {
		p.queue(e)
	}
	p.mu.Unlock()
}

// take reports one entry if it is ready, 1 or 0. A level-triggered one stays
// in line until it is found not ready.
func (p *Epoll) take(e *epollEntry, out []EpollEvent) int {
	now := uint32(e.key.file.Ready())
	p.mu.Lock()
	defer p.mu.Unlock()
	got := now & (e.events&^(edgeTriggered|oneShot) | uint32(always))
	if e.gone || got == 0 || e.events&^(edgeTriggered|oneShot) == 0 {
		return 0
	}
	out[0] = EpollEvent{got, e.data}
	switch {
	case e.events&oneShot != 0:
		e.events &= edgeTriggered | oneShot
	case e.events&edgeTriggered == 0:
		p.queue(e)
	}
	return 1
}

// Wait is epoll_wait(2); a negative timeout means for ever.
func (p *Epoll) Wait(out []EpollEvent, timeout time.Duration) int {
	n := 0
	Poll(timeout, []*fd.Notifier{&p.notifier}, func() bool {
		n = p.Collect(out)
		return n > 0
	})
	return n
}

// Ready implements fd.Pollable: an epoll is readable when Wait would return.
func (p *Epoll) Ready() fd.Events {
	p.mu.Lock()
	line := slices.Clone(p.ready)
	p.mu.Unlock()
	for _, e := range line {
		if uint32(e.key.file.Ready())&(e.events&^(edgeTriggered|oneShot)|uint32(always)) != 0 {
			return fd.Readable
		}
	}
	return 0
}

// Notifier implements fd.Pollable.
func (p *Epoll) Notifier() *fd.Notifier { return &p.notifier }

// Read implements fd.File.
func (p *Epoll) Read(b []byte, off int64) (int, syscall.Errno) { return 0, syscall.EINVAL }

// Write implements fd.File.
func (p *Epoll) Write(b []byte, off int64) (int, syscall.Errno) { return 0, syscall.EINVAL }

// Stat implements fd.File.
func (p *Epoll) Stat(st *syscall.Stat_t) syscall.Errno { return anonymous(st) }

// Close implements fd.File.
func (p *Epoll) Close() {
	p.mu.Lock()
	entries := p.entries
	p.entries, p.ready = nil, nil
	for _, e := range entries {
		e.gone = true
	}
	p.mu.Unlock()
	for _, e := range entries {
		e.key.file.Notifier().Unwatch(e)
	}
}

// wakeUp is a Watcher that one goroutine waits on.
type wakeUp chan struct{}

func (w wakeUp) Wake(fd.Events) {
	select {
	case w <- struct{}{}:
	default:
	}
}

// Poll calls look until it returns true or the time is over, again after each
// notification. A negative timeout means for ever.
func Poll(timeout time.Duration, notifiers []*fd.Notifier, look func() bool) bool {
	if look() {
		return true
	}
	if timeout == 0 {
		return false
	}
	w := make(wakeUp, 1)
	for _, n := range notifiers {
		n.Watch(w)
		defer n.Unwatch(w)
	}
	var end <-chan time.Time
	if timeout > 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		end = t.C
	}
	host.Waiting(1)
	defer host.Waiting(-1)
	for !look() {
		select {
		case <-w:
		case <-end:
			return look()
		}
	}
	return true
}
