package nft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sort"

	"golang.org/x/sys/unix"
)

// Packet is what the interpreter needs to know of one.
type Packet struct {
	IIF, OIF string
	Link     []byte // Ethernet header, 14 bytes; empty where there is none
	Network  []byte // from the IP or ARP header on
	State    uint32 // NF_CT_STATE_*
	Status   uint32 // IPS_*
	Mark     uint32
}

// Outcome is what a chain made of a packet.
type Outcome struct {
	Verdict Verdict  // accept or drop
	Reject  *Reject  // set when the packet was refused and not only dropped
	Logs    []string // prefixes of what was logged, in order
	Counted []string // keys that were counted, in order
	Chain   string   // where the decision was made
}

// Accepted tells whether the packet goes on.
func (o Outcome) Accepted() bool { return o.Verdict.Code == NF_ACCEPT }

// Hook evaluates the base chains of a hook in the order of their priorities, as
// the kernel calls them. Buckets are never empty: it tells what rules say, not what rates allow. It refuses, with an
// error, bytecode that it does not know.
func (r *Ruleset) Hook(family uint8, hook uint32, p *Packet) (Outcome, error) {
	type called struct {
		t *Table
		c *Chain
	}
	var chains []called
	for _, t := range r.Tables {
		for _, c := range t.Chains {
			if t.Family == family && c.Base != nil && c.Base.Hook == hook && c.Base.hears(p.IIF) {
				chains = append(chains, called{t, c})
			}
		}
	}
	sort.SliceStable(chains, func(i, j int) bool { return chains[i].c.Base.Priority < chains[j].c.Base.Priority })
	all := Outcome{Verdict: accept()}
	for _, one := range chains {
		m := &machine{table: one.t, packet: p}
		decided, err := m.run(one.c, 0)
		if err != nil {
			return Outcome{}, err
		}
		if !decided {
			m.out.Chain = one.c.Name
			if !one.c.Base.Drop {
				m.out.Verdict = accept()
			}
		}
		m.out.Logs, m.out.Counted = append(all.Logs, m.out.Logs...), append(all.Counted, m.out.Counted...)
		all = m.out
		if !all.Accepted() {
			break
		}
	}
	return all, nil
}

func (h *Base) hears(device string) bool {
	if n := len(h.Device); n > 0 && h.Device[n-1] == '*' {
		return len(device) >= n-1 && device[:n-1] == h.Device[:n-1]
	}
	return h.Device == "" || h.Device == device
}

// registers is how many bytes of registers there are.
const registers = 64

// machine runs one base chain.
type machine struct {
	table  *Table
	packet *Packet
	regs   [registers]byte
	out    Outcome
}

// maxDepth is the kernel's bound on nested jumps (NFT_JUMP_STACK_SIZE).
const maxDepth = 16

// run walks a chain. It returns true when the packet's fate is decided.
func (m *machine) run(c *Chain, depth int) (bool, error) {
	if depth > maxDepth {
		return false, fmt.Errorf("chain %s: more than %d jumps", c.Name, maxDepth)
	}
	for i, r := range c.Rules {
		v, hit, err := m.rule(r)
		if err != nil {
			return false, fmt.Errorf("chain %s rule %d: %w", c.Name, i, err)
		}
		if !hit {
			continue
		}
		switch v.Code {
		case NF_ACCEPT, NF_DROP:
			m.out.Verdict, m.out.Chain = v, c.Name
			return true, nil
		case unix.NFT_RETURN:
			return false, nil
		case unix.NFT_JUMP, unix.NFT_GOTO:
			next := m.table.Chain(v.Chain)
			if next == nil {
				return false, fmt.Errorf("chain %s is not there", v.Chain)
			}
			decided, err := m.run(next, depth+1)
			if decided || err != nil || v.Code == unix.NFT_GOTO {
				return decided, err
			}
		default:
			return false, fmt.Errorf("verdict %d", v.Code)
		}
	}
	return false, nil
}

