package tcp

import (
	"slices"
	"unsafe"
)

// record is a range that was sent and is not acknowledged: one call to Env, or
// what SACK blocks have cut out of it.
type record struct {
	seq, end Seq
	at       int64 // of the last transmission
	flags    uint8
}

const (
	sacked  = 1 << iota // the peer has it
	lost                // taken for lost, not sent again yet
	resent              // sent more than once
	counted             // sent more than once and counted in the retransmissions under way
)

// records are in the order of sequence numbers. They are bounded: no peer's
// SACK blocks and no program's tiny writes make more than maxRecords.
type records struct {
	list   []record
	first  int // list[:first] is acknowledged
	pipe   int // bytes taken to be in the network (RFC 6675 section 2)
	sacked int // bytes the peer has beyond una
	lost   int // bytes marked lost
	held   int // bytes of list taken from the memory bound
}

const (
	maxRecords  = 1024
	sendRecords = 512 // beyond it nothing new is sent
	freeRecords = 8   // of them a connection may keep when idle
	recordSize  = int(unsafe.Sizeof(record{}))
)

func (r *records) live() []record { return r.list[r.first:] }

func (r *records) empty() bool { return r.first == len(r.list) }

// makeRoom makes sure that one more record fits, within the memory bound.
func (r *records) makeRoom(m *Memory) bool {
	if len(r.list) < cap(r.list) {
		return true
	}
	if r.first > 0 && r.first >= len(r.list)/2 {
		n := copy(r.list, r.list[r.first:])
		r.list, r.first = r.list[:n], 0
		return true
	}
	grown := max(4, 2*cap(r.list))
	if grown > 2*maxRecords {
		return false
	}
	more := (grown - cap(r.list)) * recordSize
	if grown > freeRecords {
		if !m.Take(more) {
			return false
		}
		r.held += more
	}
	list := make([]record, len(r.list), grown)
	copy(list, r.list)
	r.list = list
	return true
}

// add notes a new transmission. makeRoom was called.
func (r *records) add(seq, end Seq, now int64) {
	r.list = append(r.list, record{seq: seq, end: end, at: now})
	r.pipe += end.Minus(seq)
}

// split cuts record i, counted from the first live one, at seq.
func (r *records) split(m *Memory, i int, seq Seq) bool {
	if len(r.list)-r.first >= maxRecords || !r.makeRoom(m) {
		return false
	}
	i += r.first
	rest := r.list[i]
	rest.seq = seq
	r.list[i].end = seq
	r.list = slices.Insert(r.list, i+1, rest)
	return true
}

// mark changes the flags of a record and keeps the sums right.
func (r *records) mark(e *record, flags uint8) {
	n := e.end.Minus(e.seq)
	r.count(e.flags, -n)
	e.flags = flags
	r.count(e.flags, n)
}

func (r *records) count(flags uint8, n int) {
	switch {
	case flags&sacked != 0:
		r.sacked += n
	case flags&lost != 0:
		r.lost += n
	default:
		r.pipe += n
	}
}

// pop takes the front up to ack off; it stops in a record that ack cuts.
func (r *records) pop(ack Seq) {
	for r.first < len(r.list) {
		e := &r.list[r.first]
		if ack.Before(e.end) {
			if e.seq.Before(ack) {
				r.count(e.flags, -ack.Minus(e.seq))
				e.seq = ack
			}
			return
		}
		r.count(e.flags, -e.end.Minus(e.seq))
		r.first++
	}
	r.list, r.first = r.list[:0], 0
}

// clear forgets everything and gives the memory back.
func (r *records) clear(m *Memory) {
	m.Give(r.held)
	*r = records{}
}

// trim gives memory back that a burst has needed.
func (r *records) trim(m *Memory) {
	if r.held > 0 && r.empty() {
		r.clear(m)
	}
}
