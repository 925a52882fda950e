package control

import (
	"sync"
	"syscall"
	"time"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/abi/control"
	"github.com/dewpaas/dew/guest/host"
)

// sender writes frames, one at a time. What the channel took only in part
// stays in rest and goes out before anything else: a cut frame would make
// nonsense of all that follow.
type sender struct {
	mu    sync.Mutex
	rest  []byte
	write func([]byte) (int, syscall.Errno)
}

// out is the guest's one sender.
var out = sender{write: func(p []byte) (int, syscall.Errno) { return host.Write(abi.FDControl, p) }}

// flush tries to write the rest. s.mu is held.
func (s *sender) flush() (empty bool) {
	for len(s.rest) > 0 {
		n, err := s.write(s.rest)
		switch {
		case err == syscall.EINTR:
		case err != 0 || n <= 0:
			return false
		default:
			s.rest = s.rest[n:]
		}
	}
	s.rest = nil
	return true
}

// send writes a frame, or drops it where the channel is full or closed: it
// returns whether the frame is on its way.
func (s *sender) send(f control.Frame) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.flush() {
		return false
	}
	frame := control.Append(nil, f)
	s.rest = frame
	if !s.flush() && len(s.rest) == len(frame) {
		s.rest = nil
		return false
	}
	return true
}

// patience is how long an answer waits for room in the channel.
const patience = 2 * time.Second

// insist sends a frame that a tender waits for: while the channel is full it
// tries again, for as long as patience lasts. Only serve's goroutine may.
func (s *sender) insist(f control.Frame) bool {
	for end := time.Now().Add(patience); !s.send(f); {
		if time.Now().After(end) {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return true
}

func send(f control.Frame) {
	if host.Active() {
		out.send(f)
	}
}

// Report sends a line for the platform's log about this guest.
func Report(line string) { send(control.Frame{Kind: control.Report, Payload: []byte(line)}) }

// Mark tells a step of the boot timeline.
func Mark(name string) { markAt(name, host.Nanotime()) }

func markAt(name string, when int64) {
	send(control.Frame{Kind: control.Mark, Payload: append(append64(nil, uint64(when)), name...)})
}

// listened is whether the mark "listening" was told.
var listened sync.Once

// Listening tells that the program accepts on a port; network is "tcp" or "udp".
func Listening(network string, port uint16) {
	listened.Do(func() { Mark("listening") })
	send(control.Frame{Kind: control.Listening, Payload: append([]byte{byte(port), byte(port >> 8)}, network...)})
}

func append64(b []byte, v uint64) []byte {
	return append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
}
