package nft

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/firewall/netlink"
)

// Expr is one instruction of nftables' register machine.
type Expr interface {
	name() string
	encode(*netlink.Encoder)
}

// Reg is a register, counted in units of 4 bytes from the first.
type Reg uint32

// code is how the kernel writes a register down: the four old ones of 16 bytes
// where it can, the new ones elsewhere (nf_tables_api.c, nft_dump_register).
func (r Reg) code() uint32 {
	if r%4 == 0 {
		return unix.NFT_REG_1 + uint32(r)/4
	}
	return unix.NFT_REG32_00 + uint32(r)
}

func regOf(code uint32) Reg {
	if code < unix.NFT_REG32_00 {
		return Reg(code-unix.NFT_REG_1) * 4
	}
	return Reg(code - unix.NFT_REG32_00)
}

// The instructions. Data are bytes as they stand in a register.
type (
	// Meta loads something about the packet, or sets its mark.
	Meta struct {
		Key uint32
		Reg Reg
		Set bool
	}
	// Payload loads bytes of a header.
	Payload struct {
		Base, Offset, Len uint32
		Reg               Reg
	}
	// CT loads something that connection tracking knows.
	CT struct {
		Key uint32
		Reg Reg
	}
	// Bitwise computes Reg = Reg & Mask ^ Xor.
	Bitwise struct {
		Reg       Reg
		Mask, Xor string
	}
	// HostToNet swaps the bytes of a 4-byte register.
	HostToNet struct{ Reg Reg }
	// Cmp ends the rule unless the comparison holds.
	Cmp struct {
		Op   uint32
		Reg  Reg
		Data string
	}
	// Lookup ends the rule unless the set has the key. In a verdict map it
	// decides; in a map it loads To.
	Lookup struct {
		Set         string
		Reg         Reg
		Not         bool
		Map, Decide bool
		To          Reg
	}
	// Decide is a verdict.
	Decide struct{ Verdict Verdict }
	// Load puts a constant into a register.
	Load struct {
		Reg  Reg
		Data string
	}
	// Remember adds the key to a set unless it is there, and runs With on the element.
	Remember struct {
		Set    string
		Reg    Reg
		Update bool // restart the element's timeout; also said where there is none
		With   Expr
	}
	// Limit is a token bucket; it ends the rule when Over is false and the
	// bucket empty, or the other way round.
	Limit struct {
		Rate  uint64
		Burst uint32
		Bytes bool
		Over  bool
	}
	// Counter counts packets and bytes; its values are no part of it.
	Counter struct{}
	// Log sends the packet's beginning to a netlink group.
	Log struct {
		Group   uint16
		Snaplen uint32
		Prefix  string
	}
	// Reject answers in the name of the destination and drops the packet.
	Reject struct {
		Type uint32
		Code uint8
	}
	// Masquerading gives a connection the address of the interface that it leaves by.
	Masquerading struct{}
	// ObjectRef names an object of the table that the packet's connection gets.
	ObjectRef struct {
		Type uint32
		Name string
	}
	// Opaque is an instruction of somebody else's.
	Opaque struct{ Name, Data string }
)

func (Meta) name() string      { return "meta" }
func (Payload) name() string   { return "payload" }
func (CT) name() string        { return "ct" }
func (Bitwise) name() string   { return "bitwise" }
func (HostToNet) name() string { return "byteorder" }
func (Cmp) name() string       { return "cmp" }
func (Lookup) name() string    { return "lookup" }
func (Decide) name() string    { return "immediate" }
func (Load) name() string      { return "immediate" }
func (Remember) name() string  { return "dynset" }
func (Limit) name() string     { return "limit" }
func (Counter) name() string   { return "counter" }
func (Log) name() string       { return "log" }
func (Reject) name() string    { return "reject" }

func (Masquerading) name() string            { return "masq" }
func (Masquerading) encode(*netlink.Encoder) {}
func (ObjectRef) name() string               { return "objref" }

func (o ObjectRef) encode(e *netlink.Encoder) {
	e.U32(unix.NFTA_OBJREF_IMM_TYPE, o.Type)
	e.Text(unix.NFTA_OBJREF_IMM_NAME, o.Name)
}

func (o Opaque) name() string { return o.Name }

func (m Meta) encode(e *netlink.Encoder) {
	e.U32(unix.NFTA_META_KEY, m.Key)
	if m.Set {
		e.U32(unix.NFTA_META_SREG, m.Reg.code())
	} else {
		e.U32(unix.NFTA_META_DREG, m.Reg.code())
	}
}

func (p Payload) encode(e *netlink.Encoder) {
	e.U32(unix.NFTA_PAYLOAD_DREG, p.Reg.code())
	e.U32(unix.NFTA_PAYLOAD_BASE, p.Base)
	e.U32(unix.NFTA_PAYLOAD_OFFSET, p.Offset)
	e.U32(unix.NFTA_PAYLOAD_LEN, p.Len)
}

func (c CT) encode(e *netlink.Encoder) {
	e.U32(unix.NFTA_CT_KEY, c.Key)
	e.U32(unix.NFTA_CT_DREG, c.Reg.code())
}

func (b Bitwise) encode(e *netlink.Encoder) {
	e.U32(unix.NFTA_BITWISE_SREG, b.Reg.code())
	e.U32(unix.NFTA_BITWISE_DREG, b.Reg.code())
	e.U32(unix.NFTA_BITWISE_LEN, uint32(len(b.Mask)))
	data(e, unix.NFTA_BITWISE_MASK, b.Mask)
	data(e, unix.NFTA_BITWISE_XOR, b.Xor)
}

