package http1

import (
	"bytes"
	"fmt"
)

// Error is a refusal. Status is what a server answers to such a request; from
// an app it always means 502.
type Error struct {
	Status int
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (status %d)", e.Reason, e.Status) }

// The refusals. A bad host has an error of its own because the router's
// contract names it.
var (
	ErrBareLF        = &Error{400, "line does not end in CRLF"}
	ErrRequestLine   = &Error{400, "malformed request line"}
	ErrStatusLine    = &Error{400, "malformed status line"}
	ErrVersion       = &Error{505, "HTTP version is not 1.0 or 1.1"}
	ErrTarget        = &Error{400, "malformed request target"}
	ErrField         = &Error{400, "malformed header field"}
	ErrTooManyFields = &Error{431, "too many header fields"}
	ErrTooLarge      = &Error{431, "header section too large"}
	ErrNoHost        = &Error{400, "empty host"}
	ErrHost          = &Error{400, "malformed or repeated Host"}
	ErrLength        = &Error{400, "malformed or repeated Content-Length"}
	ErrCoding        = &Error{501, "transfer coding is not chunked"}
	ErrFraming       = &Error{400, "ambiguous message length"}
	ErrConnection    = &Error{400, "Connection names a field of the message itself"}
	ErrExpect        = &Error{417, "unknown expectation"}
	ErrChunk         = &Error{400, "malformed chunk"}
	ErrTrailer       = &Error{400, "malformed or forbidden trailer field"}
)

// MaxFields bounds the fields of one head.
const MaxFields = 512

// Field is one header or trailer field. Hop marks those that end here.
type Field struct {
	Name, Value []byte
	ID          Name
	Hop         bool
}

// HeadEnd looks for the empty line that ends a head. It returns the length of
// the head, 0 when it is not complete. from is where an earlier call stopped
// (its second result), so that a head that drips in is scanned once.
func HeadEnd(b []byte, from int) (end, next int, err error) {
	for {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return 0, from, nil
		}
		i += from
		if i == 0 || b[i-1] != '\r' {
			return 0, from, ErrBareLF
		}
		if i-1 == from {
			return i + 1, i + 1, nil
		}
		from = i + 1
	}
}

// line cuts one line off a head that HeadEnd has measured.
func line(b []byte) (l, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	return b[:i-1], b[i+1:]
}

// message is what requests and responses have in common.
type message struct {
	Minor         int // HTTP/1.Minor
	Fields        []Field
	ContentLength int64 // -1: none given
	Chunked       bool
	Close         bool // Connection: close was said
	KeepAlive     bool // Connection: keep-alive was said
	Upgrade       []byte
	connUpgrade   bool
	coded         bool
}

func (m *message) reset() {
	*m = message{Fields: m.Fields[:0], ContentLength: -1}
}

func (m *message) parseVersion(b []byte) bool {
	if len(b) != 8 || string(b[:7]) != "HTTP/1." || b[7] != '0' && b[7] != '1' {
		return false
	}
	m.Minor = int(b[7] - '0')
	return true
}

// parseFields reads the lines up to the empty one.
func (m *message) parseFields(b []byte) error {
	for {
		var l []byte
		if l, b = line(b); len(l) == 0 {
			break
		}
		if len(m.Fields) == MaxFields {
			return ErrTooManyFields
		}
		f, err := parseField(l)
		if err != nil {
			return err
		}
		if err := m.note(&f); err != nil {
			return err
		}
		m.Fields = append(m.Fields, f)
	}
	if m.Chunked && m.ContentLength >= 0 {
		return ErrFraming
	}
	if m.coded && (m.Minor == 0 || !m.Chunked) {
		return ErrFraming
	}
	return m.applyConnection()
}

// parseField reads one line. A line that begins with white space is an
// obs-fold and fails as an empty name: RFC 9112 section 5.2.
func parseField(l []byte) (Field, error) {
	colon := 0
	for colon < len(l) && class[l[colon]]&isToken != 0 {
		colon++
	}
	if colon == 0 || colon == len(l) || l[colon] != ':' {
		return Field{}, ErrField
	}
	value := trim(l[colon+1:])
	if !all(value, isValue) {
		return Field{}, ErrField
	}
	id := nameOf(l[:colon])
	return Field{Name: l[:colon:colon], Value: value, ID: id, Hop: hopByHop(id)}, nil
}

// note keeps what framing and persistence depend on.
func (m *message) note(f *Field) error {
	switch f.ID {
	case ContentLength:
		n, ok := decimal(f.Value)
		if !ok || m.ContentLength >= 0 {
			return ErrLength
		}
		m.ContentLength = n
	case TransferEncoding:
		if m.coded {
			return ErrFraming
		}
		m.coded = true
		if !EqualFold(f.Value, "chunked") {
			return ErrCoding
		}
		m.Chunked = true
	case Upgrade:
		if m.Upgrade != nil {
			return ErrField
		}
		m.Upgrade = f.Value
	}
	return nil
}

// decimal reads 1 to 18 digits and nothing else: no sign, no list.
func decimal(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// applyConnection marks the fields that Connection names. It cannot take away
// what frames or routes the message.
func (m *message) applyConnection() error {
	for i := range m.Fields {
		if m.Fields[i].ID != Connection {
			continue
		}
		for option, rest := Element(m.Fields[i].Value); ; option, rest = Element(rest) {
			if err := m.option(option); err != nil {
				return err
			}
			if rest == nil {
				break
			}
		}
	}
	if !m.connUpgrade {
		m.Upgrade = nil
	}
	return nil
}

func (m *message) option(o []byte) error {
	switch {
	case len(o) == 0:
	case EqualFold(o, "close"):
		m.Close = true
	case EqualFold(o, "keep-alive"):
		m.KeepAlive = true
	case EqualFold(o, "upgrade"):
		m.connUpgrade = true
	case !all(o, isToken):
		return ErrField
	default:
		return m.strip(o)
	}
	return nil
}

func (m *message) strip(o []byte) error {
	switch id := nameOf(o); id {
	case Host, ContentLength, TransferEncoding, Cookie, SetCookie:
		return ErrConnection
	default:
		for i := range m.Fields {
			f := &m.Fields[i]
			if f.ID == id && (id != Other || bytes.EqualFold(f.Name, o)) {
				f.Hop = true
			}
		}
	}
	return nil
}
