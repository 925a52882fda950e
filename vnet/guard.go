package vnet

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"

	"github.com/dewpaas/dew/vnet/offload"
)

// GuardOffloads makes every tap that is added from now on refuse frames whose
// virtio header would let a guest change a packet after it was checked, or
// multiply it: see package offload. A cell calls it before its first tap; where
// a network has one guest and no way out, there is nobody to be guarded. It
// fails on kernels that cannot do it.
func (n *Network) GuardOffloads() error {
	if n.guard != nil {
		return nil
	}
	g, err := offload.Load()
	if err != nil {
		return err
	}
	n.guard = g
	return nil
}

func (n *Network) attachGuard(link netlink.Link) error {
	if n.guard == nil {
		return nil
	}
	// The number may have been that of a tap which is gone.
	if err := n.guard.Forget(link.Attrs().Index); err != nil {
		return err
	}
	return n.guard.Attach(n.links, link)
}

// OffloadDrops counts, by tap and reason, the frames that GuardOffloads refused.
func (n *Network) OffloadDrops() (map[string]map[offload.Reason]uint64, error) {
	all := map[string]map[offload.Reason]uint64{}
	if n.guard == nil {
		return all, nil
	}
	drops, err := n.guard.Drops()
	if err != nil {
		return nil, err
	}
	for index, counts := range drops {
		link, err := n.links.LinkByIndex(index)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			continue // the tap is gone
		}
		if err != nil {
			return nil, fmt.Errorf("name interface %d: %w", index, err)
		}
		all[link.Attrs().Name] = counts
	}
	return all, nil
}
