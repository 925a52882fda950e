package fd

import "syscall"

// Events is a set of readiness conditions, numbered as poll(2) numbers them.
type Events uint32

const (
	Readable Events = 0x001  // POLLIN
	Urgent   Events = 0x002  // POLLPRI
	Writable Events = 0x004  // POLLOUT
	Failed   Events = 0x008  // POLLERR, always waited for
	HungUp   Events = 0x010  // POLLHUP, always waited for
	PeerShut Events = 0x2000 // POLLRDHUP
)

// AtPosition as the offset of Read and Write means the file's own position.
const AtPosition = -1

// File is an open file description. Its methods may be called from many
// goroutines at once. A call that cannot go on at once returns EAGAIN: whoever
// serves a blocking descriptor waits and calls again.
type File interface {
	// Read reads up to len(p) bytes at off, 0 at the end of the file. off other
	// than AtPosition on a file without positions is ESPIPE.
	Read(p []byte, off int64) (int, syscall.Errno)
	// Write is the counterpart of Read.
	Write(p []byte, off int64) (int, syscall.Errno)
	// Stat fills st as fstat(2).
	Stat(st *syscall.Stat_t) syscall.Errno
	// Close releases the description. It is called once, after the last
	// reference is gone.
	Close()
}

// Pollable is a File that becomes ready by and by. Other files are always
// ready for reading and writing and, as on Linux, cannot be polled by the
// runtime (EPERM).
type Pollable interface {
	File
	// Ready returns the conditions that hold now.
	Ready() Events
	// Notifier returns the notifier that the file calls on changes.
	Notifier() *Notifier
}

// Seeker is a File with a position.
type Seeker interface {
	SeekTo(off int64, whence int) (int64, syscall.Errno)
}

// Shutter is a File that wants to know that a descriptor of it was closed
// while others live on, or that the program closes it while calls are under
// way: a socket wakes its blocked readers.
type Shutter interface {
	// Closing is called when the last descriptor goes, before Close, while
	// calls may still be using the file. They must return soon.
	Closing()
}
