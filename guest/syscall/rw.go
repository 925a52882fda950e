package syscall

import (
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/dewpaas/dew/guest/fd"
)

// appender is a file that can write at its own end, for O_APPEND.
type appender interface {
	Append(p []byte) (int, syscall.Errno)
}

// readFile reads and, on a blocking descriptor, waits.
func readFile(r fd.Ref, p []byte, off int64) (int, syscall.Errno) {
	for {
		n, err := r.Read(p, off)
		if err != syscall.EAGAIN || r.NonBlocking() {
			return n, err
		}
		if !wait(r, fd.Readable) {
			return n, err
		}
	}
}

// writeFile writes and, on a blocking descriptor, waits until all is written.
func writeFile(r fd.Ref, p []byte, off int64) (int, syscall.Errno) {
	if a, ok := r.File.(appender); ok && r.Flags()&syscall.O_APPEND != 0 {
		return a.Append(p) // also with an offset: pwrite(2), BUGS
	}
	done := 0
	for {
		n, err := r.Write(p[done:], off)
		done += n
		switch {
		case err == 0 && (done == len(p) || n == 0):
			return done, 0
		case err != 0 && err != syscall.EAGAIN || r.NonBlocking() || !wait(r, fd.Writable):
			if done > 0 {
				return done, 0
			}
			return done, err
		}
	}
}

// wait blocks until the file is ready; false for a file that cannot be waited
// for, or that will not be waited for any longer.
func wait(r fd.Ref, e fd.Events) bool {
	p, ok := r.File.(fd.Pollable)
	return ok && fd.WaitFor(p, e, patience(r.File, e))
}

// patience is how long a call waits for a file, 0 for ever.
func patience(f fd.File, e fd.Events) time.Duration {
	p, ok := f.(fd.Patient)
	if !ok {
		return 0
	}
	receive, send := p.Patience()
	if e == fd.Readable {
		return receive
	}
	return send
}

func count(n int, err syscall.Errno) (uintptr, syscall.Errno) { return uintptr(n), err }

func read(c Call) (uintptr, syscall.Errno)   { return transfer(&c, readFile, fd.AtPosition) }
func write(c Call) (uintptr, syscall.Errno)  { return transfer(&c, writeFile, fd.AtPosition) }
func pread(c Call) (uintptr, syscall.Errno)  { return transferAt(&c, readFile) }
func pwrite(c Call) (uintptr, syscall.Errno) { return transferAt(&c, writeFile) }

func transferAt(c *Call, move func(fd.Ref, []byte, int64) (int, syscall.Errno)) (uintptr, syscall.Errno) {
	off := int64(c.A[3])
	if off < 0 {
		return 0, syscall.EINVAL
	}
	return transfer(c, move, off)
}

func transfer(c *Call, move func(fd.Ref, []byte, int64) (int, syscall.Errno), off int64) (uintptr, syscall.Errno) {
	r, err := c.file(0)
	if err != 0 {
		return 0, err
	}
	defer r.Put()
	p, err := c.bytes(1, c.A[2])
	if err != 0 {
		return 0, err
	}
	return count(move(r, p, off))
}

// maxVector is UIO_MAXIOV of include/uapi/linux/uio.h.
const maxVector = 1024

// vector is an iovec array of the program. It is read anew at each use: a copy
// of a base that points into the stack would not be adjusted when it moves.
type vector struct {
	p unsafe.Pointer
	n int
}

func (c *Call) vector(n int) (vector, syscall.Errno) {
	v := vector{c.P[n], int(c.A[n+1])}
	return v, v.check()
}

func (v vector) check() syscall.Errno {
	if v.n < 0 || v.n > maxVector {
		return syscall.EINVAL
	}
	if v.n > 0 && v.p == nil {
		return syscall.EFAULT
	}
	total := uint64(0)
	for i := range v.n {
		if total += v.piece(i).Len; total > maxBytes || v.piece(i).Len > maxBytes {
			return syscall.EINVAL
		}
	}
	return 0
}

func (v vector) piece(i int) *syscall.Iovec {
	return (*syscall.Iovec)(unsafe.Add(v.p, uintptr(i)*unsafe.Sizeof(syscall.Iovec{})))
}

func (v vector) bytes(i int) []byte {
	piece := v.piece(i)
	return unsafe.Slice(piece.Base, int(piece.Len))
}

