package nft

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/firewall/netlink"
)

// attrs collects the attributes of one level by their kind. Kinds beyond what
// we know are dropped.
type attrs [32][]byte

func read(b []byte) (a attrs, err error) {
	err = netlink.Attributes(b, func(kind uint16, v []byte) error {
		if int(kind) < len(a) {
			a[kind] = v
		}
		return nil
	})
	return a, err
}

func (a *attrs) u32(kind int) uint32  { return netlink.U32(a[kind]) }
func (a *attrs) text(kind int) string { return netlink.Text(a[kind]) }

// value reads a nest that holds a constant.
func (a *attrs) value(kind int) (string, error) {
	v, err := read(a[kind])
	return string(v[unix.NFTA_DATA_VALUE]), err
}

func (a *attrs) verdict(kind int) (Verdict, bool, error) {
	outer, err := read(a[kind])
	if err != nil || outer[unix.NFTA_DATA_VERDICT] == nil {
		return Verdict{}, false, err
	}
	v, err := read(outer[unix.NFTA_DATA_VERDICT])
	return Verdict{int32(v.u32(unix.NFTA_VERDICT_CODE)), v.text(unix.NFTA_VERDICT_CHAIN)}, true, err
}

// decodeExpressions reads the list in a rule or an element.
func decodeExpressions(b []byte) ([]Expr, error) {
	var list []Expr
	err := netlink.Attributes(b, func(_ uint16, v []byte) error {
		x, err := decodeExpression(v)
		list = append(list, x)
		return err
	})
	return list, err
}

func decodeExpression(b []byte) (Expr, error) {
	outer, err := read(b)
	if err != nil {
		return nil, err
	}
	name := outer.text(unix.NFTA_EXPR_NAME)
	a, err := read(outer[unix.NFTA_EXPR_DATA])
	if err != nil {
		return nil, fmt.Errorf("expression %q: %w", name, err)
	}
	x, err := decodeKnown(name, &a)
	if err != nil {
		return nil, fmt.Errorf("expression %q: %w", name, err)
	}
	if x == nil || !inBounds(x) {
		x = Opaque{name, string(outer[unix.NFTA_EXPR_DATA])}
	}
	return x, nil
}

// inBounds tells whether an instruction stays within the registers, which the
// interpreter relies on.
func inBounds(x Expr) bool {
	fits := func(r Reg, n int) bool { return n >= 0 && n <= registers && uint64(r)*4+uint64(padded(n)) <= registers }
	switch x := x.(type) {
	case Meta:
		if x.Key == unix.NFT_META_IIFNAME || x.Key == unix.NFT_META_OIFNAME {
			return fits(x.Reg, 16)
		}
		return fits(x.Reg, 4)
	case Payload:
		return x.Len <= registers && fits(x.Reg, int(x.Len))
	case CT:
		return fits(x.Reg, 4)
	case Bitwise:
		return fits(x.Reg, len(x.Mask))
	case HostToNet:
		return fits(x.Reg, 4)
	case Cmp:
		return fits(x.Reg, len(x.Data))
	case Load:
		return fits(x.Reg, len(x.Data))
	case Lookup:
		return fits(x.Reg, 0) && fits(x.To, 4)
	case Remember:
		return fits(x.Reg, 0)
	}
	return true
}

func decodeKnown(name string, a *attrs) (Expr, error) {
	switch name {
	case "meta":
		if a[unix.NFTA_META_SREG] != nil {
			return Meta{a.u32(unix.NFTA_META_KEY), regOf(a.u32(unix.NFTA_META_SREG)), true}, nil
		}
		return Meta{a.u32(unix.NFTA_META_KEY), regOf(a.u32(unix.NFTA_META_DREG)), false}, nil
	case "payload":
		if a[unix.NFTA_PAYLOAD_SREG] != nil {
			return nil, nil // writes to the packet: nothing of ours does
		}
		return Payload{a.u32(unix.NFTA_PAYLOAD_BASE), a.u32(unix.NFTA_PAYLOAD_OFFSET), a.u32(unix.NFTA_PAYLOAD_LEN), regOf(a.u32(unix.NFTA_PAYLOAD_DREG))}, nil
	case "ct":
		if a[unix.NFTA_CT_SREG] != nil || a[unix.NFTA_CT_DIRECTION] != nil {
			return nil, nil
		}
		return CT{a.u32(unix.NFTA_CT_KEY), regOf(a.u32(unix.NFTA_CT_DREG))}, nil
	case "bitwise":
		return decodeBitwise(a)
	case "byteorder":
		if a.u32(unix.NFTA_BYTEORDER_SREG) != a.u32(unix.NFTA_BYTEORDER_DREG) || a.u32(unix.NFTA_BYTEORDER_SIZE) != 4 {
			return nil, nil
		}
		return HostToNet{regOf(a.u32(unix.NFTA_BYTEORDER_DREG))}, nil
	case "cmp":
		v, err := a.value(unix.NFTA_CMP_DATA)
		return Cmp{a.u32(unix.NFTA_CMP_OP), regOf(a.u32(unix.NFTA_CMP_SREG)), v}, err
	case "lookup":
		return decodeLookup(a), nil
	case "immediate":
		return decodeImmediate(a)
	case "dynset":
		return decodeRemember(a)
	case "limit":
		return decodeLimit(a), nil
	case "counter":
		return Counter{}, nil
	case "log":
		return Log{netlink.U16(a[unix.NFTA_LOG_GROUP]), a.u32(unix.NFTA_LOG_SNAPLEN), a.text(unix.NFTA_LOG_PREFIX)}, nil
	case "objref":
		if a[unix.NFTA_OBJREF_IMM_NAME] == nil {
			return nil, nil
		}
		return ObjectRef{a.u32(unix.NFTA_OBJREF_IMM_TYPE), a.text(unix.NFTA_OBJREF_IMM_NAME)}, nil
	case "masq":
		if a[unix.NFTA_MASQ_FLAGS] != nil || a[unix.NFTA_MASQ_REG_PROTO_MIN] != nil {
			return nil, nil
		}
		return Masquerading{}, nil
	case "reject":
		return Reject{a.u32(unix.NFTA_REJECT_TYPE), netlink.U8(a[unix.NFTA_REJECT_ICMP_CODE])}, nil
	}
	return nil, nil
}

