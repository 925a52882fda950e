// Package fd is the guest's descriptor table: numbers to open file
// descriptions, and readiness from descriptions to whoever waits for it.
//
// A File is an open file description in the words of POSIX: what dup shares.
// Files know nothing of descriptors. A file that can become ready embeds a
// Notifier and calls Notify after its state changed; the notifier wakes
//
//   - the Go runtime's pollDescs that were opened on descriptors of the file,
//     so that deadlines, Close and goroutine parking are the runtime's own,
//   - Watchers: the guest's epoll instances, and callers blocked in a call on
//     a descriptor that is not non-blocking.
//
// Readiness is level: Ready says how it is, Notify says that it may have
// changed. A notification that finds nobody is forgotten, so whoever begins to
// wait registers first and then looks at Ready.
//
// A description closes when its last descriptor is closed and the last call
// that is using it has returned: Get takes a reference, Put gives it back.
//
// Locks: Table.mu guards changes of the table; lookups take none. A Notifier's
// mu guards its list of watchers and is held while they are woken, so a
// Watcher must not call back into the same file. Table.mu may be held when a
// file's own locks are taken, never the other way round.
package fd
