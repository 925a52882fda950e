package control

import (
	"sync"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/abi/control"
	"github.com/dewpaas/dew/guest/host"
)

// out guards writing, so that frames are not mixed.
var out struct {
	mu  sync.Mutex
	buf []byte
}

// send writes one frame, or drops it where the channel is full or absent.
func send(f control.Frame) {
	if !host.Active() {
		return
	}
	out.mu.Lock()
	defer out.mu.Unlock()
	out.buf = control.Append(out.buf[:0], f)
	host.Write(abi.FDControl, out.buf)
	if cap(out.buf) > 4096 {
		out.buf = nil
	}
}

// Report sends a line for the platform's log about this guest.
func Report(line string) { send(control.Frame{Kind: control.Report, Payload: []byte(line)}) }

// Listening tells that the program accepts on a port; network is "tcp" or "udp".
func Listening(network string, port uint16) {
	send(control.Frame{Kind: control.Listening, Payload: append([]byte{byte(port), byte(port >> 8)}, network...)})
}
