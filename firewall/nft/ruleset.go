package nft

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"
)

// Ruleset is everything that one owner keeps in nftables. Tables, and what is
// in them, are in the order of their names; Sort sees to it.
type Ruleset struct {
	Tables []*Table
}

// Table holds chains and sets of one family.
type Table struct {
	Family uint8 // NFPROTO_*
	Name   string
	Flags  uint32
	Chains []*Chain
	Sets   []*Set
	// Timeouts are given to connections by rules.
	Timeouts []*Timeout
	// Others counts what a table of the kernel holds besides.
	Others int
}

// Chain is a list of rules. With a Base the kernel calls it for packets.
type Chain struct {
	Name  string
	Base  *Base
	Rules []Rule
}

// Base says where a chain hooks into the kernel, and what happens to packets
// about which no rule decides.
type Base struct {
	Hook     uint32
	Priority int32
	Drop     bool
	NAT      bool   // sees the first packet of each connection only, and may change addresses
	Device   string // for NFPROTO_NETDEV; "dew*" is every device of that prefix
}

// Rule is bytecode, and the nft statement that means the same. Rules read back
// from the kernel have no text.
type Rule struct {
	Text  string
	Exprs []Expr
}

// Set is a set, or a map when DataType is not 0. Elements are in order of Key.
type Set struct {
	Name     string
	Fields   []Type // of the key, in order
	DataType uint32 // 0: a set; NFT_DATA_VERDICT: a verdict map; else an nft type
	DataLen  uint32
	Flags    uint32 // NFT_SET_* but for NFT_SET_MAP and NFT_SET_TIMEOUT, which follow from the rest
	Size     uint32 // 0: not bounded
	Timeout  uint32 // seconds after which an element goes that no packet renews; 0: it stays
	Elements []Element

	keyType, keyLen uint32 // as read back, where Fields are not known
}

// Element is one key, or all keys from Key to End, with what they map to.
// Where the key has several fields, a range is a box: each field in its range.
type Element struct {
	Key     string
	End     string // empty: Key alone
	Verdict Verdict
	Mark    uint32
	Exprs   string // encoded expressions that run when the element is found
	Text    string // of Exprs, as nft writes it
}

// same compares what the kernel knows of two elements.
func (e Element) same(o Element) bool {
	e.Text, o.Text = "", ""
	return e == o
}

// Verdict of a rule or a map element. The zero value is drop.
type Verdict struct {
	Code  int32 // NF_* or NFT_JUMP, NFT_GOTO
	Chain string
}

// The verdicts.
func accept() Verdict { return Verdict{Code: NF_ACCEPT} }

// AcceptVerdict lets a packet pass.
func AcceptVerdict() Verdict { return accept() }

// GotoVerdict continues in another chain and does not come back.
func GotoVerdict(chain string) Verdict { return Verdict{Code: unix.NFT_GOTO, Chain: chain} }

// Type is a data type of nft: its name, its number in nft's own table (so that
// `nft list` prints keys as people read them), and its size in bytes.
type Type struct {
	Name string
	ID   uint32
	Size int
}

// TypeMark is the data type of maps to marks.
const TypeMark = 19

// Types finds the types that rulesets of ours use (nftables
// include/datatype.h). It panics for others.
func Types(names ...string) []Type {
	known := []Type{{"ether_addr", 9, 6}, {"ipv4_addr", 7, 4}, {"inet_proto", 12, 1}, {"inet_service", 13, 2}, {"mark", TypeMark, 4}, {"ifname", 41, 16}}
	types := make([]Type, len(names))
	for i, name := range names {
		at := slices.IndexFunc(known, func(t Type) bool { return t.Name == name })
		types[i] = known[at]
	}
	return types
}

// padded is the size of a field in a key of several: registers are 4 bytes.
func padded(size int) int { return (size + 3) &^ 3 }

// KeyLen is the size of a key in bytes. A key of one field is not padded.
func (s *Set) KeyLen() int {
	switch len(s.Fields) {
	case 0:
		return int(s.keyLen)
	case 1:
		return s.Fields[0].Size
	}
	n := 0
	for _, f := range s.Fields {
		n += padded(f.Size)
	}
	return n
}

func (s *Set) keyTypeID() uint32 {
	id := s.keyType
	for _, f := range s.Fields {
		id = id<<6 | f.ID
	}
	return id
}

func (s *Set) interval() bool { return s.Flags&unix.NFT_SET_INTERVAL != 0 }
func (s *Set) concat() bool   { return s.Flags&NFT_SET_CONCAT != 0 }

// Sort brings tables, chains, sets and elements into order.
func (r *Ruleset) Sort() {
	slices.SortFunc(r.Tables, func(a, b *Table) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Name, b.Name))
	})
	for _, t := range r.Tables {
		slices.SortFunc(t.Chains, func(a, b *Chain) int { return cmp.Compare(a.Name, b.Name) })
		slices.SortFunc(t.Timeouts, compareTimeouts)
		slices.SortFunc(t.Sets, func(a, b *Set) int { return cmp.Compare(a.Name, b.Name) })
		for _, s := range t.Sets {
			s.Sort()
		}
	}
}

// Sort brings elements into the order of their keys.
func (s *Set) Sort() {
	if !slices.IsSortedFunc(s.Elements, byKey) {
		slices.SortFunc(s.Elements, byKey)
	}
}

func byKey(a, b Element) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.End, b.End)) }

// Table finds a table, or returns nil.
func (r *Ruleset) Table(family uint8, name string) *Table {
	for _, t := range r.Tables {
		if t.Family == family && t.Name == name {
			return t
		}
	}
	return nil
}

// Chain finds a chain, or returns nil.
func (t *Table) Chain(name string) *Chain {
	for _, c := range t.Chains {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Set finds a set, or returns nil.
func (t *Table) Set(name string) *Set {
	for _, s := range t.Sets {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Key makes the key of a set from its fields, padding each. The sizes must be
// those of the set's types.
func Key(fields ...string) string {
	if len(fields) == 1 {
		return fields[0]
	}
	n := 0
	for _, f := range fields {
		n += padded(len(f))
	}
	b := make([]byte, 0, n)
	for _, f := range fields {
		b = append(b, f...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	return string(b)
}

// Name is the key field for an interface.
func Name(ifname string) string {
	var b [16]byte
	copy(b[:], ifname)
	return string(b[:])
}

// grows tells whether packets add elements to the set. It then has a size; sets
// without one have NFT_SET_EVAL only because their elements have expressions.
func (s *Set) grows() bool { return s.Flags&unix.NFT_SET_EVAL != 0 && s.Size > 0 }
