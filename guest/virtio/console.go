package virtio

import "unsafe"

const (
	consoleQueue  = 16
	consoleBuffer = 4096
)

// Console is one port of a console device, a byte stream both ways. Ports have
// a number from 1 on: port 0 is for devices without the multiport feature, and
// QEMU drops its output when the reader is slow.
type Console struct {
	Transport
	In, Out Queue

	unread  uint32 // bytes of the buffer that is being read
	current uint16
	at      uint32
}

// ConsoleNeeds is the multiport feature, 5.3.3.
const ConsoleNeeds = 1 << 1

// Plan sets the queues' sizes for a port: 5.3.2 numbers them. Port 0 is taken
// for the control queues, which have numbers 2 and 3.
func (c *Console) Plan(port uint16) bool {
	in, out := 2*port+2, 2*port+3
	c.In = Queue{Number: in, Size: fit(c.QueueMax(in), consoleQueue), BufSize: consoleBuffer}
	c.Out = Queue{Number: out, Size: fit(c.QueueMax(out), consoleQueue), BufSize: consoleBuffer}
	return c.In.Size > 0 && c.Out.Size > 0
}

// Control events, 5.3.6.2.
const (
	deviceReady = 0
	portReady   = 3
	portOpen    = 6
)

// Open tells the device through its control queue (this Console planned as port
// 0) that we and the ports from 1 to n are ready. What the device tells in
// return is about ports that may come and go, which ours do not.
func (c *Console) Open(ports uint32) {
	c.Rest()
	c.event(0, deviceReady)
	for id := uint32(1); id <= ports; id++ {
		c.event(id, portReady)
		c.event(id, portOpen)
	}
}

// event sends struct virtio_console_control with value 1.
func (c *Console) event(id uint32, kind uint16) {
	message := [2]uint32{id, uint32(kind) | 1<<16}
	c.Write(uintptr(unsafe.Pointer(&message)), 8)
}

// Forget empties the control queue of what the device told.
func (c *Console) Forget() {
	for head, _, ok := c.In.Pop(); ok; head, _, ok = c.In.Pop() {
		c.In.Release(head)
	}
	c.Rest()
}

// Write copies what fits and tells how much that was.
func (c *Console) Write(from uintptr, n uint64) (done uint64) {
	c.Out.Reclaim()
	for done < n && c.Out.Spare() > 0 && !c.Out.Broken {
		i := c.Out.take()
		part := min(n-done, consoleBuffer)
		copyBytes(c.Out.Buffer(i), from+uintptr(done), part)
		d := c.Out.desc(i)
		d.length, d.flags = uint32(part), 0
		c.Out.offer(i)
		done += part
	}
	if c.Out.Kick() {
		c.Notify(&c.Out)
	}
	return done
}

// Full is called when nothing fitted; it tells whether an interrupt will come
// when there is room.
func (c *Console) Full() bool { return !c.Out.Arm() }

// Drained tells whether the device has taken everything.
func (c *Console) Drained() bool {
	c.Out.Reclaim()
	return c.Out.Broken || c.Out.Spare() == c.Out.Size
}

// Read copies at most n received bytes.
func (c *Console) Read(to uintptr, n uint64) (done uint64) {
	for done < n {
		if c.unread == 0 && !c.next() {
			break
		}
		part := min(n-done, uint64(c.unread))
		copyBytes(to+uintptr(done), c.In.Buffer(c.current)+uintptr(c.at), part)
		done += part
		c.at += uint32(part)
		if c.unread -= uint32(part); c.unread == 0 {
			c.In.Release(c.current)
		}
	}
	return done
}

func (c *Console) next() bool {
	head, n, ok := c.In.Pop()
	if !ok {
		return false
	}
	if n == 0 {
		c.In.Release(head)
		return false
	}
	c.current, c.unread, c.at = head, n, 0
	return true
}

// Rest is called when there is nothing to read; it tells whether the next
// bytes will interrupt.
func (c *Console) Rest() bool {
	c.In.Fill()
	if c.In.Kick() {
		c.Notify(&c.In)
	}
	return !c.In.Arm()
}
