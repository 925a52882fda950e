package firewall

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/dewpaas/dew/cf"
)

// span is cf.Span for IPv4, or a range of ports or ICMP kinds: all numbers from
// first to last.
type span struct{ first, last uint32 }

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

func bytes4(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// spanOf is s in numbers; ok is false for IPv6, of which vNICs have none.
func spanOf(s cf.Span) (_ span, ok bool) {
	if !s.First.Is4() || !s.Last.Is4() {
		return span{}, false
	}
	return span{number(s.First), number(s.Last)}, true
}

func (s span) has(n uint32) bool  { return s.first <= n && n <= s.last }
func (s span) within(t span) bool { return t.first <= s.first && s.last <= t.last }
func comparePosition(a, b span) int {
	return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.last, b.last))
}
func follows(s span, last uint32) bool { return last != 1<<32-1 && s.first == last+1 }

// merged is the same numbers in order, without overlaps or neighbours.
func merged(list []span) []span {
	list = slices.Clone(list)
	slices.SortFunc(list, comparePosition)
	out := list[:0]
	for _, s := range list {
		if n := len(out); n > 0 && (s.first <= out[n-1].last || follows(s, out[n-1].last)) {
			out[n-1].last = max(out[n-1].last, s.last)
			continue
		}
		out = append(out, s)
	}
	return out
}

// without is s less what holes cover. Holes are merged.
func (s span) without(holes []span) []span {
	var left []span
	at, _ := slices.BinarySearchFunc(holes, s.first, func(h span, n uint32) int { return cmp.Compare(h.last, n) })
	for _, h := range holes[at:] {
		if h.first > s.last {
			break
		}
		if h.first > s.first {
			left = append(left, span{s.first, h.first - 1})
		}
		if h.last >= s.last {
			return left
		}
		s.first = h.last + 1
	}
	return append(left, s)
}

// inAny tells whether merged spans have n.
func inAny(list []span, n uint32) bool {
	at, _ := slices.BinarySearchFunc(list, n, func(s span, n uint32) int { return cmp.Compare(s.last, n) })
	return at < len(list) && list[at].has(n)
}

// owned is a span that something owns, by number.
type owned struct {
	span
	owner int
}

// piece is a span all of whose numbers have the same owners, in order.
type piece struct {
	span
	owners []int
}

// slice cuts overlapping spans into pieces with the same owners, in order, each
// as long as it can be. It gives up, and returns false, when the owners of all
// pieces together would be more than limit.
func slice(list []owned, limit int) ([]piece, bool) {
	type event struct {
		at    uint64 // beyond the last number for what ends there
		owner int
		begin bool
	}
	events := make([]event, 0, 2*len(list))
	for _, o := range list {
		events = append(events, event{uint64(o.first), o.owner, true}, event{uint64(o.last) + 1, o.owner, false})
	}
	slices.SortFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	var pieces []piece
	open := map[int]int{} // owner to how many of its spans are open
	var owners []int      // in order
	work := 0
	for i := 0; i < len(events); {
		at := events[i].at
		for ; i < len(events) && events[i].at == at; i++ {
			owners = turn(owners, open, events[i].owner, events[i].begin)
		}
		if len(owners) == 0 || i == len(events) {
			continue
		}
		if work += len(owners); work > limit {
			return nil, false
		}
		pieces = appendPiece(pieces, piece{span{uint32(at), uint32(events[i].at - 1)}, owners})
	}
	return pieces, true
}

// turn opens or closes a span of an owner and keeps the owners in order.
func turn(owners []int, open map[int]int, owner int, begin bool) []int {
	before := open[owner]
	if begin {
		open[owner]++
	} else {
		open[owner]--
	}
	at, _ := slices.BinarySearch(owners, owner)
	switch {
	case begin && before == 0:
		return slices.Insert(owners, at, owner)
	case !begin && before == 1:
		return slices.Delete(owners, at, at+1)
	}
	return owners
}

func appendPiece(pieces []piece, p piece) []piece {
	if n := len(pieces); n > 0 && follows(p.span, pieces[n-1].last) && slices.Equal(pieces[n-1].owners, p.owners) {
		pieces[n-1].last = p.last
		return pieces
	}
	p.owners = slices.Clone(p.owners)
	return append(pieces, p)
}
