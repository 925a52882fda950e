package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Attribute flags of struct nlattr.
const (
	nested   = 1 << 15
	typeMask = 1<<14 - 1
)

// ErrMalformed says that a frame of the kernel contradicts itself.
var ErrMalformed = errors.New("malformed netlink message")

// Encoder appends attributes to a message. Values are in network byte order
// unless the name says otherwise.
type Encoder struct{ b []byte }

// Bytes is what was encoded.
func (e *Encoder) Bytes() []byte { return e.b }

// Len is how many bytes were encoded.
func (e *Encoder) Len() int { return len(e.b) }

func (e *Encoder) header(kind uint16, size int) {
	e.b = binary.NativeEndian.AppendUint16(e.b, uint16(4+size))
	e.b = binary.NativeEndian.AppendUint16(e.b, kind)
}

func (e *Encoder) pad() {
	for len(e.b)%4 != 0 {
		e.b = append(e.b, 0)
	}
}

// Data appends bytes as they are.
func (e *Encoder) Data(kind uint16, v string) {
	e.header(kind, len(v))
	e.b = append(e.b, v...)
	e.pad()
}

// Text appends a string with its end.
func (e *Encoder) Text(kind uint16, v string) {
	e.header(kind, len(v)+1)
	e.b = append(append(e.b, v...), 0)
	e.pad()
}

// U8 appends one byte.
func (e *Encoder) U8(kind uint16, v uint8) {
	e.header(kind, 1)
	e.b = append(e.b, v, 0, 0, 0)
}

// U16 appends two bytes.
func (e *Encoder) U16(kind, v uint16) {
	e.header(kind, 2)
	e.b = append(binary.BigEndian.AppendUint16(e.b, v), 0, 0)
}

// U32 appends four bytes.
func (e *Encoder) U32(kind uint16, v uint32) {
	e.header(kind, 4)
	e.b = binary.BigEndian.AppendUint32(e.b, v)
}

// U64 appends eight bytes.
func (e *Encoder) U64(kind uint16, v uint64) {
	e.header(kind, 8)
	e.b = binary.BigEndian.AppendUint64(e.b, v)
}

// Nest appends an attribute that holds what f appends. More than 64 KiB do not
// fit: the caller splits.
func (e *Encoder) Nest(kind uint16, f func()) {
	start := len(e.b)
	e.header(kind|nested, 0)
	f()
	binary.NativeEndian.PutUint16(e.b[start:], uint16(len(e.b)-start))
}

// Attributes calls f for each attribute in b. Its value is valid during the call.
func Attributes(b []byte, f func(kind uint16, v []byte) error) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return fmt.Errorf("attribute header: %w", ErrMalformed)
		}
		size, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if size < 4 || size > len(b) {
			return fmt.Errorf("attribute of %d bytes in %d: %w", size, len(b), ErrMalformed)
		}
		if err := f(kind&typeMask, b[4:size]); err != nil {
			return err
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return nil
}

// Text reads a string up to its end.
func Text(v []byte) string {
	for i, c := range v {
		if c == 0 {
			return string(v[:i])
		}
	}
	return string(v)
}

// U8 reads one byte; a value of another size is 0, as if it were absent.
func U8(v []byte) uint8 {
	if len(v) != 1 {
		return 0
	}
	return v[0]
}

// U16 reads two bytes; a value of another size is 0.
func U16(v []byte) uint16 {
	if len(v) != 2 {
		return 0
	}
	return binary.BigEndian.Uint16(v)
}

// U32 reads four bytes; a value of another size is 0.
func U32(v []byte) uint32 {
	if len(v) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(v)
}

// U64 reads eight bytes; a value of another size is 0.
func U64(v []byte) uint64 {
	if len(v) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(v)
}

// Raw appends attributes that are encoded already.
func (e *Encoder) Raw(v string) {
	e.b = append(e.b, v...)
	e.pad()
}
