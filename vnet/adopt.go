package vnet

import (
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// File returns a descriptor of the network, which keeps it alive: to be passed
// to another process, which adopts it.
func (n *Network) File() (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(n.space), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("copy the network's descriptor: %w", err)
	}
	return os.NewFile(uintptr(fd), "network"), nil
}

// Adopt returns the network that a descriptor is of, with all that is in it.
// The descriptor remains the caller's.
func Adopt(f *os.File) (*Network, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("adopt a network: %w", err)
	}
	space := netns.NsHandle(fd)
	links, err := netlink.NewHandleAt(space, unix.NETLINK_ROUTE, unix.NETLINK_INET_DIAG)
	if err != nil {
		space.Close()
		return nil, fmt.Errorf("adopt a network: %w", err)
	}
	return &Network{space: space, links: links}, nil
}