func decodeBitwise(a *attrs) (Expr, error) {
	mask, err := a.value(unix.NFTA_BITWISE_MASK)
	if err != nil {
		return nil, err
	}
	xor, err := a.value(unix.NFTA_BITWISE_XOR)
	if a.u32(unix.NFTA_BITWISE_SREG) != a.u32(unix.NFTA_BITWISE_DREG) || a.u32(NFTA_BITWISE_OP) != 0 || len(mask) != len(xor) {
		return nil, err
	}
	return Bitwise{regOf(a.u32(unix.NFTA_BITWISE_DREG)), mask, xor}, err
}

func decodeLookup(a *attrs) Expr {
	l := Lookup{Set: a.text(unix.NFTA_LOOKUP_SET), Reg: regOf(a.u32(unix.NFTA_LOOKUP_SREG)), Not: a.u32(unix.NFTA_LOOKUP_FLAGS)&unix.NFT_LOOKUP_F_INV != 0}
	if a[unix.NFTA_LOOKUP_DREG] == nil {
		return l
	}
	l.Map = true
	if to := a.u32(unix.NFTA_LOOKUP_DREG); to == unix.NFT_REG_VERDICT {
		l.Map, l.Decide = false, true
	} else {
		l.To = regOf(to)
	}
	return l
}

func decodeImmediate(a *attrs) (Expr, error) {
	v, is, err := a.verdict(unix.NFTA_IMMEDIATE_DATA)
	if err != nil {
		return nil, err
	}
	if is {
		return Decide{v}, nil
	}
	d, err := a.value(unix.NFTA_IMMEDIATE_DATA)
	return Load{regOf(a.u32(unix.NFTA_IMMEDIATE_DREG)), d}, err
}

func decodeRemember(a *attrs) (Expr, error) {
	if a[unix.NFTA_DYNSET_EXPR] == nil || a[unix.NFTA_DYNSET_SREG_DATA] != nil || netlink.U64(a[unix.NFTA_DYNSET_TIMEOUT]) != 0 {
		return nil, nil
	}
	x, err := decodeExpression(a[unix.NFTA_DYNSET_EXPR])
	return Remember{a.text(unix.NFTA_DYNSET_SET_NAME), regOf(a.u32(unix.NFTA_DYNSET_SREG_KEY)), a.u32(unix.NFTA_DYNSET_OP) == unix.NFT_DYNSET_OP_UPDATE, x}, err
}

func decodeLimit(a *attrs) Expr {
	if netlink.U64(a[unix.NFTA_LIMIT_UNIT]) != 1 {
		return nil
	}
	return Limit{netlink.U64(a[unix.NFTA_LIMIT_RATE]), a.u32(unix.NFTA_LIMIT_BURST), a.u32(unix.NFTA_LIMIT_TYPE) == unix.NFT_LIMIT_PKT_BYTES,
		a.u32(unix.NFTA_LIMIT_FLAGS)&unix.NFT_LIMIT_F_INV != 0}
}

func decodeTable(family uint8, b []byte) (*Table, error) {
	a, err := read(b)
	return &Table{Family: family, Name: a.text(unix.NFTA_TABLE_NAME), Flags: a.u32(unix.NFTA_TABLE_FLAGS), Others: int(a.u32(unix.NFTA_TABLE_USE))}, err
}

func decodeChain(family uint8, b []byte) (table string, c *Chain, err error) {
	a, err := read(b)
	if err != nil {
		return "", nil, err
	}
	c = &Chain{Name: a.text(unix.NFTA_CHAIN_NAME)}
	if a[unix.NFTA_CHAIN_HOOK] != nil {
		if c.Base, err = decodeBase(family, &a); err != nil {
			return "", nil, fmt.Errorf("chain %q: %w", c.Name, err)
		}
	}
	return a.text(unix.NFTA_CHAIN_TABLE), c, nil
}

