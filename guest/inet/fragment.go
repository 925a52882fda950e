package inet

import (
	"github.com/dewpaas/dew/guest/packet"
	"github.com/dewpaas/dew/guest/tcp"
)

// fragments puts packets together again (RFC 791, RFC 1122 section 3.3.2).
// Bounded: maxPackets at once, maxHoles ranges each, and all memory counted.
// A packet whose fragments overlap is dropped, as Linux does and RFC 5722 says
// for IPv6: only attackers make them.
type fragments struct {
	list [maxPackets]*assembly
}

const (
	maxPackets   = 8
	maxHoles     = 64
	assemblyLife = 30 * 1e9 // net.ipv4.ipfrag_time
)

type fragmentKey struct {
	src, dst [4]byte
	id       uint16
	proto    uint8
}

type assembly struct {
	key    fragmentKey
	until  int64
	chunk  *tcp.Chunk // the payload, at assemblyHead
	ranges []span     // what is here, in order and apart
	total  int        // length of the payload, -1: the last fragment is not here
	header [60]byte   // of the first fragment
	first  int        // its length, 0: not here
}

// assemblyHead is room for the IP header of the whole packet.
const assemblyHead = 60

type span struct{ from, to int }

// add takes the fragment in p. When it completes a packet, p becomes that
// packet, in the returned chunk, which the caller frees.
func (f *fragments) add(s *Stack, p *packet.Packet, now int64) *tcp.Chunk {
	a := f.find(s, fragmentKey{p.IP.Source(), p.IP.Destination(), p.IP.ID(), p.IP.Protocol()}, now)
	if a == nil {
		return nil
	}
	if !a.place(p) {
		f.drop(s, a)
		s.Counters.ReassemblyFailed.Add(1)
		return nil
	}
	if a.total < 0 || a.first == 0 || len(a.ranges) != 1 || a.ranges[0] != (span{0, a.total}) {
		return nil
	}
	for i := range f.list {
		if f.list[i] == a {
			f.list[i] = nil
		}
	}
	s.Counters.Reassembled.Add(1)
	a.whole(p)
	return a.chunk
}

// find returns the assembly of a key, a new one in the place of the oldest if
// there is none; nil without memory.
func (f *fragments) find(s *Stack, key fragmentKey, now int64) *assembly {
	place := 0
	for i, a := range f.list {
		switch {
		case a != nil && a.until <= now:
			f.drop(s, a)
			place = i
		case a != nil && a.key == key:
			return a
		}
	}
	for i, a := range f.list {
		if a == nil {
			place = i
			break
		}
		if f.list[place] != nil && a.until < f.list[place].until {
			place = i
		}
	}
	if f.list[place] != nil {
		f.drop(s, f.list[place])
		s.Counters.ReassemblyFailed.Add(1)
	}
	c := s.memory.Buffer(tcp.LargeChunk)
	if c == nil {
		s.Counters.NoMemory.Add(1)
		return nil
	}
	f.list[place] = &assembly{key: key, until: now + assemblyLife, chunk: c, total: -1}
	return f.list[place]
}

func (f *fragments) drop(s *Stack, a *assembly) {
	for i := range f.list {
		if f.list[i] == a {
			f.list[i] = nil
		}
	}
	s.memory.Free(a.chunk)
}

// clear drops all that is not complete.
func (f *fragments) clear(s *Stack) {
	for _, a := range f.list {
		if a != nil {
			f.drop(s, a)
		}
	}
}

// place copies a fragment to its place. It returns false for one that cannot be.
func (a *assembly) place(p *packet.Packet) bool {
	from := p.IP.FragmentOffset()
	to := from + len(p.Payload)
	more := p.IP.MoreFragments()
	switch {
	case to > 0xffff-packet.IPv4Size, len(p.Payload) == 0, more && len(p.Payload)%8 != 0:
		return false
	case !more && a.total >= 0 && a.total != to, a.total >= 0 && to > a.total:
		return false
	}
	if !more {
		a.total = to
		if n := len(a.ranges); n > 0 && a.ranges[n-1].to > to {
			return false
		}
	}
	ok, fresh := a.cover(from, to)
	if !ok || !fresh {
		return ok
	}
	copy(a.chunk.Bytes()[assemblyHead+from:], p.Payload)
	if from == 0 {
		a.first = copy(a.header[:], p.IP)
	}
	return true
}

// cover notes a range. Exactly the same one again is harmless; any other
// overlap is not.
func (a *assembly) cover(from, to int) (ok, fresh bool) {
	i := 0
	for i < len(a.ranges) && a.ranges[i].to < from {
		i++
	}
	switch {
	case i < len(a.ranges) && a.ranges[i].from <= from && to <= a.ranges[i].to:
		return true, false
	case i < len(a.ranges) && a.ranges[i].from < to && from < a.ranges[i].to:
		return false, false
	case i < len(a.ranges) && a.ranges[i].to == from:
		if i+1 < len(a.ranges) && a.ranges[i+1].from < to {
			return false, false
		}
		a.ranges[i].to = to
		if i+1 < len(a.ranges) && a.ranges[i+1].from == to {
			a.ranges[i].to = a.ranges[i+1].to
			a.ranges = append(a.ranges[:i+1], a.ranges[i+2:]...)
		}
	case i < len(a.ranges) && a.ranges[i].from == to:
		a.ranges[i].from = from
	case len(a.ranges) == maxHoles:
		return false, false
	default:
		a.ranges = append(a.ranges, span{})
		copy(a.ranges[i+1:], a.ranges[i:])
		a.ranges[i] = span{from, to}
	}
	return true, true
}

// whole makes p the packet that is complete now.
func (a *assembly) whole(p *packet.Packet) {
	b := a.chunk.Bytes()
	ip := packet.IPv4(b[:packet.IPv4Size])
	first := packet.IPv4(a.header[:a.first])
	ip.Set(&packet.IPv4Fields{Source: first.Source(), Destination: first.Destination(), Protocol: first.Protocol(),
		TTL: first.TTL(), TOS: first.TOS(), ID: first.ID(), Length: packet.IPv4Size + a.total})
	p.IP, p.Payload, p.Summed, p.GSOSize = ip, b[assemblyHead:assemblyHead+a.total], false, 0
}
