package control

import (
	"errors"
	"io"
)

const (
	HeaderSize = 12       // bytes
	MaxPayload = 64 << 10 // bytes of one frame
)

// FlagMore says that another Reply with the same id follows.
const FlagMore = 1

// Kind of a frame. Numbers are never used again.
type Kind uint16

// Tender to guest.
const (
	Signal    Kind = 1 // payload u32: signal number, delivered to the program as kill(2) would
	Stacks    Kind = 2 // answered by the stacks of all goroutines as text
	Heap      Kind = 3 // answered by MemProfile records
	CPUStart  Kind = 4 // payload u32: samples a second. Answered when sampling has begun
	CPUStop   Kind = 5 // answered by the raw samples since CPUStart
	Metrics   Kind = 6 // answered by lines "name value" of runtime/metrics kind
	CollectGC Kind = 7 // runs a garbage collection; answered when it is done
	Disk      Kind = 8 // answered by u64: bytes that changed files take
)

// Guest to tender.
const (
	Reply     Kind = 64 // answer to the question with the same id
	Failed    Kind = 65 // payload text: why the question with this id has no answer
	Mark      Kind = 66 // payload {u64 monotonic ns of the guest, name}: a step of the boot timeline
	Report    Kind = 67 // payload text: a line for the platform's log about the guest
	Exit      Kind = 68 // payload u32: exit status, from a kernel that has no other way to tell it
	Listening Kind = 69 // payload {u16 port, "tcp" or "udp"}: the program accepts on this port
)

// Frame is one message.
type Frame struct {
	Kind    Kind
	Flags   uint16
	ID      uint32
	Payload []byte
}

// ErrTooLong is returned for a frame whose header announces more than MaxPayload.
var ErrTooLong = errors.New("control: frame is too long")

// Append appends the bytes of f to b. A payload over MaxPayload is cut.
func Append(b []byte, f Frame) []byte {
	if len(f.Payload) > MaxPayload {
		f.Payload = f.Payload[:MaxPayload]
	}
	n := len(f.Payload)
	b = append(b, byte(f.Kind), byte(f.Kind>>8), byte(f.Flags), byte(f.Flags>>8),
		byte(f.ID), byte(f.ID>>8), byte(f.ID>>16), byte(f.ID>>24),
		byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	return append(b, f.Payload...)
}

// AppendReply appends the answer to the question id, in as many frames as it
// needs.
func AppendReply(b []byte, id uint32, answer []byte) []byte {
	for len(answer) > MaxPayload {
		b = Append(b, Frame{Kind: Reply, Flags: FlagMore, ID: id, Payload: answer[:MaxPayload]})
		answer = answer[MaxPayload:]
	}
	return Append(b, Frame{Kind: Reply, ID: id, Payload: answer})
}

// Parse takes one whole frame from the front of b. It returns how many bytes
// the frame has: 0 with no error means that b does not hold a whole frame yet.
// The payload is a slice of b.
func Parse(b []byte) (f Frame, n int, err error) {
	if len(b) < HeaderSize {
		return Frame{}, 0, nil
	}
	size := U32(b[8:])
	if size > MaxPayload {
		return Frame{}, 0, ErrTooLong
	}
	end := HeaderSize + int(size)
	if len(b) < end {
		return Frame{}, 0, nil
	}
	return Frame{
		Kind:    Kind(uint16(b[0]) | uint16(b[1])<<8),
		Flags:   uint16(b[2]) | uint16(b[3])<<8,
		ID:      U32(b[4:]),
		Payload: b[HeaderSize:end:end],
	}, end, nil
}

// Read reads one frame from a blocking reader.
func Read(r io.Reader) (Frame, error) {
	var h [HeaderSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return Frame{}, err
	}
	size := U32(h[8:])
	if size > MaxPayload {
		return Frame{}, ErrTooLong
	}
	b := make([]byte, HeaderSize+int(size))
	copy(b, h[:])
	if _, err := io.ReadFull(r, b[HeaderSize:]); err != nil {
		return Frame{}, err
	}
	f, _, err := Parse(b)
	return f, err
}

// U32 reads a little-endian number of a payload that has at least 4 bytes.
func U32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}
