package inet

import (
	"runtime"
	"syscall"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/guest/host"
	"github.com/dewpaas/dew/guest/tcp"
)

// hostLink is the tender's packet descriptor.
type hostLink struct{}

// Send implements Link.
func (hostLink) Send(pieces []syscall.Iovec) syscall.Errno {
	_, err := host.Writev(abi.FDPacket, pieces)
	return err
}

// pump reads frames for ever: all there are, in batches, then it waits for the
// tender's event. One buffer is enough until a connection keeps it.
func (s *Stack) pump() {
	host.EventOpen(abi.PollPacket)
	chunk := s.memory.Frame()
	for {
		host.EventReset(abi.PollPacket)
		var more bool
		chunk, more = s.batch(chunk)
		if !more {
			host.EventWait(abi.PollPacket)
			continue
		}
		runtime.Gosched() // with one P, the readers woken so far run now
	}
}

// batch works on a bounded number of frames, and tells whether there are more.
func (s *Stack) batch(chunk *tcp.Chunk) (_ *tcp.Chunk, more bool) {
	s.receiving.Lock()
	r := &s.receiver
	r.now = s.clock.Now()
	for range maxBatch {
		n, err := host.Read(abi.FDPacket, chunk.Bytes())
		if more = err == 0 && n > 0 || err == syscall.EINTR; !more {
			break
		}
		host.Share() // what the frames before this one have woken
		if n > 0 && !s.input(r, chunk.Bytes()[:n], chunk, false) {
			chunk = s.memory.Frame()
		}
	}
	s.flush(r)
	s.receiving.Unlock()
	s.drain()
	return chunk, more
}