func decodeBase(family uint8, a *attrs) (*Base, error) {
	hook, err := read(a[unix.NFTA_CHAIN_HOOK])
	if err != nil {
		return nil, err
	}
	base := &Base{Hook: hook.u32(unix.NFTA_HOOK_HOOKNUM), Priority: int32(hook.u32(unix.NFTA_HOOK_PRIORITY)),
		Drop: a.u32(unix.NFTA_CHAIN_POLICY) == NF_DROP, NAT: a.text(unix.NFTA_CHAIN_TYPE) == "nat", Device: hook.text(unix.NFTA_HOOK_DEV)}
	if family != NFPROTO_NETDEV || hook[NFTA_HOOK_DEVS] == nil {
		return base, nil
	}
	base.Device = ""
	err = netlink.Attributes(hook[NFTA_HOOK_DEVS], func(kind uint16, v []byte) error {
		name := netlink.Text(v)
		if kind == NFTA_DEVICE_PREFIX {
			name += "*"
		}
		if base.Device != "" {
			name = base.Device + "," + name // more than we ever ask for: differs
		}
		base.Device = name
		return nil
	})
	return base, err
}

func decodeRule(b []byte) (table, chain string, r Rule, err error) {
	a, err := read(b)
	if err != nil {
		return "", "", r, err
	}
	r.Exprs, err = decodeExpressions(a[unix.NFTA_RULE_EXPRESSIONS])
	return a.text(unix.NFTA_RULE_TABLE), a.text(unix.NFTA_RULE_CHAIN), r, err
}

func decodeSet(b []byte) (table string, s *Set, err error) {
	a, err := read(b)
	if err != nil {
		return "", nil, err
	}
	s = &Set{Name: a.text(unix.NFTA_SET_NAME), keyType: a.u32(unix.NFTA_SET_KEY_TYPE), keyLen: a.u32(unix.NFTA_SET_KEY_LEN),
		Flags: a.u32(unix.NFTA_SET_FLAGS), DataType: a.u32(unix.NFTA_SET_DATA_TYPE), DataLen: a.u32(unix.NFTA_SET_DATA_LEN)}
	if s.DataType == unix.NFT_DATA_VERDICT {
		s.DataLen = 0 // the size of a verdict in the kernel is its own affair
	}
	s.Flags &^= unix.NFT_SET_MAP | unix.NFT_SET_TIMEOUT
	s.Timeout = uint32(netlink.U64(a[unix.NFTA_SET_TIMEOUT]) / 1000)
	desc, err := read(a[unix.NFTA_SET_DESC])
	s.Size = desc.u32(unix.NFTA_SET_DESC_SIZE)
	return a.text(unix.NFTA_SET_TABLE), s, err
}

// rawElement is an element as the kernel lists it: intervals of one field come
// as two of them.
type rawElement struct {
	Element
	end bool
}

func decodeElements(b []byte, f func(rawElement)) error {
	a, err := read(b)
	if err != nil {
		return err
	}
	return netlink.Attributes(a[unix.NFTA_SET_ELEM_LIST_ELEMENTS], func(_ uint16, v []byte) error {
		x, err := decodeElement(v)
		if err == nil {
			f(x)
		}
		return err
	})
}

func decodeElement(b []byte) (x rawElement, err error) {
	a, err := read(b)
	if err != nil {
		return x, err
	}
	x.end = a.u32(unix.NFTA_SET_ELEM_FLAGS)&unix.NFT_SET_ELEM_INTERVAL_END != 0
	if x.Key, err = a.value(unix.NFTA_SET_ELEM_KEY); err != nil {
		return x, err
	}
	if x.End, err = a.value(NFTA_SET_ELEM_KEY_END); err != nil {
		return x, err
	}
	if x.Verdict, _, err = a.verdict(unix.NFTA_SET_ELEM_DATA); err != nil {
		return x, err
	}
	mark, err := a.value(unix.NFTA_SET_ELEM_DATA)
	if len(mark) == 4 {
		x.Mark = binary.NativeEndian.Uint32([]byte(mark))
	}
	if err != nil {
		return x, err
	}
	x.Exprs, err = elementExpressions(&a)
	return x, err
}

// elementExpressions reads the expressions of an element and writes them as we
// would, so that state (counters, fill of buckets) does not count.
func elementExpressions(a *attrs) (string, error) {
	var list []Expr
	var err error
	switch {
	case a[NFTA_SET_ELEM_EXPRESSIONS] != nil:
		list, err = decodeExpressions(a[NFTA_SET_ELEM_EXPRESSIONS])
	case a[unix.NFTA_SET_ELEM_EXPR] != nil:
		var x Expr
		x, err = decodeExpression(a[unix.NFTA_SET_ELEM_EXPR])
		list = []Expr{x}
	}
	if err != nil || list == nil {
		return "", err
	}
	return expressions(list), nil
}
