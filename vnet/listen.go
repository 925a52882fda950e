package vnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// ListenGateway opens a UDP and a TCP socket on a port of the gateway address
// inside the network: where guests find the services of their cell.
func (n *Network) ListenGateway(port uint16) (net.PacketConn, net.Listener, error) {
	// The address comes with the first tap; the sockets are there before it.
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		failed := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1) })
		if failed != nil {
			return failed
		}
		return err
	}}
	addr := netip.AddrPortFrom(Gateway, port).String()
	var packets net.PacketConn
	var streams net.Listener
	err := n.Within(func() (err error) {
		if packets, err = config.ListenPacket(context.Background(), "udp4", addr); err != nil {
			return err
		}
		if streams, err = config.Listen(context.Background(), "tcp4", addr); err != nil {
			packets.Close()
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("listen on the gateway: %w", err)
	}
	return packets, streams, nil
}
