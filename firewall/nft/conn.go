package nft

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/firewall/netlink"
)

// Conn reads and changes the tables of one network namespace.
type Conn struct{ link *netlink.Conn }

// Open opens a connection to the nftables of the namespace that in enters.
func Open(in func(func() error) error) (*Conn, error) {
	l, err := netlink.Dial(in)
	if err != nil {
		return nil, err
	}
	return &Conn{l}, nil
}

// Close closes the connection; what was made stays.
func (c *Conn) Close() error { return c.link.Close() }

// ErrStale says that somebody else changed tables of the namespace since the
// generation that a change was made for.
var ErrStale = errors.New("the tables were changed by somebody else")

// Generation counts the transactions of the namespace, by whomever.
func (c *Conn) Generation() (uint32, error) {
	var g uint32
	err := c.link.Do(message(unix.NFT_MSG_GETGEN, 0, unix.AF_UNSPEC, nil), func(r netlink.Reply) error {
		a, err := read(r.Body)
		g = a.u32(unix.NFTA_GEN_ID)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read the generation of nftables: %w", err)
	}
	return g, nil
}

// Commit makes a change as one transaction. With a generation other than 0 it
// fails as ErrStale if that is not the present one, and otherwise returns the
// generation that it made. Nothing is changed when it fails.
func (c *Conn) Commit(ch Change, generation uint32) (uint32, error) {
	if ch.Empty() {
		return generation, nil
	}
	err := c.link.Batch(netlink.NFNL_SUBSYS_NFTABLES, generation, ch.Messages)
	if errors.Is(err, unix.ERESTART) {
		return 0, ErrStale
	}
	if err != nil {
		return 0, fmt.Errorf("change nftables: %w", err)
	}
	if generation++; generation == 0 { // as nf_tables_commit counts
		generation = 1
	}
	return generation, nil
}

func message(n, flags uint16, family uint8, body *netlink.Encoder) netlink.Message {
	m := netlink.Message{Kind: netlink.KindOf(netlink.NFNL_SUBSYS_NFTABLES, n), Flags: flags, Family: family}
	if body != nil {
		m.Body = body.Bytes()
	}
	return m
}

// dumpAttempts bounds how often a dump starts over because the tables changed
// while it was read.
const dumpAttempts = 20

// Read reads all tables of a name, with the elements of sets but for those that
// packets added. It returns the generation that it saw.
func (c *Conn) Read(name string) (*Ruleset, uint32, error) {
	for range dumpAttempts {
		before, err := c.Generation()
		if err != nil {
			return nil, 0, err
		}
		r, err := c.read(name)
		if err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ENOENT) {
			return nil, 0, fmt.Errorf("read nftables: %w", err)
		}
		after, genErr := c.Generation()
		if genErr != nil {
			return nil, 0, genErr
		}
		if err == nil && before == after {
			return r, after, nil
		}
	}
	return nil, 0, fmt.Errorf("read nftables: they change all the time")
}

