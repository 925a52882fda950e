package socket

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/guest/inet"
)

// endpoint is what TCP and UDP have in common.
type endpoint interface {
	Bind(inet.Addr) syscall.Errno
	Shutdown(how int) syscall.Errno
	Local() inet.Addr
	Peer() (inet.Addr, syscall.Errno)
	Ready() fd.Events
	Notifier() *fd.Notifier
	Closing()
	Close()
	TakeError() syscall.Errno
	Unread() int
	Set(inet.Option, int) syscall.Errno
	Get(inet.Option) (int, syscall.Errno)
}

// socket is the part of a socket that is the same for streams and datagrams.
type socket struct {
	endpoint
	net        *Net
	typ, proto int
	inode      uint64

	receiveLimit, sendLimit atomic.Int64  // SO_RCVTIMEO, SO_SNDTIMEO in ns
	wants                   atomic.Uint32 // control messages, by the want bits

	mu    sync.Mutex // guards kept
	kept  map[optionKey]int
	keeps atomic.Bool // whether kept has anything
}

// inodes numbers sockets, beyond the numbers of files.
var inodes atomic.Uint64

func nextInode() uint64 { return 1<<40 + inodes.Add(1) }

// statSocket is fstat(2) of a socket.
func statSocket(st *syscall.Stat_t, inode uint64) {
	const device = 8 // as the anonymous file systems of Linux are numbered
	*st = syscall.Stat_t{Dev: device, Ino: inode, Mode: syscall.S_IFSOCK | 0o777, Nlink: 1, Blksize: 4096}
}

// Stat implements fd.File.
func (s *socket) Stat(st *syscall.Stat_t) syscall.Errno {
	statSocket(st, s.inode)
	return 0
}

// Name implements fd.Socket.
func (s *socket) Name(addr []byte) (int, syscall.Errno) { return putAddress(addr, s.Local()), 0 }

// PeerName implements fd.Socket.
func (s *socket) PeerName(addr []byte) (int, syscall.Errno) {
	a, err := s.Peer()
	if err != 0 {
		return 0, err
	}
	return putAddress(addr, a), 0
}

// Patience implements fd.Patient.
func (s *socket) Patience() (receive, send time.Duration) {
	return time.Duration(s.receiveLimit.Load()), time.Duration(s.sendLimit.Load())
}

// bind is Bind of an address as the program gave it.
func (s *socket) bind(addr []byte) syscall.Errno {
	a, err := bindAddress(addr)
	if err != 0 {
		return err
	}
	return s.endpoint.Bind(a)
}
