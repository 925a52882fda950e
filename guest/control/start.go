package control

import (
	"syscall"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/abi/control"
	"github.com/dewpaas/dew/guest/host"
)

// Start begins to read the control channel and tells the first marks of the
// boot timeline.
func Start() {
	markAt("runtime", host.RuntimeStart())
	host.SetMainHook(func() { Mark("main") })
	host.EventOpen(abi.PollControl)
	host.GoSystem(serve)
}

// serve reads questions until the tender closes the channel.
func serve() {
	var in []byte
	buf := make([]byte, 512)
	for {
		host.EventReset(abi.PollControl)
		for {
			n, err := host.Read(abi.FDControl, buf)
			if err == syscall.EINTR {
				continue
			}
			if err == syscall.EAGAIN {
				break
			}
			if err != 0 || n == 0 {
				return
			}
			var ok bool
			if in, ok = take(append(in, buf[:n]...), answer); !ok {
				return
			}
		}
		host.EventWait(abi.PollControl)
	}
}

// take hands on the whole frames at the front of b and returns the rest. ok is
// false for bytes that no tender of this contract sends.
func take(b []byte, to func(control.Frame)) (rest []byte, ok bool) {
	for {
		f, n, err := control.Parse(b)
		if err != nil {
			return nil, false
		}
		if n == 0 {
			return append([]byte(nil), b...), true
		}
		to(f)
		b = b[n:]
	}
}