func (h HostToNet) encode(e *netlink.Encoder) {
	e.U32(unix.NFTA_BYTEORDER_SREG, h.Reg.code())
	e.U32(unix.NFTA_BYTEORDER_DREG, h.Reg.code())
	e.U32(unix.NFTA_BYTEORDER_OP, unix.NFT_BYTEORDER_HTON)
	e.U32(unix.NFTA_BYTEORDER_LEN, 4)
	e.U32(unix.NFTA_BYTEORDER_SIZE, 4)
}

func (c Cmp) encode(e *netlink.Encoder) {
	e.U32(unix.NFTA_CMP_SREG, c.Reg.code())
	e.U32(unix.NFTA_CMP_OP, c.Op)
	data(e, unix.NFTA_CMP_DATA, c.Data)
}

func (l Lookup) encode(e *netlink.Encoder) {
	e.Text(unix.NFTA_LOOKUP_SET, l.Set)
	e.U32(unix.NFTA_LOOKUP_SREG, l.Reg.code())
	switch {
	case l.Decide:
		e.U32(unix.NFTA_LOOKUP_DREG, unix.NFT_REG_VERDICT)
	case l.Map:
		e.U32(unix.NFTA_LOOKUP_DREG, l.To.code())
	case l.Not:
		e.U32(unix.NFTA_LOOKUP_FLAGS, unix.NFT_LOOKUP_F_INV)
	}
}

func (d Decide) encode(e *netlink.Encoder) {
	e.U32(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT)
	e.Nest(unix.NFTA_IMMEDIATE_DATA, func() { d.Verdict.encode(e) })
}

func (v Verdict) encode(e *netlink.Encoder) {
	e.Nest(unix.NFTA_DATA_VERDICT, func() {
		e.U32(unix.NFTA_VERDICT_CODE, uint32(v.Code))
		if v.Chain != "" {
			e.Text(unix.NFTA_VERDICT_CHAIN, v.Chain)
		}
	})
}

func (l Load) encode(e *netlink.Encoder) {
	e.U32(unix.NFTA_IMMEDIATE_DREG, l.Reg.code())
	data(e, unix.NFTA_IMMEDIATE_DATA, l.Data)
}

func (r Remember) encode(e *netlink.Encoder) {
	op := uint32(unix.NFT_DYNSET_OP_ADD)
	if r.Update {
		op = unix.NFT_DYNSET_OP_UPDATE
	}
	e.Text(unix.NFTA_DYNSET_SET_NAME, r.Set)
	e.U32(unix.NFTA_DYNSET_SREG_KEY, r.Reg.code())
	e.U32(unix.NFTA_DYNSET_OP, op)
	e.Nest(unix.NFTA_DYNSET_EXPR, func() { expression(e, r.With) })
}

func (l Limit) encode(e *netlink.Encoder) {
	e.U64(unix.NFTA_LIMIT_RATE, l.Rate)
	e.U64(unix.NFTA_LIMIT_UNIT, 1) // seconds
	e.U32(unix.NFTA_LIMIT_BURST, l.Burst)
	e.U32(unix.NFTA_LIMIT_TYPE, bit(l.Bytes, unix.NFT_LIMIT_PKT_BYTES))
	e.U32(unix.NFTA_LIMIT_FLAGS, bit(l.Over, unix.NFT_LIMIT_F_INV))
}

func (Counter) encode(*netlink.Encoder) {}

func (l Log) encode(e *netlink.Encoder) {
	e.Text(unix.NFTA_LOG_PREFIX, l.Prefix)
	e.U16(unix.NFTA_LOG_GROUP, l.Group)
	e.U32(unix.NFTA_LOG_SNAPLEN, l.Snaplen)
}

func (r Reject) encode(e *netlink.Encoder) {
	e.U32(unix.NFTA_REJECT_TYPE, r.Type)
	if r.Type == unix.NFT_REJECT_ICMP_UNREACH {
		e.U8(unix.NFTA_REJECT_ICMP_CODE, r.Code)
	}
}

func (o Opaque) encode(e *netlink.Encoder) { e.Data(0, o.Data) }

func bit(on bool, value uint32) uint32 {
	if on {
		return value
	}
	return 0
}

func data(e *netlink.Encoder, kind uint16, v string) {
	e.Nest(kind, func() { e.Data(unix.NFTA_DATA_VALUE, v) })
}

func expression(e *netlink.Encoder, x Expr) {
	e.Text(unix.NFTA_EXPR_NAME, x.name())
	e.Nest(unix.NFTA_EXPR_DATA, func() { x.encode(e) })
}

// expressions is the list of x as it stands in a rule or an element.
func expressions(x []Expr) string {
	var e netlink.Encoder
	for _, one := range x {
		e.Nest(unix.NFTA_LIST_ELEM, func() { expression(&e, one) })
	}
	return string(e.Bytes())
}

// be16, be32 and native32 are constants as registers hold them.
func be16(v uint16) string     { return string(binary.BigEndian.AppendUint16(nil, v)) }
func be32(v uint32) string     { return string(binary.BigEndian.AppendUint32(nil, v)) }
func native32(v uint32) string { return string(binary.NativeEndian.AppendUint32(nil, v)) }

// Port is the key field for a port.
func Port(p uint16) string { return be16(p) }

// Mark is the key field for a mark.
func Mark(m uint32) string { return native32(m) }

// ReadMark reads a mark from a key.
func ReadMark(v string) uint32 { return binary.NativeEndian.Uint32([]byte(v)) }
