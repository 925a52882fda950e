package cell

import (
	"bytes"
	"io"
)

// smallBuffer is what a reader of lines has while its guest says little: a cell
// has two of them for each guest, all the time.
const smallBuffer = 1 << 10

// lineReader cuts what a guest writes into lines. The buffer grows with what comes at
// once, up to the longest line, and is given back when that is over.
type lineReader struct {
	r    io.Reader
	buf  []byte
	s, e int  // buf[s:e] is unread
	full bool // the last read left no room: there may be more
	err  error
}

// next returns a line with its end, or maxLine bytes of a longer one; before an
// error what there is of the last. It is valid until the next call.
func (l *lineReader) next() (text []byte, err error) {
	for seen := 0; ; l.fill() {
		if i := bytes.IndexByte(l.buf[l.s+seen:l.e], '\n'); i >= 0 {
			return l.cut(seen + i + 1), nil
		}
		if seen = l.e - l.s; seen >= maxLine {
			return l.cut(maxLine), nil
		}
		if l.err != nil {
			return l.cut(seen), l.err
		}
	}
}

func (l *lineReader) cut(n int) []byte {
	text := l.buf[l.s : l.s+n]
	l.s += n
	return text
}

// skip drops what was read already, and tells how many lines it was.
func (l *lineReader) skip() int {
	n := bytes.Count(l.buf[l.s:l.e], []byte{'\n'})
	l.s = l.e
	return n
}

// fill reads once.
func (l *lineReader) fill() {
	size := len(l.buf)
	switch rest := l.e - l.s; {
	case rest == size || rest == 0 && l.full:
		size = min(max(4*size, smallBuffer), maxLine)
	case rest == 0:
		size = smallBuffer
	}
	into := l.buf
	if size != len(l.buf) {
		into = make([]byte, size)
	}
	l.e = copy(into, l.buf[l.s:l.e])
	l.buf, l.s = into, 0
	n, err := l.r.Read(l.buf[l.e:])
	l.full = n == len(l.buf)-l.e
	l.e += n
	l.err = err
}