// rule runs one rule; hit tells whether it ended with a verdict.
func (m *machine) rule(r Rule) (v Verdict, hit bool, err error) {
	m.regs = [registers]byte{} // the kernel makes no such promise, and nothing may rely on leftovers
	for _, x := range r.Exprs {
		next := true
		switch x := x.(type) {
		case Decide:
			return x.Verdict, true, nil
		case Masquerading:
			return accept(), true, nil
		case Reject:
			m.out.Reject = &x
			return Verdict{}, true, nil
		case Lookup:
			var e *Element
			if e, next, err = m.lookup(x); err != nil {
				return v, false, err
			}
			if next && x.Decide {
				return e.Verdict, true, nil
			}
			if next && x.Map {
				m.set(x.To, native32(e.Mark))
			}
		default:
			if next, err = m.step(x); err != nil {
				return v, false, err
			}
		}
		if !next {
			return v, false, nil
		}
	}
	return v, false, nil
}

func (m *machine) step(x Expr) (next bool, err error) {
	switch x := x.(type) {
	case Meta:
		if x.Set {
			if x.Key != unix.NFT_META_MARK {
				return false, fmt.Errorf("sets meta key %d", x.Key)
			}
			m.packet.Mark = binary.NativeEndian.Uint32(m.regs[x.Reg*4:])
			return true, nil
		}
		return m.meta(x)
	case Payload:
		return m.payload(x)
	case CT:
		switch x.Key {
		case unix.NFT_CT_STATE:
			m.set(x.Reg, native32(m.packet.State))
		case unix.NFT_CT_STATUS:
			m.set(x.Reg, native32(m.packet.Status))
			return m.packet.State != NF_CT_STATE_INVALID_BIT, nil // no connection, no status
		default:
			return false, fmt.Errorf("ct key %d", x.Key)
		}
	case Bitwise:
		for i := range len(x.Mask) {
			r := &m.regs[int(x.Reg)*4+i]
			*r = *r&x.Mask[i] ^ x.Xor[i]
		}
	case HostToNet:
		m.set(x.Reg, be32(binary.NativeEndian.Uint32(m.regs[x.Reg*4:])))
	case Load:
		m.set(x.Reg, x.Data)
	case Cmp:
		return compare(x.Op, bytes.Compare(m.regs[int(x.Reg)*4:int(x.Reg)*4+len(x.Data)], []byte(x.Data)))
	case Remember:
		return m.remember(x)
	case Limit:
		return !x.Over, nil
	case Counter, ObjectRef:
	case Log:
		m.out.Logs = append(m.out.Logs, x.Prefix)
	default:
		return false, fmt.Errorf("no meaning for %q", x.name())
	}
	return true, nil
}

func compare(op uint32, order int) (bool, error) {
	switch op {
	case unix.NFT_CMP_EQ:
		return order == 0, nil
	case unix.NFT_CMP_NEQ:
		return order != 0, nil
	case unix.NFT_CMP_LT:
		return order < 0, nil
	case unix.NFT_CMP_LTE:
		return order <= 0, nil
	case unix.NFT_CMP_GT:
		return order > 0, nil
	case unix.NFT_CMP_GTE:
		return order >= 0, nil
	}
	return false, fmt.Errorf("comparison %d", op)
}

func (m *machine) set(r Reg, v string) {
	at := m.regs[int(r)*4:]
	for i := range padded(len(v)) {
		at[i] = 0
	}
	copy(at, v)
}

func (m *machine) meta(x Meta) (bool, error) {
	switch x.Key {
	case unix.NFT_META_IIFNAME:
		m.set(x.Reg, Name(m.packet.IIF))
		return m.packet.IIF != "", nil // breaks without a device (nft_meta.c)
	case unix.NFT_META_OIFNAME:
		m.set(x.Reg, Name(m.packet.OIF))
		return m.packet.OIF != "", nil
	case unix.NFT_META_MARK:
		m.set(x.Reg, native32(m.packet.Mark))
	case unix.NFT_META_LEN:
		m.set(x.Reg, native32(uint32(len(m.packet.Network))))
	case unix.NFT_META_L4PROTO:
		_, proto, ok := m.packet.transport()
		m.set(x.Reg, string([]byte{proto}))
		return ok, nil
	case unix.NFT_META_PROTOCOL:
		if len(m.packet.Link) < 14 {
			m.set(x.Reg, be16(unix.ETH_P_IP))
		} else {
			m.set(x.Reg, string(m.packet.Link[12:14]))
		}
	case unix.NFT_META_IIFTYPE:
		m.set(x.Reg, string(binary.NativeEndian.AppendUint16(nil, unix.ARPHRD_ETHER)))
		return m.packet.IIF != "", nil
	default:
		return false, fmt.Errorf("meta key %d", x.Key)
	}
	return true, nil
}

