package router

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dewpaas/dew/router/http1"
)

const (
	bufferSize = 16 << 10
	// spliceFrom is what must be left of a body before the kernel moves it:
	// a pipe costs four system calls.
	spliceFrom = 64 << 10
	// spliceStep is what must move within one idle time-out.
	spliceStep = 256 << 10
	// spliceTail goes through our buffer, so that we know that the last byte
	// was read before the other side can have seen it.
	spliceTail = 4 << 10
)

// buffers are shared by all connections: one that idles holds none.
type buffers struct{ pool sync.Pool }

func (b *buffers) get() *[]byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return p
	}
	p := make([]byte, bufferSize)
	return &p
}

func (b *buffers) put(p *[]byte) { b.pool.Put(p) }

// The two ends of a stream fail differently: one is the app's fault, the
// other the client's.
type (
	readError  struct{ error }
	writeError struct{ error }
)

func (e readError) Unwrap() error  { return e.error }
func (e writeError) Unwrap() error { return e.error }

// stream moves one body from one connection to another. Bytes are passed on
// as soon as no more are at hand, so an event stream is not held back.
type stream struct {
	from, to *guard
	body     http1.Body
	buf      []byte // buf[r:w] was read from from and is not used up
	r, w     int
	out      []byte // waits to be written: the head, then what frames data
	chunk    bool   // write chunks
	idle     time.Duration
	moved    int64       // bytes of body
	wrote    int64       // bytes written, head included
	readAll  atomic.Bool // the source's last byte was read
	clean    bool        // ended where the sender said so
	vec      [2][]byte
	bufs     net.Buffers
	limited  io.LimitedReader
}

func (s *stream) reset(from, to *guard, body http1.Body, chunk bool, idle time.Duration) {
	s.from, s.to, s.body, s.chunk, s.idle = from, to, body, chunk, idle
	s.moved, s.wrote, s.clean = 0, 0, false
	s.readAll.Store(body.Empty())
}

// run moves the body and whatever waits in out before it.
func (s *stream) run() error {
	for {
		data, n, done, err := s.body.Next(s.buf[s.r:s.w])
		if err != nil {
			return readError{err}
		}
		s.r += n
		if done {
			s.readAll.Store(true)
		}
		if err := s.emit(data); err != nil {
			return err
		}
		if done {
			return s.end()
		}
		if n > 0 {
			continue
		}
		if err := s.more(); err == io.EOF {
			return s.end()
		} else if err != nil {
			return err
		}
	}
}

// emit puts a piece of body into out, or writes it together with out when it
// is too large to be worth a copy.
func (s *stream) emit(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	s.moved += int64(len(data))
	if s.chunk {
		s.out = appendHex(s.out, uint64(len(data)))
	}
	if len(s.out)+len(data)+2 <= cap(s.out) {
		s.out = append(s.out, data...)
	} else if err := s.write(data); err != nil {
		return err
	}
	if s.chunk {
		s.out = append(s.out, '\r', '\n')
	}
	return nil
}

// end finishes the framing and writes what waits.
func (s *stream) end() error {
	s.clean = true
	if s.chunk {
		s.out = append(s.out, '0', '\r', '\n')
		for _, f := range s.body.Trailers {
			if !f.Hop {
				s.out = appendField(s.out, f.Name, f.Value)
			}
		}
		s.out = append(s.out, '\r', '\n')
	}
	return s.flush()
}

// more passes on what waits, then reads. io.EOF means that a body that lasts
// until the connection closes is complete.
func (s *stream) more() error {
	if err := s.flush(); err != nil {
		return err
	}
	if s.body.Counted() && s.body.Left() >= spliceFrom && s.from.tcp != nil && s.to.tcp != nil {
		return s.splice(min(s.body.Left()-spliceTail, spliceStep))
	}
	n, err := s.fill()
	if n > 0 {
		return nil
	}
	if err == io.EOF && s.body.UntilClose() {
		s.readAll.Store(true)
		return io.EOF
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return readError{err}
}

func (s *stream) fill() (int, error) {
	if s.r == s.w {
		s.r, s.w = 0, 0
	} else if s.w == len(s.buf) {
		s.w = copy(s.buf, s.buf[s.r:s.w])
		s.r = 0
		if s.w == len(s.buf) {
			return 0, http1.ErrTooLarge
		}
	}
	if err := s.from.readWithin(s.idle); err != nil {
		return 0, err
	}
	n, err := s.from.conn.Read(s.buf[s.w:])
	s.from.readWithin(0) // a struck deadline shows at the next operation
	s.w += n
	return n, err
}

// splice lets the kernel move n bytes from socket to socket.
func (s *stream) splice(n int64) error {
	if err := errors.Join(s.from.readWithin(s.idle), s.to.writeWithin(s.idle)); err != nil {
		return writeError{err}
	}
	s.limited = io.LimitedReader{R: s.from.tcp, N: n}
	moved, err := s.to.tcp.ReadFrom(&s.limited)
	s.from.readWithin(0)
	s.to.writeWithin(0)
	s.body.Skip(moved)
	s.moved += moved
	s.wrote += moved
	if err == nil && moved == 0 {
		return readError{io.ErrUnexpectedEOF}
	}
	if err != nil {
		return sideOf(err)
	}
	return nil
}

// sideOf tells whose failure a splice reports: the net package names the
// direction in its error.
func sideOf(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "read" {
		return readError{err}
	}
	return writeError{err}
}

func (s *stream) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	return s.write(nil)
}

// write sends out, and data behind it, with one system call.
func (s *stream) write(data []byte) error {
	if err := s.to.writeWithin(s.idle); err != nil {
		return writeError{err}
	}
	var n int64
	var err error
	if len(data) == 0 {
		var m int
		m, err = s.to.conn.Write(s.out)
		n = int64(m)
	} else {
		s.vec = [2][]byte{s.out, data}
		s.bufs = s.vec[:]
		n, err = s.bufs.WriteTo(s.to.conn)
		s.vec = [2][]byte{}
	}
	s.to.writeWithin(0)
	s.wrote += n
	s.out = s.out[:0]
	if err != nil {
		return writeError{err}
	}
	return nil
}

const hexDigits = "0123456789abcdef"

// appendHex appends n in hexadecimal and CRLF.
func appendHex(dst []byte, n uint64) []byte {
	shift := 0
	for n>>shift > 0xf {
		shift += 4
	}
	for ; shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[n>>shift&0xf])
	}
	return append(dst, '\r', '\n')
}

func appendField(dst, name, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, ':', ' ')
	dst = append(dst, value...)
	return append(dst, '\r', '\n')
}

func appendHeader(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ':', ' ')
	dst = append(dst, value...)
	return append(dst, '\r', '\n')
}
