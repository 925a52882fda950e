package vnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// How long a client of a datagram forward is remembered after it was last heard
// of, and how many are: as connection tracking does for UDP (Linux
// Documentation/networking/nf_conntrack-sysctl.rst, nf_conntrack_udp_timeout).
const (
	datagramIdle = 30 * time.Second
	datagramPeer = 1024
)

// DatagramForward passes UDP datagrams from a port of the host to a guest, and
// its answers back to who asked.
type DatagramForward struct {
	host net.PacketConn
	net  *Network
	to   netip.AddrPort
	done sync.WaitGroup

	mu    sync.Mutex
	peers map[netip.AddrPort]*net.UDPConn // sockets in the guests' network, by client; nil when closed
}

// ForwardDatagrams listens on the host's address.
func (n *Network) ForwardDatagrams(listen string, to netip.AddrPort) (*DatagramForward, error) {
	host, err := net.ListenPacket("udp", listen)
	if err != nil {
		return nil, fmt.Errorf("forward datagrams to %v: %w", to, err)
	}
	f := &DatagramForward{host: host, net: n, to: to, peers: map[netip.AddrPort]*net.UDPConn{}}
	f.done.Go(f.in)
	return f, nil
}

// Addr is where the forward listens.
func (f *DatagramForward) Addr() net.Addr { return f.host.LocalAddr() }

// Close stops listening and forgets all clients.
func (f *DatagramForward) Close() error {
	err := f.host.Close()
	f.mu.Lock()
	for _, c := range f.peers {
		c.Close()
	}
	f.peers = nil
	f.mu.Unlock()
	f.done.Wait()
	return err
}

// in passes what clients send. What cannot be sent is lost, as datagrams are.
func (f *DatagramForward) in() {
	b := make([]byte, 64<<10)
	for {
		n, from, err := f.host.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error about an answer that nobody wanted
		}
		client := from.(*net.UDPAddr).AddrPort()
		if guest := f.peer(client); guest != nil {
			guest.SetReadDeadline(time.Now().Add(datagramIdle))
			guest.Write(b[:n])
		}
	}
}

// peer returns the client's socket, nil where there are too many clients.
func (f *DatagramForward) peer(client netip.AddrPort) *net.UDPConn {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.peers[client]; c != nil || f.peers == nil || len(f.peers) >= datagramPeer {
		return c
	}
	var conn net.Conn
	err := f.net.Within(func() (err error) {
		conn, err = new(net.Dialer).DialContext(context.Background(), "udp4", f.to.String())
		return err
	})
	if err != nil {
		return nil
	}
	c := conn.(*net.UDPConn)
	f.peers[client] = c
	f.done.Go(func() { f.out(client, c) })
	return c
}

// out passes answers until none has been asked for in a while.
func (f *DatagramForward) out(client netip.AddrPort, guest *net.UDPConn) {
	defer f.forget(client, guest)
	to := net.UDPAddrFromAddrPort(client)
	b := make([]byte, 64<<10)
	for {
		n, err := guest.Read(b)
		var timeout net.Error
		switch {
		case err == nil:
			f.host.WriteTo(b[:n], to)
		case errors.Is(err, net.ErrClosed), errors.As(err, &timeout) && timeout.Timeout():
			return
		} // else the guest refuses the port: it may listen later
	}
}

func (f *DatagramForward) forget(client netip.AddrPort, guest *net.UDPConn) {
	f.mu.Lock()
	delete(f.peers, client)
	f.mu.Unlock()
	guest.Close()
}
