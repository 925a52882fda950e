package vnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DialTCP connects to a guest from inside the network. A thread is inside only
// while the socket is made, which stays there. A guest that does not answer would
// otherwise hold a thread for every connection that somebody wants to it, and a
// Go program has 10,000 of them before it is ended (runtime/debug.SetMaxThreads).
func (n *Network) DialTCP(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	conn, err := n.dialTCP(ctx, to)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp4", Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	return conn, nil
}

func (n *Network) dialTCP(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	if !to.Addr().Unmap().Is4() {
		return nil, &net.AddrError{Err: "guests have IPv4 addresses", Addr: to.String()}
	}
	var fd int
	err := n.Within(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "tcp")
	defer f.Close() // the connection has a copy
	if err := connect(ctx, f, to); err != nil {
		return nil, err
	}
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("a connection of type %T", c)
	}
	return tcp, nil
}

// connect connects a non-blocking socket as connect(2) says for EINPROGRESS.
func connect(ctx context.Context, f *os.File, to netip.AddrPort) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.Connect(int(fd), &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	}); err != nil {
		return err
	}
	switch failed {
	case unix.EINPROGRESS, unix.EINTR:
	default:
		return os.NewSyscallError("connect", failed)
	}
	stop := context.AfterFunc(ctx, func() { f.SetWriteDeadline(time.Unix(1, 0)) })
	err = raw.Write(func(fd uintptr) (done bool) {
		done, failed = connected(int(fd))
		return done
	})
	switch {
	case !stop():
		return ctx.Err()
	case err != nil:
		return err
	}
	return os.NewSyscallError("connect", failed)
}

// connected tells whether connecting is over, and how it ended.
func connected(fd int) (bool, error) {
	number, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && number != 0 {
		err = syscall.Errno(number)
	}
	if err != nil {
		return true, err
	}
	_, err = unix.Getpeername(fd)
	return err == nil, nil
}
