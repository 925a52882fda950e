package capture

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// Block types, options and constants of pcapng.
const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockStatistics = 5
	blockPacket     = 6
	byteOrderMagic  = 0x1a2b3c4d
	linkEthernet    = 1
	optEnd          = 0
	optComment      = 1
	optHardware     = 2 // in a section: hardware; in an interface: its name
	optUserAppl     = 4
	optResolution   = 9
	optPacketFlags  = 2
	optDropped      = 5
	nanoseconds     = 9
	flagInbound     = 1
	flagOutbound    = 2
)

// Writer writes frames of one device as a pcapng file.
type Writer struct {
	to  io.Writer
	buf []byte
}

// NewWriter begins a file. comment says what it is a capture of.
func NewWriter(to io.Writer, device, comment string, snaplen int) (*Writer, error) {
	w := &Writer{to: to}
	w.block(blockSection, func() {
		w.u32(byteOrderMagic)
		w.u16(1) // version 1.0
		w.u16(0)
		w.u64(^uint64(0)) // length of the section: not known
		w.option(optComment, comment)
		w.option(optUserAppl, "dew tcpdump")
		w.option(optEnd, "")
	})
	w.block(blockInterface, func() {
		w.u16(linkEthernet)
		w.u16(0)
		w.u32(uint32(snaplen))
		w.option(optHardware, device)
		w.option(optResolution, string([]byte{nanoseconds}))
		w.option(optEnd, "")
	})
	return w, w.flush()
}

// Write writes one frame. Inbound is what comes from the guest, as the host's
// end of the tap sees it.
func (w *Writer) Write(f Frame) error {
	direction := uint32(flagOutbound)
	if f.FromGuest {
		direction = flagInbound
	}
	w.block(blockPacket, func() {
		w.u32(0)
		w.time(f.Time)
		w.u32(uint32(len(f.Bytes)))
		w.u32(uint32(f.Size))
		w.bytes(f.Bytes)
		w.option(optPacketFlags, string(binary.LittleEndian.AppendUint32(nil, direction)))
		w.option(optEnd, "")
	})
	return w.flush()
}

// Close ends the file with the number of frames that were dropped.
func (w *Writer) Close(now time.Time, dropped uint64) error {
	w.block(blockStatistics, func() {
		w.u32(0)
		w.time(now)
		w.option(optDropped, string(binary.LittleEndian.AppendUint64(nil, dropped)))
		w.option(optEnd, "")
	})
	return w.flush()
}

func (w *Writer) flush() error {
	_, err := w.to.Write(w.buf)
	w.buf = w.buf[:0]
	if err != nil {
		return fmt.Errorf("write the capture: %w", err)
	}
	return nil
}

// block writes type, length, what body writes, and the length again.
func (w *Writer) block(kind uint32, body func()) {
	start := len(w.buf)
	w.u32(kind)
	w.u32(0)
	body()
	size := uint32(len(w.buf) - start + 4)
	binary.LittleEndian.PutUint32(w.buf[start+4:], size)
	w.u32(size)
}

func (w *Writer) u16(v uint16) { w.buf = binary.LittleEndian.AppendUint16(w.buf, v) }
func (w *Writer) u32(v uint32) { w.buf = binary.LittleEndian.AppendUint32(w.buf, v) }
func (w *Writer) u64(v uint64) { w.buf = binary.LittleEndian.AppendUint64(w.buf, v) }

func (w *Writer) time(t time.Time) {
	n := uint64(t.UnixNano())
	w.u32(uint32(n >> 32))
	w.u32(uint32(n))
}

func (w *Writer) bytes(b []byte) {
	w.buf = append(w.buf, b...)
	for n := len(b); n%4 != 0; n++ {
		w.buf = append(w.buf, 0)
	}
}

// option writes one option; an empty one but the end is left out.
func (w *Writer) option(code uint16, value string) {
	if value == "" && code != optEnd {
		return
	}
	value = value[:min(len(value), 0xffff)]
	w.u16(code)
	w.u16(uint16(len(value)))
	w.bytes([]byte(value))
}
