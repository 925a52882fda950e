package socket

import (
	"sync"
	"sync/atomic"

	"github.com/dewpaas/dew/guest/control"
	"github.com/dewpaas/dew/guest/inet"
)

// announced is what the tender was told already about ports and first bytes.
type announced struct {
	firstByte atomic.Bool

	mu    sync.Mutex
	ports map[announcedPort]bool
}

type announcedPort struct {
	network string
	port    uint16
}

// maxAnnounced bounds the ports that are told; the tender keeps no more.
const maxAnnounced = 64

// listening tells the tender of a port that others can reach, once.
func (n *Net) listening(network string, a inet.Addr) {
	if a.IP[0] == 127 {
		return
	}
	p := announcedPort{network, a.Port}
	n.told.mu.Lock()
	is := n.told.ports[p] || len(n.told.ports) >= maxAnnounced
	if !is {
		if n.told.ports == nil {
			n.told.ports = map[announcedPort]bool{}
		}
		n.told.ports[p] = true
	}
	n.told.mu.Unlock()
	if !is {
		control.Listening(network, p.port)
	}
}

// answered marks the first byte that the program sent to a client from outside.
func (n *Net) answered() {
	if !n.told.firstByte.Load() && n.told.firstByte.CompareAndSwap(false, true) {
		control.Mark("first byte")
	}
}
