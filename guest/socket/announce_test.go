package socket

import (
	"testing"

	"github.com/dewpaas/dew/guest/inet"
)

func TestPortsAreToldOnce(t *testing.T) {
	n := New(guestConfig())
	n.listening("tcp", inet.Addr{IP: [4]byte{127, 0, 0, 1}, Port: 80})
	if len(n.told.ports) != 0 {
		t.Error("a port of the loopback was told")
	}
	for range 2 {
		n.listening("tcp", inet.Addr{Port: 8080})
		n.listening("udp", inet.Addr{Port: 8080})
	}
	if len(n.told.ports) != 2 {
		t.Errorf("%d ports were told, want 2", len(n.told.ports))
	}
	for port := range uint16(2 * maxAnnounced) {
		n.listening("tcp", inet.Addr{Port: 10000 + port})
	}
	if len(n.told.ports) != maxAnnounced {
		t.Errorf("%d ports were told, want at most %d", len(n.told.ports), maxAnnounced)
	}
}
