package inet

import (
	"runtime"
	"syscall"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/guest/host"
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
	r := &s.receiver
	for {
		host.EventReset(abi.PollPacket)
		more := true
		for more {
			s.receiving.Lock()
			r.now = s.clock.Now()
			for range maxBatch {
				n, err := host.Read(abi.FDPacket, chunk.Bytes())
				if err == syscall.EINTR {
					continue
				}
				if more = err == 0 && n > 0; !more {
					break
				}
				if !s.input(r, chunk.Bytes()[:n], chunk, false) {
					chunk = s.memory.Frame()
				}
			}
			s.flush(r)
			s.receiving.Unlock()
			s.drain()
			if more {
				runtime.Gosched() // with one P, the readers woken so far run now
			}
		}
		host.EventWait(abi.PollPacket)
	}
}