func (v vector) size() int {
	total := 0
	for i := range v.n {
		total += int(v.piece(i).Len)
	}
	return total
}

// bounce is room for pieces that must go out, or come in, as one.
var bounce = sync.Pool{New: func() any { return new([bounceSize]byte) }}

const bounceSize = 64 << 10

// gather copies the pieces from byte skip on into buf, as much as fits.
func (v vector) gather(buf []byte, skip int) int {
	done := 0
	for i := range v.n {
		b := v.bytes(i)
		if skip >= len(b) {
			skip -= len(b)
			continue
		}
		done += copy(buf[done:], b[skip:])
		skip = 0
	}
	return done
}

// scatter copies buf into the pieces from byte skip on.
func (v vector) scatter(buf []byte, skip int) {
	for i := range v.n {
		b := v.bytes(i)
		if skip >= len(b) {
			skip -= len(b)
			continue
		}
		buf = buf[copy(b[skip:], buf):]
		skip = 0
	}
}

func writev(c Call) (uintptr, syscall.Errno)  { return writeVector(&c, fd.AtPosition) }
func pwritev(c Call) (uintptr, syscall.Errno) { return vectorAt(&c, writeVector) }
func readv(c Call) (uintptr, syscall.Errno)   { return readVector(&c, fd.AtPosition) }
func preadv(c Call) (uintptr, syscall.Errno)  { return vectorAt(&c, readVector) }

// vectorAt is preadv(2) and pwritev(2), and their second versions without
// flags, in which an offset of -1 means the file's own.
func vectorAt(c *Call, do func(*Call, int64) (uintptr, syscall.Errno)) (uintptr, syscall.Errno) {
	off := int64(c.A[3])
	if off < -1 {
		return 0, syscall.EINVAL
	}
	return do(c, off)
}

func preadv2(c Call) (uintptr, syscall.Errno)  { return vectorFlags(&c, readVector) }
func pwritev2(c Call) (uintptr, syscall.Errno) { return vectorFlags(&c, writeVector) }

func vectorFlags(c *Call, do func(*Call, int64) (uintptr, syscall.Errno)) (uintptr, syscall.Errno) {
	if c.A[5] != 0 {
		return 0, syscall.EOPNOTSUPP
	}
	return vectorAt(c, do)
}

// writeVector writes up to bounceSize as one, so that small pieces of a packet
// leave together.
func writeVector(c *Call, off int64) (uintptr, syscall.Errno) {
	r, v, err := vectorFile(c)
	if err != 0 {
		return 0, err
	}
	defer r.Put()
	if v.n == 1 {
		return count(writeFile(r, v.bytes(0), off))
	}
	if g, ok := r.File.(fd.Gatherer); ok && off == fd.AtPosition {
		return count(writePieces(r, g, v))
	}
	buf := bounce.Get().(*[bounceSize]byte)
	defer bounce.Put(buf)
	done, total := 0, v.size()
	for {
		k := v.gather(buf[:], done)
		n, err := writeFile(r, buf[:k], off)
		done += n
		if off != fd.AtPosition {
			off += int64(n)
		}
		if err != 0 && done == 0 {
			return 0, err
		}
		if n < k || done == total {
			return uintptr(done), 0
		}
	}
}

// writePieces writes to a stream that gathers by itself.
func writePieces(r fd.Ref, g fd.Gatherer, v vector) (int, syscall.Errno) {
	done, total := 0, v.size()
	for i := range v.n {
		for begin := done; done < begin+int(v.piece(i).Len); {
			p := v.bytes(i)[done-begin:]
			n, err := g.WriteMore(p, done+len(p) < total)
			done += n
			if err == 0 && n == len(p) {
				continue
			}
			if err != 0 && err != syscall.EAGAIN || r.NonBlocking() || !wait(r, fd.Writable) {
				if done > 0 {
					return done, 0
				}
				return 0, err
			}
		}
	}
	return done, 0
}

func readVector(c *Call, off int64) (uintptr, syscall.Errno) {
	r, v, err := vectorFile(c)
	if err != 0 {
		return 0, err
	}
	defer r.Put()
	if v.n == 1 {
		return count(readFile(r, v.bytes(0), off))
	}
	buf := bounce.Get().(*[bounceSize]byte)
	defer bounce.Put(buf)
	n, err := readFile(r, buf[:min(v.size(), bounceSize)], off)
	v.scatter(buf[:n], 0)
	return uintptr(n), err
}

