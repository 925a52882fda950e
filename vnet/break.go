package vnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Break ends the network's own TCP connections to a guest that has ended: its
// tap is gone, so no reset will ever come, and whoever waits for an answer
// would wait until a time-out. It needs CONFIG_INET_DIAG_DESTROY, which
// distributions set; without it the error wraps errors.ErrUnsupported.
func (n *Network) Break(guest netip.Addr) error {
	sockets, err := n.links.SocketDiagTCP(unix.AF_INET)
	if err != nil {
		return fmt.Errorf("list connections: %w", err)
	}
	for _, s := range sockets {
		remote, ok := netip.AddrFromSlice(s.ID.Destination.To4())
		if !ok || remote != guest {
			continue
		}
		err := n.links.SocketDestroy(&net.TCPAddr{IP: s.ID.Source, Port: int(s.ID.SourcePort)}, &net.TCPAddr{IP: s.ID.Destination, Port: int(s.ID.DestinationPort)})
		switch {
		case errors.Is(err, unix.EOPNOTSUPP):
			return fmt.Errorf("break a connection: %w", errors.ErrUnsupported)
		case err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL): // not that it has just ended by itself
			return fmt.Errorf("break a connection: %w", err)
		}
	}
	return nil
}
