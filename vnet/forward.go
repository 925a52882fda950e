package vnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// dialTimeout bounds how long a client waits for a guest that does not answer.
const dialTimeout = 5 * time.Second

// Forward passes connections from a port of the host to a guest.
type Forward struct {
	listener net.Listener
	stop     context.CancelFunc
	done     sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]bool // nil when closed
}

// Forward listens on the host's address and passes each connection to the
// guest's, half-closes included.
func (n *Network) Forward(listen string, to netip.AddrPort) (*Forward, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("forward to %v: %w", to, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	f := &Forward{listener: l, stop: stop, open: map[net.Conn]bool{}}
	f.done.Go(func() { f.accept(ctx, n, to) })
	return f, nil
}

// Addr is where the forward listens.
func (f *Forward) Addr() net.Addr { return f.listener.Addr() }

// Close stops listening and breaks all connections.
func (f *Forward) Close() error {
	f.stop()
	err := f.listener.Close()
	f.mu.Lock()
	for c := range f.open {
		c.Close()
	}
	f.open = nil
	f.mu.Unlock()
	f.done.Wait()
	return err
}

func (f *Forward) accept(ctx context.Context, n *Network, to netip.AddrPort) {
	for {
		client, err := f.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors: wait for some to close
			select {
			case <-time.After(10 * time.Millisecond):
				continue
			case <-ctx.Done():
				return
			}
		}
		f.done.Go(func() { f.pass(ctx, n, client.(*net.TCPConn), to) })
	}
}

func (f *Forward) pass(ctx context.Context, n *Network, client *net.TCPConn, to netip.AddrPort) {
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	guest, err := n.DialTCP(ctx, to)
	cancel()
	if err != nil {
		client.SetLinger(0) // the client sees a reset, as from a port nobody listens on
		return
	}
	defer guest.Close()
	if !f.keep(client) || !f.keep(guest) {
		return
	}
	defer f.forget(client, guest)
	var both sync.WaitGroup
	both.Go(func() { oneWay(guest, client) })
	both.Go(func() { oneWay(client, guest) })
	both.Wait()
}

// oneWay copies by splice and passes the end of the stream on. A broken
// direction breaks both: the other would wait for ever.
func oneWay(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		from.Close()
		return
	}
	to.CloseWrite()
}

func (f *Forward) keep(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		return false
	}
	f.open[c] = true
	return true
}

func (f *Forward) forget(conns ...net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range conns {
		delete(f.open, c)
	}
}
