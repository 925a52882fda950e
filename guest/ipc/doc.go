// Package ipc is what a program talks to itself through: pipes, Unix sockets,
// event and timer descriptors, and epoll over all of them. There is no other
// process in a guest, so both ends are always its own.
//
// Package guest/syscall makes these files and answers the calls on them; each
// is an fd.Pollable, so that goroutines that wait are parked by the runtime's
// own poller. A timer descriptor owns a runtime timer, an epoll instance owns
// a Watcher on each file it was given; nothing here owns a goroutine.
//
// Locks: each file has one mutex, called mu, that guards all its fields. It is
// not held while a Notifier is called (but that of all Unix sockets, which is
// taken before a Notifier's own), nor while another file is asked for
// its readiness. Epoll: Epoll.mu before nothing.
//
// Semantics follow pipe(7), unix(7), eventfd(2), timerfd_create(2), epoll(7)
// of Linux 6.18. Named pipes and passing descriptors are refused.
package ipc
