package conntrack

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/firewall/netlink"
)

// Messages and attributes of linux/netfilter/nfnetlink_conntrack.h.
const (
	msgGet        = 1
	msgDelete     = 2
	ctaTupleOrig  = 1
	ctaID         = 12
	ctaTupleIP    = 1
	ctaTupleProto = 2
	ctaIPv4Src    = 1
	ctaIPv4Dst    = 2
	ctaProtoNum   = 1
	ctaSrcPort    = 2
	ctaDstPort    = 3
	ctaICMPType   = 5
	ctaICMPCode   = 6
)

// Flow is a tracked connection as its first packet began it. Ports are those of
// TCP and UDP, and 0 otherwise; Kind is ICMP type and code as one number.
type Flow struct {
	Protocol         uint8
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
	Kind             uint16

	tuple, id string // as the kernel wants them back
}

// Conn talks to the connection tracking of one namespace.
type Conn struct{ link *netlink.Conn }

// Open opens a connection to the namespace that in enters.
func Open(in func(func() error) error) (*Conn, error) {
	l, err := netlink.Dial(in)
	if err != nil {
		return nil, err
	}
	return &Conn{l}, nil
}

// Close closes the connection.
func (c *Conn) Close() error { return c.link.Close() }

// Each calls f for every tracked IPv4 connection. f must not use the Conn.
func (c *Conn) Each(f func(Flow)) error {
	m := netlink.Message{Kind: netlink.KindOf(netlink.NFNL_SUBSYS_CTNETLINK, msgGet), Flags: unix.NLM_F_DUMP, Family: unix.AF_INET}
	err := c.link.Do(m, func(r netlink.Reply) error {
		flow, ok, err := decode(r.Body)
		if ok && err == nil {
			f(flow)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("list connections: %w", err)
	}
	return nil
}

// Delete forgets a connection. One that is gone already is no error.
func (c *Conn) Delete(f Flow) error {
	var e netlink.Encoder
	e.Nest(ctaTupleOrig, func() { e.Raw(f.tuple) })
	if f.id != "" {
		e.Data(ctaID, f.id)
	}
	m := netlink.Message{Kind: netlink.KindOf(netlink.NFNL_SUBSYS_CTNETLINK, msgDelete), Family: unix.AF_INET, Body: e.Bytes()}
	if err := c.link.Do(m, nil); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete a connection from %v to %v: %w", f.Src, f.Dst, err)
	}
	return nil
}

// decode reads one connection; ok is false where it is not IPv4.
func decode(b []byte) (f Flow, ok bool, err error) {
	err = netlink.Attributes(b, func(kind uint16, v []byte) error {
		switch kind {
		case ctaTupleOrig:
			if len(v)%4 != 0 { // attributes end on such a border (linux/netlink.h, NLA_ALIGNTO)
				return fmt.Errorf("tuple of %d bytes: %w", len(v), netlink.ErrMalformed)
			}
			f.tuple = string(v)
			return f.readTuple(v)
		case ctaID:
			f.id = string(v)
		}
		return nil
	})
	return f, f.Src.Is4() && f.Dst.Is4(), err
}

func (f *Flow) readTuple(b []byte) error {
	return netlink.Attributes(b, func(kind uint16, v []byte) error {
		switch kind {
		case ctaTupleIP:
			return netlink.Attributes(v, func(kind uint16, v []byte) error {
				a, _ := netip.AddrFromSlice(v)
				switch kind {
				case ctaIPv4Src:
					f.Src = a
				case ctaIPv4Dst:
					f.Dst = a
				}
				return nil
			})
		case ctaTupleProto:
			return netlink.Attributes(v, f.readProto)
		}
		return nil
	})
}

func (f *Flow) readProto(kind uint16, v []byte) error {
	switch kind {
	case ctaProtoNum:
		f.Protocol = netlink.U8(v)
	case ctaSrcPort:
		f.SrcPort = netlink.U16(v)
	case ctaDstPort:
		f.DstPort = netlink.U16(v)
	case ctaICMPType:
		f.Kind |= uint16(netlink.U8(v)) << 8
	case ctaICMPCode:
		f.Kind |= uint16(netlink.U8(v))
	}
	return nil
}
