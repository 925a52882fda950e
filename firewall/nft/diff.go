package nft

import (
	"cmp"

	"github.com/dewpaas/dew/firewall/netlink"
)

// Change is what it takes to come from one ruleset to another: a list of
// messages in an order that the kernel accepts, and how many things it touches.
type Change struct {
	Messages       []netlink.Message
	Tables         int // made, removed or made anew
	Chains         int // made, removed or with other rules
	Sets           int // made or removed
	Added, Removed int // elements
}

// Empty tells whether there is nothing to do.
func (c *Change) Empty() bool { return len(c.Messages) == 0 }

// Diff finds the change from one ruleset to another. Both must be sorted.
// Elements that packets added to sets are left alone.
func Diff(from, to *Ruleset) Change {
	d := &differ{}
	merge(from.Tables, to.Tables, compareTables, func(a, b *Table) {
		switch {
		case b == nil:
			d.b.delTable(a)
			d.Tables++
		case a == nil:
			d.build(b)
		case a.Flags != b.Flags || a.Others != b.Others || !compatible(a, b):
			d.b.delTable(a)
			d.build(b)
		default:
			d.table(a, b)
		}
	})
	d.Messages = d.b.messages
	return d.Change
}

type differ struct {
	Change
	b batch
}

func compareTables(a, b *Table) int {
	return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Name, b.Name))
}

// compatible tells whether every chain and set that stays is of the same kind:
// hooks and key types cannot be changed in place.
func compatible(a, b *Table) bool {
	same := true
	merge(a.Chains, b.Chains, compareChains, func(x, y *Chain) {
		if x != nil && y != nil {
			same = same && sameBase(x.Base, y.Base)
		}
	})
	merge(a.Timeouts, b.Timeouts, compareTimeouts, func(x, y *Timeout) {
		same = same && (x == nil || y == nil || x.same(y))
	})
	merge(a.Sets, b.Sets, compareSets, func(x, y *Set) {
		if x != nil && y != nil {
			same = same && x.Flags == y.Flags && x.KeyLen() == y.KeyLen() && x.keyTypeID() == y.keyTypeID() && x.DataType == y.DataType && x.Size == y.Size && x.Timeout == y.Timeout
		}
	})
	return same
}

func sameBase(a, b *Base) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func compareChains(a, b *Chain) int { return cmp.Compare(a.Name, b.Name) }
func compareSets(a, b *Set) int     { return cmp.Compare(a.Name, b.Name) }
func compareTimeouts(a, b *Timeout) int {
	return cmp.Compare(a.Name, b.Name)
}

func (d *differ) build(t *Table) {
	d.b.newTable(t)
	d.table(&Table{Family: t.Family, Name: t.Name}, t)
	d.Tables++
}

// table brings one table from a to b. New things are made before anything
// refers to them, and old ones removed when nothing does any more. Within the
// transaction nobody sees the steps.
func (d *differ) table(a, b *Table) {
	merge(a.Timeouts, b.Timeouts, compareTimeouts, func(x, y *Timeout) {
		if x == nil {
			d.b.newTimeout(b, y)
		}
	})
	merge(a.Sets, b.Sets, compareSets, func(x, y *Set) {
		if x == nil {
			d.b.newSet(b, y)
			d.Sets++
		}
	})
	merge(a.Chains, b.Chains, compareChains, func(x, y *Chain) {
		if x == nil {
			d.b.newChain(b, y)
			d.Chains++
		}
	})
	merge(a.Sets, b.Sets, compareSets, func(x, y *Set) { d.elements(b, x, y) })
	d.rules(a, b)
	merge(a.Chains, b.Chains, compareChains, func(x, y *Chain) {
		if y == nil {
			d.b.delChain(b, x)
			d.Chains++
		}
	})
	merge(a.Sets, b.Sets, compareSets, func(x, y *Set) {
		if y == nil {
			d.b.delSet(b, x)
			d.Sets++
		}
	})
	merge(a.Timeouts, b.Timeouts, compareTimeouts, func(x, y *Timeout) {
		if y == nil {
			d.b.delTimeout(b, x)
		}
	})
}

// rules replaces the rules of chains that differ, and empties those that go,
// all before any chain goes: they may refer to each other.
func (d *differ) rules(a, b *Table) {
	merge(a.Chains, b.Chains, compareChains, func(x, y *Chain) {
		switch {
		case y == nil:
			if len(x.Rules) > 0 {
				d.b.flush(b, x)
			}
			return
		case x != nil && sameRules(x.Rules, y.Rules):
			return
		case x != nil && len(x.Rules) > 0:
			d.b.flush(b, x)
		}
		if x != nil {
			d.Chains++
		}
		for _, r := range y.Rules {
			d.b.newRule(b, y, r)
		}
	})
}

func sameRules(a, b []Rule) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if expressions(a[i].Exprs) != expressions(b[i].Exprs) {
			return false
		}
	}
	return true
}

// elements brings the elements of a set from x to y. Removals come first, so
// that a range may be replaced by one that overlaps it.
func (d *differ) elements(t *Table, x, y *Set) {
	switch {
	case x == nil:
		d.b.addElements(t, y, y.Elements)
		d.Added += len(y.Elements)
		return
	case y == nil:
		// Elements may refer to chains that go with them.
		if x.DataType != 0 {
			d.b.delElements(t, x, x.Elements)
		}
		return
	case y.grows():
		return
	}
	var gone, come []Element
	merge(x.Elements, y.Elements, byKey, func(a, b Element) {
		if a.same(b) {
			return
		}
		if a.Key != "" {
			gone = append(gone, a)
		}
		if b.Key != "" {
			come = append(come, b)
		}
	})
	d.b.delElements(t, y, gone)
	d.b.addElements(t, y, come)
	d.Added, d.Removed = d.Added+len(come), d.Removed+len(gone)
}

// merge walks two sorted lists and calls f for each key of either, with the
// zero value where one list lacks it.
func merge[T any](a, b []T, compare func(T, T) int, f func(a, b T)) {
	var none T
	for len(a) > 0 || len(b) > 0 {
		order := 0
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			order = compare(a[0], b[0])
		}
		switch {
		case order < 0:
			f(a[0], none)
			a = a[1:]
		case order > 0:
			f(none, b[0])
			b = b[1:]
		default:
			f(a[0], b[0])
			a, b = a[1:], b[1:]
		}
	}
}
