package virtio

import (
	"sync/atomic"
	"unsafe"
)

// MaxSize of a queue.
const MaxSize = 256

// Descriptor flags, 2.7.5.
const (
	descNext  = 1
	descWrite = 2
)

// Queue is one split ring and its buffers.
type Queue struct {
	Number  uint16
	Size    uint16
	BufSize uint32
	Broken  bool

	memory  uintptr // of the rings; the buffers are at buffers
	buffers uintptr
	writes  bool // the device writes, we read

	avail    uint16 // our next index in the available ring
	kicked   uint16 // avail when the device was last told
	used     uint16 // next index in the used ring
	eventIdx bool
	held     [MaxSize]bool   // the device has the chain that starts here
	next     [MaxSize]uint16 // chain links; the free list runs through them too
	free     uint16          // head of the free list
	spare    uint16          // its length
}

// none ends a chain.
const none = MaxSize

// Layout of the rings in memory: descriptors, available, used. 2.7 asks for
// alignments of 16, 2 and 4.
func (q *Queue) availAt() uintptr { return q.memory + 16*uintptr(q.Size) }
func (q *Queue) usedAt() uintptr {
	return q.memory + (16*uintptr(q.Size)+6+2*uintptr(q.Size)+3)&^3
}

// RingBytes is what the rings of a queue of so many descriptors take.
func RingBytes(size uint16) uint64 {
	return (uint64(size)*16+6+2*uint64(size)+3)&^3 + 6 + 8*uint64(size)
}

// Setup places an unused queue at memory (zeroed; physical address phys) with
// its buffers behind, at buffers. The device writes into them or reads.
func (q *Queue) Setup(memory, buffers uintptr, buffersPhys uint64, writes, eventIdx bool) {
	q.memory, q.buffers, q.writes, q.eventIdx = memory, buffers, writes, eventIdx
	for i := uint16(0); i < q.Size; i++ {
		d := q.desc(i)
		d.address = buffersPhys + uint64(i)*uint64(q.BufSize)
		d.length = q.BufSize
		if writes {
			d.flags = descWrite
		}
		q.next[i] = i + 1
	}
	q.next[q.Size-1] = none
	q.free, q.spare = 0, q.Size
}

type desc struct {
	address uint64
	length  uint32
	flags   uint16
	next    uint16
}

// view is the one door from an address to memory, which no Go object need be.
//
//go:nocheckptr
func view(addr uintptr) unsafe.Pointer { return unsafe.Add(nil, addr) }

func (q *Queue) desc(i uint16) *desc { return (*desc)(view(q.memory + uintptr(i)*16)) }

// Buffer is the address of descriptor i's buffer.
func (q *Queue) Buffer(i uint16) uintptr { return q.buffers + uintptr(i)*uintptr(q.BufSize) }

// Spare tells how many buffers are free.
func (q *Queue) Spare() uint16 { return q.spare }

// take removes a buffer from the free list; the caller knows that there is one.
func (q *Queue) take() uint16 {
	i := q.free
	q.free = q.next[i]
	q.next[i] = none
	q.spare--
	return i
}

// offer gives the chain that starts at head to the device.
func (q *Queue) offer(head uint16) {
	q.held[head] = true
	slot := q.availAt() + 4 + 2*uintptr(q.avail%q.Size)
	*(*uint16)(view(slot)) = head
	q.avail++
	// Flags and index are one word. The exchange orders the slot before it and
	// the reading of the device's wishes behind it.
	atomic.StoreUint32((*uint32)(view(q.availAt())), uint32(q.avail)<<16)
}

// Fill offers all free buffers, one descriptor each.
func (q *Queue) Fill() {
	for q.spare > 0 {
		q.offer(q.take())
	}
}

// Pop returns a chain that the device is done with and what it wrote. The
// caller gives it back with Release.
func (q *Queue) Pop() (head uint16, n uint32, ok bool) {
	if q.Broken {
		return 0, 0, false
	}
	word := atomic.LoadUint32((*uint32)(view(q.usedAt())))
	ready := uint16(word>>16) - q.used
	if ready == 0 {
		return 0, 0, false
	}
	slot := q.usedAt() + 4 + 8*uintptr(q.used%q.Size)
	id := *(*uint32)(view(slot))
	n = *(*uint32)(view(slot + 4))
	if ready > q.Size || id >= uint32(q.Size) || !q.held[id] || q.writes && n > q.BufSize {
		q.Broken = true
		return 0, 0, false
	}
	q.used++
	q.held[id] = false
	return uint16(id), n, true
}

// Used tells whether Pop would find something.
func (q *Queue) Used() bool {
	return !q.Broken && uint16(atomic.LoadUint32((*uint32)(view(q.usedAt())))>>16) != q.used
}

// Release puts a chain back on the free list.
func (q *Queue) Release(head uint16) {
	for i := head; i != none; {
		next := q.next[i]
		q.next[i] = q.free
		q.free = i
		q.spare++
		i = next
	}
}

// Reclaim takes back all that the device has read.
func (q *Queue) Reclaim() {
	for {
		head, _, ok := q.Pop()
		if !ok {
			return
		}
		q.Release(head)
	}
}

// Kick tells whether the device wants to be notified of what was offered.
func (q *Queue) Kick() bool {
	old, now := q.kicked, q.avail
	q.kicked = now
	if old == now {
		return false
	}
	if !q.eventIdx {
		return *(*uint16)(view(q.usedAt()))&1 == 0
	}
	wish := *(*uint16)(view(q.usedAt() + 4 + 8*uintptr(q.Size)))
	return now-wish-1 < now-old // 2.7.10.2
}

// Arm asks for an interrupt at the next used buffer and tells whether one is
// there already, in which case none may come.
func (q *Queue) Arm() (pending bool) {
	q.wish(q.used)
	return !q.Broken && uint16(atomic.LoadUint32((*uint32)(view(q.usedAt())))>>16) != q.used
}

// wish sets the used index whose passing interrupts. Without the feature every
// used buffer interrupts.
func (q *Queue) wish(index uint16) {
	*(*uint16)(view(q.availAt() + 4 + 2*uintptr(q.Size))) = index
	// An exchange of what is there already is the full barrier that 2.7.7.1
	// asks for between the wish and reading the index.
	atomic.StoreUint32((*uint32)(view(q.availAt())), uint32(q.avail)<<16)
}

// copyBytes moves n bytes between addresses.
func copyBytes(to, from uintptr, n uint64) {
	copy(unsafe.Slice((*byte)(view(to)), n), unsafe.Slice((*byte)(view(from)), n))
}

// HasEventIdx tells whether Begin agreed on notification by index.
func HasEventIdx(features uint64) bool { return features&featureEventIdx != 0 }