func vectorFile(c *Call) (fd.Ref, vector, syscall.Errno) {
	v, err := c.vector(1)
	if err != 0 {
		return fd.Ref{}, v, err
	}
	r, err := c.file(0)
	return r, v, err
}

func lseek(c Call) (uintptr, syscall.Errno) {
	r, err := c.file(0)
	if err != 0 {
		return 0, err
	}
	defer r.Put()
	s, ok := r.File.(fd.Seeker)
	if !ok {
		return 0, syscall.ESPIPE
	}
	off, err := s.SeekTo(int64(c.A[1]), c.int(2))
	return uintptr(off), err
}

// sendfile copies up to one buffer: callers go on where it stopped. What is no
// regular file is refused, as by splice_direct_to_actor of fs/splice.c, upon
// which packages os and net copy themselves.
func sendfile(c Call) (uintptr, syscall.Errno) {
	if _, err := c.regular(1); err != 0 {
		if err == syscall.EISDIR {
			err = syscall.EINVAL
		}
		return 0, err
	}
	return c.copyRange(1, 0, 2, -1, c.A[3])
}

func copyFileRange(c Call) (uintptr, syscall.Errno) {
	if c.A[5] != 0 {
		return 0, syscall.EINVAL
	}
	from, err := c.regular(0)
	if err != 0 {
		return 0, err
	}
	to, err := c.regular(2)
	if err != 0 {
		return 0, err
	}
	if from.Ino == to.Ino && c.overlap() {
		return 0, syscall.EINVAL
	}
	return c.copyRange(0, 2, 1, 3, c.A[4])
}

// regular is the file of argument n, which copy_file_range(2) wants regular.
func (c *Call) regular(n int) (st syscall.Stat_t, err syscall.Errno) {
	r, err := c.file(n)
	if err != 0 {
		return st, err
	}
	defer r.Put()
	if err := r.Stat(&st); err != 0 {
		return st, err
	}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		return st, 0
	case syscall.S_IFDIR:
		return st, syscall.EISDIR
	}
	return st, syscall.EINVAL
}

// overlap tells whether the two ranges of copy_file_range meet in one file.
func (c *Call) overlap() bool {
	in, out := c.position(0, 1), c.position(2, 3)
	distance := in - out
	return max(distance, -distance) < int64(min(c.A[4], maxBytes))
}

// position is the offset at argument off, or else where the file of argument n stands.
func (c *Call) position(n, off int) int64 {
	if at := c.offset(off); at != fd.AtPosition {
		return at
	}
	r, err := c.file(n)
	if err != 0 {
		return 0
	}
	defer r.Put()
	s, ok := r.File.(fd.Seeker)
	if !ok {
		return 0
	}
	at, _ := s.SeekTo(0, 1)
	return at
}

// copyRange copies between the files of two arguments; inOff and outOff are
// the arguments with pointers to their offsets, -1 for none.
func (c *Call) copyRange(in, out, inOff, outOff int, size uintptr) (uintptr, syscall.Errno) {
	from, err := c.file(in)
	if err != 0 {
		return 0, err
	}
	defer from.Put()
	to, err := c.file(out)
	if err != 0 {
		return 0, err
	}
	defer to.Put()
	buf := bounce.Get().(*[bounceSize]byte)
	defer bounce.Put(buf)
	n, err := readFile(from, buf[:min(size, bounceSize)], c.offset(inOff))
	if err != 0 || n == 0 {
		return 0, err
	}
	wrote, err := writeFile(to, buf[:n], c.offset(outOff))
	if wrote < n && c.offset(inOff) == fd.AtPosition {
		if s, ok := from.File.(fd.Seeker); ok { // what was not written was not taken
			s.SeekTo(int64(wrote-n), 1)
		}
	}
	c.advance(inOff, wrote)
	c.advance(outOff, wrote)
	if wrote > 0 {
		err = 0
	}
	return uintptr(wrote), err
}

func (c *Call) offset(n int) int64 {
	if n < 0 || c.P[n] == nil {
		return fd.AtPosition
	}
	return *(*int64)(c.P[n])
}

func (c *Call) advance(n, by int) {
	if n >= 0 && c.P[n] != nil {
		*(*int64)(c.P[n]) += int64(by)
	}
}
