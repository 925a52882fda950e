package nft

import (
	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/firewall/netlink"
)

// batch collects the messages of one transaction.
type batch struct {
	messages []netlink.Message
	setID    uint32
}

func (b *batch) add(n uint16, flags uint16, family uint8, body func(*netlink.Encoder)) {
	var e netlink.Encoder
	body(&e)
	b.messages = append(b.messages, netlink.Message{Kind: netlink.KindOf(netlink.NFNL_SUBSYS_NFTABLES, n), Flags: flags, Family: family, Body: e.Bytes()})
}

func (b *batch) newTable(t *Table) {
	b.add(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, t.Family, func(e *netlink.Encoder) {
		e.Text(unix.NFTA_TABLE_NAME, t.Name)
		e.U32(unix.NFTA_TABLE_FLAGS, t.Flags)
	})
}

func (b *batch) delTable(t *Table) {
	b.add(unix.NFT_MSG_DELTABLE, 0, t.Family, func(e *netlink.Encoder) { e.Text(unix.NFTA_TABLE_NAME, t.Name) })
}

func (b *batch) newChain(t *Table, c *Chain) {
	b.add(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE|unix.NLM_F_EXCL, t.Family, func(e *netlink.Encoder) {
		e.Text(unix.NFTA_CHAIN_TABLE, t.Name)
		e.Text(unix.NFTA_CHAIN_NAME, c.Name)
		if c.Base != nil {
			c.Base.encode(e, t.Family)
		}
	})
}

func (h *Base) encode(e *netlink.Encoder, family uint8) {
	e.Nest(unix.NFTA_CHAIN_HOOK, func() {
		e.U32(unix.NFTA_HOOK_HOOKNUM, h.Hook)
		e.U32(unix.NFTA_HOOK_PRIORITY, uint32(h.Priority))
		if family != NFPROTO_NETDEV {
			return
		}
		if n := len(h.Device); n > 0 && h.Device[n-1] == '*' {
			e.Nest(NFTA_HOOK_DEVS, func() { e.Text(NFTA_DEVICE_PREFIX, h.Device[:n-1]) })
		} else {
			e.Text(unix.NFTA_HOOK_DEV, h.Device)
		}
	})
	policy := uint32(NF_ACCEPT)
	if h.Drop {
		policy = NF_DROP
	}
	e.U32(unix.NFTA_CHAIN_POLICY, policy)
	e.Text(unix.NFTA_CHAIN_TYPE, h.kind())
}

// kind is the type of the chain in the words of nft(8).
func (h *Base) kind() string {
	if h.NAT {
		return "nat"
	}
	return "filter"
}

func (b *batch) delChain(t *Table, c *Chain) {
	b.add(unix.NFT_MSG_DELCHAIN, 0, t.Family, func(e *netlink.Encoder) {
		e.Text(unix.NFTA_CHAIN_TABLE, t.Name)
		e.Text(unix.NFTA_CHAIN_NAME, c.Name)
	})
}

func (b *batch) newRule(t *Table, c *Chain, r Rule) {
	b.add(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, t.Family, func(e *netlink.Encoder) {
		e.Text(unix.NFTA_RULE_TABLE, t.Name)
		e.Text(unix.NFTA_RULE_CHAIN, c.Name)
		e.Nest(unix.NFTA_RULE_EXPRESSIONS, func() {
			for _, x := range r.Exprs {
				e.Nest(unix.NFTA_LIST_ELEM, func() { expression(e, x) })
			}
		})
	})
}

// flush removes all rules of a chain.
func (b *batch) flush(t *Table, c *Chain) {
	b.add(unix.NFT_MSG_DELRULE, 0, t.Family, func(e *netlink.Encoder) {
		e.Text(unix.NFTA_RULE_TABLE, t.Name)
		e.Text(unix.NFTA_RULE_CHAIN, c.Name)
	})
}

func (b *batch) newSet(t *Table, s *Set) {
	b.setID++
	b.add(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE|unix.NLM_F_EXCL, t.Family, func(e *netlink.Encoder) {
		e.Text(unix.NFTA_SET_TABLE, t.Name)
		e.Text(unix.NFTA_SET_NAME, s.Name)
		e.U32(unix.NFTA_SET_ID, b.setID)
		flags := s.Flags
		if s.DataType != 0 {
			flags |= unix.NFT_SET_MAP
			e.U32(unix.NFTA_SET_DATA_TYPE, s.DataType)
			if s.DataLen > 0 {
				e.U32(unix.NFTA_SET_DATA_LEN, s.DataLen)
			}
		}
		if s.Timeout > 0 {
			flags |= unix.NFT_SET_TIMEOUT
			e.U64(unix.NFTA_SET_TIMEOUT, uint64(s.Timeout)*1000)
		}
		e.U32(unix.NFTA_SET_FLAGS, flags)
		e.U32(unix.NFTA_SET_KEY_TYPE, s.keyTypeID())
		e.U32(unix.NFTA_SET_KEY_LEN, uint32(s.KeyLen()))
		s.describe(e)
	})
}

