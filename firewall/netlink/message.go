package netlink

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Kind is the type of a message: subsystem and number.
type Kind uint16

// KindOf makes the type of message n of a subsystem.
func KindOf(subsystem, n uint16) Kind { return Kind(subsystem<<8 | n) }

// Message is one request.
type Message struct {
	Kind   Kind
	Flags  uint16 // NLM_F_REQUEST is implied
	Family uint8
	// Resource is what the subsystem makes of it: a log group, for one.
	Resource uint16
	Body     []byte // attributes
}

const (
	headerSize  = 16 // struct nlmsghdr
	genericSize = 4  // struct nfgenmsg
)

func appendMessage(b []byte, m Message, seq uint32) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(headerSize+genericSize+len(m.Body)))
	b = binary.NativeEndian.AppendUint16(b, uint16(m.Kind))
	b = binary.NativeEndian.AppendUint16(b, m.Flags|unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = append(b, m.Family, unix.NFNETLINK_V0)
	b = binary.BigEndian.AppendUint16(b, m.Resource)
	b = append(b, m.Body...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// Reply is one message from the kernel. Body are its attributes.
type Reply struct {
	Kind     Kind
	Flags    uint16
	Seq      uint32
	Family   uint8
	Resource uint16
	Body     []byte
	// Err is set in acknowledgements that say no.
	Err error
	// Done ends a dump or acknowledges a request.
	Done bool
}

// Replies calls f for each message in a datagram of the kernel.
func Replies(b []byte, f func(Reply) error) error {
	for len(b) >= headerSize {
		size := int(binary.NativeEndian.Uint32(b))
		if size < headerSize || size > len(b) {
			return fmt.Errorf("message of %d bytes in %d: %w", size, len(b), ErrMalformed)
		}
		r := Reply{Kind: Kind(binary.NativeEndian.Uint16(b[4:])), Flags: binary.NativeEndian.Uint16(b[6:]), Seq: binary.NativeEndian.Uint32(b[8:])}
		if err := r.read(b[headerSize:size]); err != nil {
			return err
		}
		if err := f(r); err != nil {
			return err
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	if len(b) > 0 {
		return fmt.Errorf("message header: %w", ErrMalformed)
	}
	return nil
}

func (r *Reply) read(b []byte) error {
	switch r.Kind {
	case unix.NLMSG_NOOP, unix.NLMSG_OVERRUN:
		return nil
	case unix.NLMSG_DONE, unix.NLMSG_ERROR:
		r.Done = true
		if len(b) < 4 {
			if r.Kind == unix.NLMSG_DONE {
				return nil
			}
			return fmt.Errorf("acknowledgement: %w", ErrMalformed)
		}
		if code := int32(binary.NativeEndian.Uint32(b)); code < 0 {
			r.Err = syscall.Errno(-int64(code))
			if r.Kind == unix.NLMSG_ERROR {
				r.Err = explained(r.Err, r.Flags, b)
			}
		}
		return nil
	}
	if len(b) < genericSize {
		return fmt.Errorf("message body: %w", ErrMalformed)
	}
	r.Family, r.Resource, r.Body = b[0], binary.BigEndian.Uint16(b[2:]), b[genericSize:]
	return nil
}

// explained adds the kernel's own words, if it has any, to an error.
func explained(err error, flags uint16, b []byte) error {
	after := 4 + headerSize
	if flags&unix.NLM_F_CAPPED == 0 && len(b) >= after {
		size := uint64(binary.NativeEndian.Uint32(b[4:]))
		if size < headerSize || size > uint64(len(b)) {
			return err
		}
		after = 4 + int(size+3)&^3
	}
	if flags&unix.NLM_F_ACK_TLVS == 0 || len(b) < after {
		return err
	}
	text := ""
	Attributes(b[after:], func(kind uint16, v []byte) error { // what cannot be read explains nothing
		if kind == NLMSGERR_ATTR_MSG {
			text = Text(v)
		}
		return nil
	})
	if text == "" {
		return err
	}
	return fmt.Errorf("%s: %w", text, err)
}
