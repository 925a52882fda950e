package nflog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/firewall/netlink"
)

// Messages and attributes of linux/netfilter/nfnetlink_log.h.
const (
	msgPacket     = 0
	msgConfig     = 1
	cfgCommand    = 1
	cfgMode       = 2
	cfgThreshold  = 5
	commandBind   = 1
	copyPacket    = 2
	attrTimestamp = 3
	attrInDevice  = 4
	attrOutDevice = 5
	attrPayload   = 9
	attrPrefix    = 10
)

// Packet is what the kernel says of one logged packet.
type Packet struct {
	Time    time.Time // zero where the kernel did not stamp it
	Prefix  string
	In, Out uint32 // interface indexes; 0: none
	Payload []byte // from the IP header on
}

// Listener hears one group.
type Listener struct{ link *netlink.Conn }

// Listen makes the namespace that in enters send group's packets here, at most
// snaplen bytes of each.
func Listen(in func(func() error) error, group uint16, snaplen uint32) (*Listener, error) {
	l, err := netlink.Dial(in)
	if err != nil {
		return nil, err
	}
	if err := bind(l, group, snaplen); err != nil {
		l.Close()
		if errors.Is(err, unix.EBUSY) {
			err = fmt.Errorf("%w: somebody else listens", err)
		}
		return nil, fmt.Errorf("listen to log group %d: %w", group, err)
	}
	return &Listener{l}, nil
}

func bind(l *netlink.Conn, group uint16, snaplen uint32) error {
	var command, mode netlink.Encoder
	command.Data(cfgCommand, string([]byte{commandBind}))
	mode.Data(cfgMode, string(append(binary.BigEndian.AppendUint32(nil, snaplen), copyPacket, 0)))
	mode.U32(cfgThreshold, 1) // at once: the rules bound how many there are
	for _, body := range [][]byte{command.Bytes(), mode.Bytes()} {
		m := netlink.Message{Kind: netlink.KindOf(netlink.NFNL_SUBSYS_ULOG, msgConfig), Family: unix.AF_UNSPEC, Resource: group, Body: body}
		if err := l.Do(m, nil); err != nil {
			return err
		}
	}
	return nil
}

// Close stops listening, and ends a Receive that waits.
func (l *Listener) Close() error { return l.link.Close() }

// Receive waits for packets and calls f for each. The payload is valid during
// the call. It fails with os.ErrClosed once the Listener is closed; packets that
// a slow reader lost are no error.
func (l *Listener) Receive(f func(Packet)) error {
	err := l.link.Receive(func(r netlink.Reply) error {
		if r.Kind != netlink.KindOf(netlink.NFNL_SUBSYS_ULOG, msgPacket) {
			return nil
		}
		p, err := decode(r.Body)
		if err == nil {
			f(p)
		}
		return err
	})
	if errors.Is(err, unix.ENOBUFS) {
		return nil
	}
	return err
}

func decode(b []byte) (p Packet, err error) {
	err = netlink.Attributes(b, func(kind uint16, v []byte) error {
		switch kind {
		case attrTimestamp:
			if len(v) == 16 {
				p.Time = time.Unix(int64(binary.BigEndian.Uint64(v)), int64(binary.BigEndian.Uint64(v[8:]))*1000)
			}
		case attrInDevice:
			p.In = netlink.U32(v)
		case attrOutDevice:
			p.Out = netlink.U32(v)
		case attrPayload:
			p.Payload = v
		case attrPrefix:
			p.Prefix = netlink.Text(v)
		}
		return nil
	})
	return p, err
}
