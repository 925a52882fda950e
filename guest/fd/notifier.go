package fd

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/dewpaas/dew/guest/host"
)

// Watcher is told when a file that it watches may have changed its readiness.
type Watcher interface {
	// Wake is called with the conditions that may hold now. It must not block
	// and must not call into the file that woke it.
	Wake(Events)
}

// Forgetter is a Watcher that wants to know when the last descriptor of the
// file is closed: epoll drops the file then. It may call Unwatch.
type Forgetter interface{ Forget() }

// forget tells the watchers that no descriptor is left.
func (n *Notifier) forget() {
	n.mu.Lock()
	watchers := slices.Clone(n.watchers)
	n.mu.Unlock()
	for _, w := range watchers {
		if f, ok := w.(Forgetter); ok {
			f.Forget()
		}
	}
}

// poll is one pollDesc of the runtime that was opened on the file.
type poll struct {
	desc unsafe.Pointer // off the Go heap, never freed
	seq  uintptr
}

// Notifier carries changes of readiness from a file to whoever waits. The zero
// value is ready for use.
type Notifier struct {
	// polls is replaced as a whole, so that Notify, which runs for every
	// packet, takes no lock for the runtime's sake. Nearly always it has one
	// element.
	polls    atomic.Pointer[[]poll]
	watched  atomic.Bool // whether watchers is not empty
	mu       sync.Mutex  // guards replacing polls, and watchers
	watchers []Watcher
}

// Notify wakes those who wait for any of the events.
func (n *Notifier) Notify(e Events) {
	if polls := n.polls.Load(); polls != nil {
		if mode := runtimeMode(e); mode != 0 {
			for _, p := range *polls {
				host.PollReady(p.desc, p.seq, mode)
			}
		}
	}
	if n.watched.Load() {
		n.mu.Lock()
		for _, w := range n.watchers {
			w.Wake(e)
		}
		n.mu.Unlock()
	}
}

// runtimeMode translates to the runtime's poller: 'r', 'w' or their sum.
func runtimeMode(e Events) int32 {
	mode := int32(0)
	if e&(Readable|PeerShut|HungUp|Failed) != 0 {
		mode += 'r'
	}
	if e&(Writable|HungUp|Failed) != 0 {
		mode += 'w'
	}
	return mode
}

// openPoll registers a pollDesc of the runtime.
func (n *Notifier) openPoll(p poll) {
	n.mu.Lock()
	defer n.mu.Unlock()
	polls := append(slices.Clone(n.current()), p)
	n.polls.Store(&polls)
}

// closePoll forgets the pollDesc.
func (n *Notifier) closePoll(p poll) {
	n.mu.Lock()
	defer n.mu.Unlock()
	polls := slices.DeleteFunc(slices.Clone(n.current()), func(q poll) bool { return q == p })
	if len(polls) == 0 {
		n.polls.Store(nil)
		return
	}
	n.polls.Store(&polls)
}

func (n *Notifier) current() []poll {
	if p := n.polls.Load(); p != nil {
		return *p
	}
	return nil
}

// Watch adds w. The caller then looks at the file's Ready: what changed before
// the call is not told.
func (n *Notifier) Watch(w Watcher) {
	n.mu.Lock()
	n.watchers = append(n.watchers, w)
	n.watched.Store(true)
	n.mu.Unlock()
}

// Unwatch removes w. After it returns, w is not woken any more.
func (n *Notifier) Unwatch(w Watcher) {
	n.mu.Lock()
	if i := slices.Index(n.watchers, w); i >= 0 {
		n.watchers = slices.Delete(n.watchers, i, i+1)
	}
	n.watched.Store(len(n.watchers) > 0)
	n.mu.Unlock()
}

// waiter is a Watcher that one goroutine blocks on.
type waiter struct {
	events Events
	ready  chan struct{} // capacity 1
}

func (w *waiter) Wake(e Events) {
	if e&(w.events|Failed|HungUp) != 0 {
		select {
		case w.ready <- struct{}{}:
		default: // woken already
		}
	}
}

// Wait blocks until the file has one of the events, or has failed or hung up.
func Wait(f Pollable, events Events) { WaitFor(f, events, 0) }

// WaitFor is Wait that gives up after a time, 0 for never. It returns false
// when it gave up.
func WaitFor(f Pollable, events Events, limit time.Duration) bool {
	w := &waiter{events, make(chan struct{}, 1)}
	n := f.Notifier()
	n.Watch(w)
	defer n.Unwatch(w)
	var end <-chan time.Time
	if limit > 0 {
		t := time.NewTimer(limit)
		defer t.Stop()
		end = t.C
	}
	host.Waiting(1)
	defer host.Waiting(-1)
	for f.Ready()&(events|Failed|HungUp) == 0 {
		select {
		case <-w.ready:
		case <-end:
			return false
		}
	}
	return true
}
