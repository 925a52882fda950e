package http1

import "bytes"

type kind uint8

const (
	empty kind = iota
	length
	chunked
	untilClose
)

type chunkState uint8

const (
	chunkLine chunkState = iota
	chunkData
	chunkEnd
	chunkTrailers
	chunkDone
)

const (
	maxChunkLine   = 256  // size and extensions
	maxTrailerSize = 8192 // must fit in the reader's buffer as a whole
)

// Body is the state of reading one message body. The zero value is an empty
// body.
type Body struct {
	kind     kind
	left     int64
	state    chunkState
	Trailers []Field // after Next reported done; points into the last buffer
}

// Empty, Counted, Chunked and UntilClose tell the framing apart.
func (b *Body) Empty() bool      { return b.kind == empty }
func (b *Body) Counted() bool    { return b.kind == length }
func (b *Body) Chunked() bool    { return b.kind == chunked }
func (b *Body) UntilClose() bool { return b.kind == untilClose }

// Left returns how many bytes of a counted body, or of its present chunk, are
// still to come.
func (b *Body) Left() int64 { return b.left }

// Skip tells that n bytes of a counted body went another way.
func (b *Body) Skip(n int64) { b.left -= n }

// Next takes the front of p. It returns the body's data there, how many bytes
// of p are used up, and whether the body is complete. n == 0 without done
// means that more bytes must be read behind p.
func (b *Body) Next(p []byte) (data []byte, n int, done bool, err error) {
	switch b.kind {
	case empty:
		return nil, 0, true, nil
	case untilClose:
		return p, len(p), false, nil
	case length:
		n = int(min(int64(len(p)), b.left))
		b.left -= int64(n)
		return p[:n], n, b.left == 0, nil
	}
	return b.nextChunk(p)
}

func (b *Body) nextChunk(p []byte) (data []byte, n int, done bool, err error) {
	for {
		var used int
		switch b.state {
		case chunkLine:
			used, err = b.readSize(p[n:])
		case chunkData:
			used = int(min(int64(len(p)-n), b.left))
			data = p[n : n+used]
			b.left -= int64(used)
			if b.left == 0 {
				b.state = chunkEnd
			}
			return data, n + used, false, nil
		case chunkEnd:
			used, err = b.readCRLF(p[n:])
		case chunkTrailers:
			used, err = b.readTrailers(p[n:])
		case chunkDone:
			return nil, n, true, nil
		}
		if err != nil || used == 0 {
			return nil, n, false, err
		}
		n += used
	}
}

// readSize reads chunk-size [chunk-ext] CRLF. Extensions end here: RFC 9112
// section 7.1.1 lets a recipient ignore them, and nobody needs them.
func (b *Body) readSize(p []byte) (int, error) {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		if len(p) > maxChunkLine {
			return 0, ErrChunk
		}
		return 0, nil
	}
	if i < 2 || i > maxChunkLine || p[i-1] != '\r' {
		return 0, ErrChunk
	}
	digits, size := 0, int64(0)
	for ; digits < i-1; digits++ {
		d := unhex(p[digits])
		if d < 0 {
			break
		}
		if digits == 15 {
			return 0, ErrChunk
		}
		size = size<<4 | int64(d)
	}
	if digits == 0 || digits < i-1 && p[digits] != ';' || !all(p[digits:i-1], isValue) {
		return 0, ErrChunk
	}
	b.left, b.state = size, chunkData
	if size == 0 {
		b.state = chunkTrailers
	}
	return i + 1, nil
}

func (b *Body) readCRLF(p []byte) (int, error) {
	if len(p) > 0 && p[0] != '\r' || len(p) > 1 && p[1] != '\n' {
		return 0, ErrChunk
	}
	if len(p) < 2 {
		return 0, nil
	}
	b.state = chunkLine
	return 2, nil
}

func (b *Body) readTrailers(p []byte) (int, error) {
	end, _, err := HeadEnd(p, 0)
	if err != nil {
		return 0, err
	}
	if end > maxTrailerSize || end == 0 && len(p) > maxTrailerSize {
		return 0, ErrTooLarge
	}
	if end == 0 {
		return 0, nil
	}
	b.Trailers = b.Trailers[:0]
	for l, rest := line(p[:end]); len(l) > 0; l, rest = line(rest) {
		f, err := parseField(l)
		if err != nil || forbiddenTrailer(f.ID) {
			return 0, ErrTrailer
		}
		b.Trailers = append(b.Trailers, f)
	}
	b.state = chunkDone
	return end, nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
