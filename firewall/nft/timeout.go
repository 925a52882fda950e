package nft

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/firewall/netlink"
)

// Timeout is how long the kernel remembers connections of a protocol to which a
// rule gives it, in the place of what is set for all. Tables keep it by its name
// (nft(8), ct timeout).
type Timeout struct {
	Name     string
	Protocol uint8    // TCP or UDP
	Seconds  []uint32 // by state, in the order of nfnetlink_cttimeout.h
}

// Protocols that have timeouts with a text in nft.
const protoTCP, protoUDP = 6, 17

// timeoutStates are the names of the states.
func timeoutStates(protocol uint8) (protocolName string, states []string) {
	if protocol == protoTCP {
		return "tcp", []string{"syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close", "syn_sent2", "retrans", "unack"}
	}
	return "udp", []string{"unreplied", "replied"}
}

func (o *Timeout) text() string {
	protocol, states := timeoutStates(o.Protocol)
	list := make([]string, len(o.Seconds))
	for i, s := range o.Seconds {
		list[i] = fmt.Sprintf("%s : %d", states[i], s)
	}
	return fmt.Sprintf("protocol %s; l3proto ip; policy = { %s };", protocol, strings.Join(list, ", "))
}

func (o *Timeout) same(p *Timeout) bool {
	return o.Name == p.Name && o.Protocol == p.Protocol && slices.Equal(o.Seconds, p.Seconds)
}

// Remembered gives a connection that begins a Timeout.
func Remembered(t *Timeout) Statement {
	return Statement{fmt.Sprintf("ct timeout set %q", t.Name), []Expr{ObjectRef{unix.NFT_OBJECT_CT_TIMEOUT, t.Name}}}
}

func (b *batch) newTimeout(t *Table, o *Timeout) {
	b.add(unix.NFT_MSG_NEWOBJ, unix.NLM_F_CREATE|unix.NLM_F_EXCL, t.Family, func(e *netlink.Encoder) {
		o.named(e, t)
		e.Nest(unix.NFTA_OBJ_DATA, func() {
			e.U16(NFTA_CT_TIMEOUT_L3PROTO, NFPROTO_IPV4)
			e.U8(NFTA_CT_TIMEOUT_L4PROTO, o.Protocol)
			e.Nest(NFTA_CT_TIMEOUT_DATA, func() {
				for i, s := range o.Seconds {
					e.U32(uint16(i+1), s)
				}
			})
		})
	})
}

func (b *batch) delTimeout(t *Table, o *Timeout) {
	b.add(unix.NFT_MSG_DELOBJ, 0, t.Family, func(e *netlink.Encoder) { o.named(e, t) })
}

func (o *Timeout) named(e *netlink.Encoder, t *Table) {
	e.Text(unix.NFTA_OBJ_TABLE, t.Name)
	e.Text(unix.NFTA_OBJ_NAME, o.Name)
	e.U32(unix.NFTA_OBJ_TYPE, unix.NFT_OBJECT_CT_TIMEOUT)
}

// decodeTimeout reads an object; o is nil where it is of another type.
func decodeTimeout(b []byte) (table string, o *Timeout, err error) {
	a, err := read(b)
	if err != nil || a.u32(unix.NFTA_OBJ_TYPE) != unix.NFT_OBJECT_CT_TIMEOUT {
		return "", nil, err
	}
	data, err := read(a[unix.NFTA_OBJ_DATA])
	if err != nil {
		return "", nil, err
	}
	list, err := read(data[NFTA_CT_TIMEOUT_DATA])
	if err != nil {
		return "", nil, err
	}
	o = &Timeout{Name: a.text(unix.NFTA_OBJ_NAME), Protocol: netlink.U8(data[NFTA_CT_TIMEOUT_L4PROTO])}
	for kind := 1; kind < len(list) && list[kind] != nil; kind++ {
		o.Seconds = append(o.Seconds, netlink.U32(list[kind]))
	}
	return a.text(unix.NFTA_OBJ_TABLE), o, nil
}

func (c *Conn) readTimeouts(t *Table) error {
	return c.dump(unix.NFT_MSG_GETOBJ, t.Family, nil, func(r netlink.Reply) error {
		table, o, err := decodeTimeout(r.Body)
		if err == nil && o != nil && table == t.Name {
			t.Timeouts = append(t.Timeouts, o)
		}
		return err
	})
}
