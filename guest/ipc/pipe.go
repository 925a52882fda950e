package ipc

import (
	"sync"
	"syscall"

	"github.com/dewpaas/dew/guest/fd"
)

const (
	// pipeSize is how many bytes a pipe holds (pipe(7)).
	pipeSize = 64 << 10
	// atomicSize is PIPE_BUF: as much is written as one or not at all.
	atomicSize = 4096
)

// buffer is a ring of bytes that grows up to a limit and is given back when
// it is empty.
type buffer struct {
	b     []byte
	first int
	n     int
}

func (r *buffer) write(p []byte, limit int) int {
	k := min(len(p), limit-r.n)
	if k <= 0 {
		return 0
	}
	r.grow(r.n + k)
	at := (r.first + r.n) % len(r.b)
	c := copy(r.b[at:], p[:k])
	copy(r.b, p[c:k])
	r.n += k
	return k
}

func (r *buffer) grow(need int) {
	if need <= len(r.b) {
		return
	}
	size := max(512, len(r.b))
	for size < need {
		size *= 2
	}
	b := make([]byte, size)
	r.peek(b)
	r.b, r.first = b, 0
}

func (r *buffer) peek(p []byte) int {
	k := min(len(p), r.n)
	if k == 0 {
		return 0
	}
	c := copy(p[:k], r.b[r.first:])
	copy(p[c:k], r.b)
	return k
}

func (r *buffer) read(p []byte) int {
	k := r.peek(p)
	r.skip(k)
	return k
}

func (r *buffer) skip(k int) {
	r.n -= k
	if r.n == 0 {
		*r = buffer{}
	} else {
		r.first = (r.first + k) % len(r.b)
	}
}

// pipe is what both ends share.
type pipe struct {
	mu     sync.Mutex
	buf    buffer
	closed [2]bool // reader, writer
	ends   [2]*PipeEnd
	ino    uint64
}

// Ends of a pipe.
const (
	reader = 0
	writer = 1
)

// PipeEnd is one end of a pipe.
type PipeEnd struct {
	p        *pipe
	side     int
	notifier fd.Notifier
}

var (
	_ fd.Pollable = (*PipeEnd)(nil)
	_ fd.Shutter  = (*PipeEnd)(nil)
)

// Pipe makes a pipe.
func Pipe() (r, w *PipeEnd) {
	p := &pipe{ino: nextIno()}
	r, w = &PipeEnd{p: p, side: reader}, &PipeEnd{p: p, side: writer}
	p.ends = [2]*PipeEnd{r, w}
	return r, w
}

// Read implements fd.File.
func (e *PipeEnd) Read(b []byte, off int64) (int, syscall.Errno) {
	switch {
	case e.side != reader:
		return 0, syscall.EBADF
	case off != fd.AtPosition:
		return 0, syscall.ESPIPE
	case len(b) == 0:
		return 0, 0
	}
	p := e.p
	p.mu.Lock()
	n := p.buf.read(b)
	ended := p.closed[writer]
	p.mu.Unlock()
	if n > 0 {
		p.ends[writer].notifier.Notify(fd.Writable)
		return n, 0
	}
	if ended {
		return 0, 0
	}
	return 0, syscall.EAGAIN
}

// Write implements fd.File.
func (e *PipeEnd) Write(b []byte, off int64) (int, syscall.Errno) {
	switch {
	case e.side != writer:
		return 0, syscall.EBADF
	case off != fd.AtPosition:
		return 0, syscall.ESPIPE
	}
	p := e.p
	p.mu.Lock()
	if p.closed[reader] {
		p.mu.Unlock()
		return 0, syscall.EPIPE
	}
	n := 0
	if len(b) > atomicSize || len(b) <= pipeSize-p.buf.n {
		n = p.buf.write(b, pipeSize)
	}
	p.mu.Unlock()
	if n > 0 {
		p.ends[reader].notifier.Notify(fd.Readable)
	}
	if n == 0 && len(b) > 0 {
		return 0, syscall.EAGAIN
	}
	return n, 0
}

// Unread returns how many bytes wait.
func (e *PipeEnd) Unread() int {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	return e.p.buf.n
}

// Ready implements fd.Pollable.
func (e *PipeEnd) Ready() fd.Events {
	p := e.p
	p.mu.Lock()
	defer p.mu.Unlock()
	var ev fd.Events
	if e.side == reader {
		if p.buf.n > 0 {
			ev |= fd.Readable
		}
		if p.closed[writer] || p.closed[reader] {
			ev |= fd.HungUp
		}
		return ev
	}
	if p.buf.n <= pipeSize-atomicSize || p.closed[reader] {
		ev |= fd.Writable
	}
	if p.closed[reader] || p.closed[writer] {
		ev |= fd.Failed
	}
	return ev
}

// Notifier implements fd.Pollable.
func (e *PipeEnd) Notifier() *fd.Notifier { return &e.notifier }

// Closing implements fd.Shutter.
func (e *PipeEnd) Closing() {
	p := e.p
	p.mu.Lock()
	p.closed[e.side] = true
	p.mu.Unlock()
	for _, end := range p.ends {
		end.notifier.Notify(fd.HungUp | fd.Failed)
	}
}

// Close implements fd.File.
func (e *PipeEnd) Close() { e.Closing() }

// Stat implements fd.File.
func (e *PipeEnd) Stat(st *syscall.Stat_t) syscall.Errno {
	*st = syscall.Stat_t{Dev: device, Ino: e.p.ino, Mode: syscall.S_IFIFO | 0o600, Nlink: 1, Blksize: atomicSize}
	return 0
}
