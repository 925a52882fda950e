package virtio

const (
	consoleQueue  = 16
	consoleBuffer = 4096
)

// Console is a byte stream both ways: queue 0 receives, queue 1 sends. Without
// the multiport feature a device has the one port.
type Console struct {
	Transport
	In, Out Queue

	unread  uint32 // bytes of the buffer that is being read
	current uint16
	at      uint32
}

// Plan sets the queues' sizes.
func (c *Console) Plan() bool {
	c.In = Queue{Number: 0, Size: fit(c.QueueMax(0), consoleQueue), BufSize: consoleBuffer}
	c.Out = Queue{Number: 1, Size: fit(c.QueueMax(1), consoleQueue), BufSize: consoleBuffer}
	return c.In.Size > 0 && c.Out.Size > 0
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
