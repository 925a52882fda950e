package capture

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Frame is one frame as it passed the tap. Bytes is valid until the next.
type Frame struct {
	Time      time.Time
	FromGuest bool
	Bytes     []byte
	Size      int // of the frame; Bytes may be less
}

// Source hears one device.
type Source struct {
	name    string
	file    *os.File
	snaplen int
	buf     []byte
	control []byte
}

// DefaultSnaplen takes frames whole, segmentation offload included.
const DefaultSnaplen = 1 << 17

// bufferSize is how much waits in the kernel for a slow reader.
const bufferSize = 8 << 20

// Open hears a device of the network namespace that in enters. Of each frame it
// takes at most snaplen bytes; 0 is DefaultSnaplen.
func Open(in func(func() error) error, device string, snaplen int) (*Source, error) {
	if snaplen <= 0 || snaplen > DefaultSnaplen {
		snaplen = DefaultSnaplen
	}
	s := &Source{name: device, snaplen: snaplen, buf: make([]byte, snaplen), control: make([]byte, 256)}
	err := in(func() error {
		link, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		// Without a protocol it hears nothing until it is bound to the device.
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		s.file = os.NewFile(uintptr(fd), device)
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bufferSize) // less is slower, not wrong
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: swapped(unix.ETH_P_ALL), Ifindex: link.Index})
	})
	if err != nil {
		if s.file != nil {
			s.file.Close()
		}
		return nil, fmt.Errorf("capture on %s: %w", device, err)
	}
	return s, nil
}

// swapped is v in network byte order, as packet(7) wants a protocol.
func swapped(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// Close ends the capture, and a Next that waits.
func (s *Source) Close() error { return s.file.Close() }

// Next waits for a frame. It fails with os.ErrClosed once the Source is closed.
func (s *Source) Next() (Frame, error) {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return Frame{}, err
	}
	var f Frame
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, controls, _, from, err := unix.Recvmsg(int(fd), s.buf, s.control, unix.MSG_TRUNC)
		if err == unix.EAGAIN || err == unix.EINTR {
			return false
		}
		if failed = err; err == nil {
			f = s.frame(n, s.control[:controls], from)
		}
		return true
	})
	return f, errors.Join(err, failed)
}

func (s *Source) frame(n int, control []byte, from unix.Sockaddr) Frame {
	f := Frame{Time: time.Now(), Bytes: s.buf[:min(n, len(s.buf))], Size: n}
	if a, ok := from.(*unix.SockaddrLinklayer); ok {
		f.FromGuest = a.Pkttype != unix.PACKET_OUTGOING
	}
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return f
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
			f.Time = time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		}
	}
	return f
}

// Dropped is how many frames were lost since it was asked last.
func (s *Source) Dropped() (uint64, error) {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	var stats *unix.TpacketStats
	var failed error
	err = raw.Control(func(fd uintptr) {
		stats, failed = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	})
	if err = errors.Join(err, failed); err != nil {
		return 0, fmt.Errorf("ask how many frames were dropped: %w", err)
	}
	return uint64(stats.Drops), nil
}

// Each calls f for every frame until the context is done or f fails.
func (s *Source) Each(ctx context.Context, f func(Frame) error) error {
	defer context.AfterFunc(ctx, func() { s.file.SetReadDeadline(time.Unix(1, 0)) })()
	for {
		frame, err := s.Next()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("capture on %s: %w", s.name, err)
		}
		if err := f(frame); err != nil {
			return err
		}
	}
}