// Names lists the tables of a family.
func (c *Conn) Names(family uint8) ([]string, error) {
	var names []string
	err := c.dump(unix.NFT_MSG_GETTABLE, family, nil, func(r netlink.Reply) error {
		t, err := decodeTable(r.Family, r.Body)
		names = append(names, t.Name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list nftables: %w", err)
	}
	return names, nil
}

func (c *Conn) dump(n uint16, family uint8, body *netlink.Encoder, f func(netlink.Reply) error) error {
	return c.link.Do(message(n, unix.NLM_F_DUMP, family, body), f)
}

func (c *Conn) read(name string) (*Ruleset, error) {
	rs := &Ruleset{}
	err := c.dump(unix.NFT_MSG_GETTABLE, unix.AF_UNSPEC, nil, func(r netlink.Reply) error {
		t, err := decodeTable(r.Family, r.Body)
		if err == nil && t.Name == name {
			rs.Tables = append(rs.Tables, t)
		}
		return err
	})
	for _, t := range rs.Tables {
		if err == nil {
			err = c.readTable(t)
		}
	}
	rs.Sort()
	return rs, err
}

func (c *Conn) readTable(t *Table) error {
	err := c.dump(unix.NFT_MSG_GETCHAIN, t.Family, nil, func(r netlink.Reply) error {
		table, chain, err := decodeChain(r.Family, r.Body)
		if err == nil && table == t.Name {
			t.Chains = append(t.Chains, chain)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := c.readRules(t); err != nil {
		return err
	}
	var e netlink.Encoder
	e.Text(unix.NFTA_SET_TABLE, t.Name)
	err = c.dump(unix.NFT_MSG_GETSET, t.Family, &e, func(r netlink.Reply) error {
		table, set, err := decodeSet(r.Body)
		if err == nil && table == t.Name {
			t.Sets = append(t.Sets, set)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, s := range t.Sets {
		if s.grows() {
			continue
		}
		if err := c.readElements(t, s); err != nil {
			return err
		}
	}
	if t.Others -= len(t.Chains) + len(t.Sets); t.Others == 0 {
		return nil
	}
	err = c.readTimeouts(t)
	t.Others -= len(t.Timeouts)
	return err
}

func (c *Conn) readRules(t *Table) error {
	chains := map[string]*Chain{}
	for _, chain := range t.Chains {
		chains[chain.Name] = chain
	}
	var e netlink.Encoder
	e.Text(unix.NFTA_RULE_TABLE, t.Name)
	return c.dump(unix.NFT_MSG_GETRULE, t.Family, &e, func(r netlink.Reply) error {
		table, chain, rule, err := decodeRule(r.Body)
		if err == nil && table == t.Name && chains[chain] != nil {
			chains[chain].Rules = append(chains[chain].Rules, rule)
		}
		return err
	})
}

func (c *Conn) readElements(t *Table, s *Set) error {
	var ends []string
	err := c.listElements(t, s.Name, func(x rawElement) {
		if x.end {
			ends = append(ends, x.Key)
			return
		}
		s.Elements = append(s.Elements, x.Element)
	})
	if err != nil {
		return err
	}
	s.Sort()
	if s.interval() && !s.concat() {
		closeIntervals(s.Elements, ends)
	}
	for i := range s.Elements {
		if e := &s.Elements[i]; e.End == e.Key {
			e.End = ""
		}
	}
	return nil
}

// closeIntervals gives each beginning the nearest end after it; the last may
// have none.
func closeIntervals(list []Element, ends []string) {
	slices.Sort(ends)
	for i := range list {
		key := list[i].Key
		at, _ := slices.BinarySearchFunc(ends, key, func(end, key string) int {
			return cmp.Or(cmp.Compare(end, key), -1) // the first that is greater
		})
		if at < len(ends) {
			list[i].End = before(ends[at])
			continue
		}
		all := make([]byte, len(key))
		for j := range all {
			all[j] = 0xff
		}
		list[i].End = string(all)
	}
}

func (c *Conn) listElements(t *Table, set string, f func(rawElement)) error {
	var e netlink.Encoder
	e.Text(unix.NFTA_SET_ELEM_LIST_TABLE, t.Name)
	e.Text(unix.NFTA_SET_ELEM_LIST_SET, set)
	return c.dump(unix.NFT_MSG_GETSETELEM, t.Family, &e, func(r netlink.Reply) error { return decodeElements(r.Body, f) })
}

// Counted is what a counting set says of one key.
type Counted struct {
	Key            string
	Packets, Bytes uint64
}

// Counters reads a set whose elements count. A set or table that is not there
// has counted nothing.
func (c *Conn) Counters(family uint8, table, set string) ([]Counted, error) {
	var e netlink.Encoder
	e.Text(unix.NFTA_SET_ELEM_LIST_TABLE, table)
	e.Text(unix.NFTA_SET_ELEM_LIST_SET, set)
	var list []Counted
	err := c.dump(unix.NFT_MSG_GETSETELEM, family, &e, func(r netlink.Reply) error { return decodeCounters(r.Body, &list) })
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the counters of %s: %w", set, err)
	}
	return list, nil
}

func decodeCounters(b []byte, list *[]Counted) error {
	a, err := read(b)
	if err != nil {
		return err
	}
	return netlink.Attributes(a[unix.NFTA_SET_ELEM_LIST_ELEMENTS], func(_ uint16, v []byte) error {
		e, err := read(v)
		if err != nil {
			return err
		}
		one := Counted{}
		if one.Key, err = e.value(unix.NFTA_SET_ELEM_KEY); err != nil {
			return err
		}
		x, err := read(e[unix.NFTA_SET_ELEM_EXPR])
		if err != nil {
			return err
		}
		counter, err := read(x[unix.NFTA_EXPR_DATA])
		one.Packets, one.Bytes = netlink.U64(counter[unix.NFTA_COUNTER_PACKETS]), netlink.U64(counter[unix.NFTA_COUNTER_BYTES])
		*list = append(*list, one)
		return err
	})
}

// Forget is the change that removes keys, which must be there, from a set that
// grows on its own.
func Forget(family uint8, table, set string, keys []string) Change {
	b := &batch{}
	list := make([]Element, len(keys))
	for i, key := range keys {
		list[i].Key = key
	}
	b.delElements(&Table{Family: family, Name: table}, &Set{Name: set}, list)
	return Change{Messages: b.messages, Removed: len(keys)}
}

// Add is the change that adds elements to a set that is there.
func Add(t *Table, s *Set, list ...Element) Change {
	b := &batch{}
	b.addElements(t, s, list)
	return Change{Messages: b.messages, Added: len(list)}
}