// transport finds the header behind the IP header, in packets whose lengths are
// consistent (nf_tables_ipv4.h).
func (p *Packet) transport() (offset int, proto uint8, ok bool) {
	ip := p.Network
	if len(p.Link) >= 14 && binary.BigEndian.Uint16(p.Link[12:]) != unix.ETH_P_IP || len(ip) < 20 || ip[0]>>4 != 4 {
		return 0, 0, false
	}
	header, total := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if header < 20 || total < header || total > len(ip) {
		return 0, 0, false
	}
	return header, ip[9], true
}

func (m *machine) payload(x Payload) (bool, error) {
	var from []byte
	switch x.Base {
	case link:
		from = m.packet.Link
	case network:
		from = m.packet.Network
	case transport:
		offset, _, ok := m.packet.transport()
		if !ok || m.packet.fragment() {
			return false, nil
		}
		from = m.packet.Network[offset:]
	default:
		return false, fmt.Errorf("payload base %d", x.Base)
	}
	if uint64(x.Offset)+uint64(x.Len) > uint64(len(from)) || x.Len > 16 {
		return false, nil
	}
	m.set(x.Reg, string(from[x.Offset:x.Offset+x.Len]))
	return true, nil
}

// fragment tells whether this is not the first fragment of a packet.
func (p *Packet) fragment() bool {
	return len(p.Network) >= 8 && binary.BigEndian.Uint16(p.Network[6:])&0x1fff != 0
}

// key is a set's key as it stands in the registers. One that is longer than they
// are is cut short, and found nowhere.
func (m *machine) key(s *Set, r Reg) string {
	return string(m.regs[int(r)*4 : min(int(r)*4+s.KeyLen(), registers)])
}

func (m *machine) lookup(x Lookup) (*Element, bool, error) {
	s := m.table.Set(x.Set)
	if s == nil {
		return nil, false, fmt.Errorf("set %s is not there", x.Set)
	}
	e := s.Find(m.key(s, x.Reg))
	if x.Not {
		return nil, e == nil, nil
	}
	return e, e != nil, nil
}

// Find finds the element that a key hits, or returns nil.
func (s *Set) Find(key string) *Element {
	if s.concat() {
		for i := range s.Elements {
			if s.inBox(&s.Elements[i], key) {
				return &s.Elements[i]
			}
		}
		return nil
	}
	at := sort.Search(len(s.Elements), func(i int) bool { return s.Elements[i].Key > key }) - 1
	if at < 0 {
		return nil
	}
	e := &s.Elements[at]
	if e.Key == key || s.interval() && key <= e.last() {
		return e
	}
	return nil
}

// inBox compares field by field. Sets as read back have no fields; then each
// 4 bytes are one, which is the same where no field is longer.
func (s *Set) inBox(e *Element, key string) bool {
	if len(e.Key) != len(key) || len(e.last()) != len(key) {
		return false
	}
	for at := 0; at+4 <= len(key); at += 4 {
		if key[at:at+4] < e.Key[at:at+4] || key[at:at+4] > e.last()[at:at+4] {
			return false
		}
	}
	return true
}

func (m *machine) remember(x Remember) (bool, error) {
	s := m.table.Set(x.Set)
	if s == nil {
		return false, fmt.Errorf("set %s is not there", x.Set)
	}
	switch with := x.With.(type) {
	case Counter:
		m.out.Counted = append(m.out.Counted, m.key(s, x.Reg))
		return true, nil
	case Limit:
		return !with.Over, nil
	}
	return false, fmt.Errorf("remembers %q", x.With.name())
}
