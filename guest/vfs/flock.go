package vfs

import (
	"syscall"

	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/guest/host"
)

// flocks are the advisory locks of one file, by open file description
// (flock(2)). Record locks of fcntl(2) belong to a process: with one process
// they never conflict, and those of an open file description (F_OFD_SETLK)
// are taken as locks on the whole file.
type flocks struct {
	shared    map[*Handle]bool
	exclusive *Handle
	free      fd.Notifier
}

// Lock operations of flock(2).
const (
	lockShared    = 1
	lockExclusive = 2
	lockNB        = 4
	lockUnlock    = 8
)

// Flock is flock(2).
func (h *Handle) Flock(op int) syscall.Errno {
	switch op &^ lockNB {
	case lockUnlock:
		h.node.unlock(h)
		return 0
	case lockShared, lockExclusive:
	default:
		return syscall.EINVAL
	}
	if h.tryLock(op&lockExclusive != 0) {
		return 0
	}
	if op&lockNB != 0 {
		return syscall.EWOULDBLOCK
	}
	w := make(lockWaiter, 1)
	h.node.locks.free.Watch(w)
	defer h.node.locks.free.Unwatch(w)
	host.Waiting(1)
	defer host.Waiting(-1)
	for !h.tryLock(op&lockExclusive != 0) {
		<-w
	}
	return 0
}

type lockWaiter chan struct{}

func (w lockWaiter) Wake(fd.Events) {
	select {
	case w <- struct{}{}:
	default:
	}
}

func (h *Handle) tryLock(exclusive bool) bool {
	n := h.node
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &n.locks
	others := len(l.shared)
	if l.shared[h] {
		others--
	}
	if l.exclusive != nil && l.exclusive != h || exclusive && others > 0 {
		return false
	}
	delete(l.shared, h)
	l.exclusive = nil
	if exclusive {
		l.exclusive = h
		return true
	}
	if l.shared == nil {
		l.shared = map[*Handle]bool{}
	}
	l.shared[h] = true
	return true
}

func (n *Node) unlock(h *Handle) {
	n.mu.Lock()
	held := n.locks.exclusive == h || n.locks.shared[h]
	if n.locks.exclusive == h {
		n.locks.exclusive = nil
	}
	delete(n.locks.shared, h)
	n.mu.Unlock()
	if held {
		n.locks.free.Notify(fd.Readable)
	}
}