func (s *Set) describe(e *netlink.Encoder) {
	if s.Size == 0 && !s.concat() {
		return
	}
	e.Nest(unix.NFTA_SET_DESC, func() {
		if s.Size > 0 {
			e.U32(unix.NFTA_SET_DESC_SIZE, s.Size)
		}
		if !s.concat() {
			return
		}
		e.Nest(NFTA_SET_DESC_CONCAT, func() {
			for _, f := range s.Fields {
				e.Nest(unix.NFTA_LIST_ELEM, func() { e.U32(NFTA_SET_FIELD_LEN, uint32(f.Size)) })
			}
		})
	})
}

func (b *batch) delSet(t *Table, s *Set) {
	b.add(unix.NFT_MSG_DELSET, 0, t.Family, func(e *netlink.Encoder) {
		e.Text(unix.NFTA_SET_TABLE, t.Name)
		e.Text(unix.NFTA_SET_NAME, s.Name)
	})
}

// listSize bounds the elements in one message: an attribute is at most 64 KiB.
const listSize = 60000

func (b *batch) elements(n uint16, flags uint16, t *Table, s *Set, list []Element) {
	for len(list) > 0 {
		b.add(n, flags, t.Family, func(e *netlink.Encoder) {
			e.Text(unix.NFTA_SET_ELEM_LIST_TABLE, t.Name)
			e.Text(unix.NFTA_SET_ELEM_LIST_SET, s.Name)
			e.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func() {
				start := e.Len()
				for len(list) > 0 && e.Len()-start < listSize-1024 {
					list[0].encode(e, s)
					list = list[1:]
				}
			})
		})
	}
}

func (b *batch) addElements(t *Table, s *Set, list []Element) {
	b.elements(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, t, s, list)
}

func (b *batch) delElements(t *Table, s *Set, list []Element) {
	b.elements(unix.NFT_MSG_DELSETELEM, 0, t, s, list)
}

// encode writes an element. A range of a single field is two for the kernel: its
// beginning, and where the next begins (nft_set_rbtree.c).
func (x Element) encode(e *netlink.Encoder, s *Set) {
	e.Nest(unix.NFTA_LIST_ELEM, func() {
		data(e, unix.NFTA_SET_ELEM_KEY, x.Key)
		if s.concat() {
			data(e, NFTA_SET_ELEM_KEY_END, x.last())
		}
		x.encodeValue(e, s)
	})
	if !s.interval() || s.concat() {
		return
	}
	end, more := after(x.last())
	if !more {
		return
	}
	e.Nest(unix.NFTA_LIST_ELEM, func() {
		data(e, unix.NFTA_SET_ELEM_KEY, end)
		e.U32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
	})
}

func (x Element) encodeValue(e *netlink.Encoder, s *Set) {
	switch s.DataType {
	case 0:
	case unix.NFT_DATA_VERDICT:
		e.Nest(unix.NFTA_SET_ELEM_DATA, func() { x.Verdict.encode(e) })
	default:
		data(e, unix.NFTA_SET_ELEM_DATA, native32(x.Mark))
	}
	if x.Exprs == "" {
		return
	}
	list, err := decodeExpressions([]byte(x.Exprs))
	if err == nil && len(list) == 1 {
		e.Nest(unix.NFTA_SET_ELEM_EXPR, func() { expression(e, list[0]) })
		return
	}
	e.Nest(NFTA_SET_ELEM_EXPRESSIONS, func() { e.Raw(x.Exprs) })
}

func (x Element) last() string {
	if x.End != "" {
		return x.End
	}
	return x.Key
}

// after is the next key, if there is one.
func after(key string) (string, bool) {
	b := []byte(key)
	for i := len(b) - 1; i >= 0; i-- {
		b[i]++
		if b[i] != 0 {
			return string(b), true
		}
	}
	return "", false
}

// before is the previous key of one that is not the first.
func before(key string) string {
	b := []byte(key)
	for i := len(b) - 1; i >= 0; i-- {
		b[i]--
		if b[i] != 0xff {
			break
		}
	}
	return string(b)
}
