package virtio

import "unsafe"

// Feature bits of the network device, 5.1.3.
const (
	netCSUM      = 1 << 0
	netGuestCSUM = 1 << 1
	netMAC       = 1 << 5
	netGuestTSO4 = 1 << 7
	netHostTSO4  = 1 << 11
	netMergeable = 1 << 15

	// NetNeeds is what the library OS takes for granted on abi.FDPacket.
	NetNeeds = netCSUM | netGuestCSUM | netGuestTSO4 | netHostTSO4 | netMergeable
)

const (
	netHeader    = 12
	headerCount  = 10 // num_buffers in struct virtio_net_hdr
	maxMerged    = 64 // buffers of one received frame
	receiveSize  = 2048
	transmitSize = 4096
)

// Net is the network card: queue 0 receives, queue 1 sends.
type Net struct {
	Transport
	In, Out Queue
	Dropped uint64 // frames lost because the device broke its word or was full

	fill uint32 // bytes in the last buffer of the frame that is being made
	head uint16
	tail uint16
}

// Plan sets the queues' sizes within what the device allows.
func (n *Net) Plan() bool {
	n.In = Queue{Number: 0, Size: fit(n.QueueMax(0), 256), BufSize: receiveSize}
	n.Out = Queue{Number: 1, Size: fit(n.QueueMax(1), 128), BufSize: transmitSize}
	return n.In.Size >= maxMerged && n.Out.Size >= maxMerged
}

// fit is the largest power of two within both.
func fit(limit, want uint16) uint16 {
	for want > limit {
		want /= 2
	}
	return want
}

// Receive copies the next frame with its header to [to, to+limit), cutting
// what does not fit, as a tap does. n is 0 when there is none.
func (n *Net) Receive(to uintptr, limit uint64) (size uint64) {
	head, got, ok := n.In.Pop()
	if !ok {
		return 0
	}
	first := n.In.Buffer(head)
	count := *(*uint16)(view(first + headerCount))
	if got < netHeader || count == 0 || count > maxMerged {
		n.In.Release(head)
		n.In.Broken = true
		n.Dropped++
		return 0
	}
	*(*uint16)(view(first + headerCount)) = 1
	for {
		part := min(uint64(got), limit-size)
		copyBytes(to+uintptr(size), n.In.Buffer(head), part)
		size += part
		n.In.Release(head)
		if count--; count == 0 {
			break
		}
		// All buffers of a frame become used at once: 5.1.6.4.
		if head, got, ok = n.In.Pop(); !ok {
			n.In.Broken = true
			n.Dropped++
			return 0
		}
	}
	if n.In.Spare() >= n.In.Size/4 {
		n.refill()
	}
	return size
}

// refill gives emptied buffers back.
func (n *Net) refill() {
	n.In.Fill()
	if n.In.Kick() {
		n.Notify(&n.In)
	}
}

// Rest is called when there is nothing to receive; it tells whether the next
// frame will interrupt. If not, one has come meanwhile.
func (n *Net) Rest() bool {
	if n.In.Spare() > 0 {
		n.refill()
	}
	return !n.In.Arm()
}

// Begin starts a frame of so many bytes, header included, and tells whether it
// has room for it.
func (n *Net) BeginFrame(size uint64) bool {
	if size < netHeader {
		return false
	}
	need := (size + transmitSize - 1) / transmitSize
	if uint64(n.Out.Spare()) < need {
		n.Out.Reclaim()
	}
	if uint64(n.Out.Spare()) < need || n.Out.Broken {
		n.Dropped++
		return false
	}
	n.head = n.Out.take()
	n.tail, n.fill = n.head, 0
	return true
}

// Append copies a piece of the frame.
func (n *Net) Append(from uintptr, size uint64) {
	for size > 0 {
		if n.fill == transmitSize {
			n.extend()
		}
		part := min(size, uint64(transmitSize-n.fill))
		copyBytes(n.Out.Buffer(n.tail)+uintptr(n.fill), from, part)
		n.fill += uint32(part)
		from += uintptr(part)
		size -= part
	}
}

func (n *Net) extend() {
	i := n.Out.take()
	d := n.Out.desc(n.tail)
	d.length, d.flags, d.next = transmitSize, descNext, i
	n.Out.next[n.tail] = i
	n.tail, n.fill = i, 0
}

// Send gives the frame to the device; the caller kicks it with Flush.
func (n *Net) Send() {
	d := n.Out.desc(n.tail)
	d.length, d.flags, d.next = n.fill, 0, 0
	n.Out.offer(n.head)
}

// Flush notifies the device of what was sent, if it wants to know.
func (n *Net) Flush() {
	if n.Out.Kick() {
		n.Notify(&n.Out)
	}
}

// header is for tests to see the count field by its name.
type header struct {
	Flags, GSOType                              uint8
	Length, GSOSize, CsumStart, CsumAt, Buffers uint16
}

const _ = uint(netHeader - unsafe.Sizeof(header{}))
