package inet

import "sync"

// timers is a heap of the connections that wait for a time, the earliest
// first. A connection whose deadline moves later stays where it is and is
// looked at in vain once, so that moving deadlines, which every packet does,
// costs nothing. Times are rounded up, so that many fall together.
type timers struct {
	mu    sync.Mutex // guards all below, and heapAt and heapIndex of each TCP
	heap  []*TCP
	waits int64 // when the stack must look at its TIME-WAIT connections, 0: never
	armed int64 // what the clock was asked for, 0: nothing
}

// granule is what deadlines are rounded up to, in ns, a power of two.
const granule = 1 << 21

// set makes t due at the given time, or earlier if it is so already.
func (h *timers) set(t *TCP, at int64, c Clock) {
	at = (at + granule - 1) &^ (granule - 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case t.heapIndex == 0:
		t.heapAt = at
		h.heap = append(h.heap, t)
		t.heapIndex = len(h.heap)
		h.up(len(h.heap) - 1)
	case at < t.heapAt:
		t.heapAt = at
		h.up(t.heapIndex - 1)
	}
	h.arm(c)
}

// arm asks the clock for the earliest time, if that is earlier than what it
// was asked for before.
func (h *timers) arm(c Clock) {
	at := h.waits
	if len(h.heap) > 0 && (at == 0 || h.heap[0].heapAt < at) {
		at = h.heap[0].heapAt
	}
	if at != 0 && (h.armed == 0 || at < h.armed) {
		h.armed = at
		c.Wake(at)
	}
}

// setWaits is called when a connection has entered TIME-WAIT.
func (h *timers) setWaits(at int64, c Clock) {
	h.mu.Lock()
	if h.waits == 0 {
		h.waits = at
		h.arm(c)
	}
	h.mu.Unlock()
}

// takeWaits tells whether the connections in TIME-WAIT are due.
func (h *timers) takeWaits(now int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	due := h.waits != 0 && h.waits <= now
	if due {
		h.waits = 0
	}
	return due
}

// take returns one that is due, or nil and sets the clock for the next.
func (h *timers) take(now int64, c Clock) *TCP {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.heap) == 0 || h.heap[0].heapAt > now {
		h.armed = 0
		h.arm(c)
		return nil
	}
	t := h.heap[0]
	h.removeAt(0)
	return t
}

// remove forgets t.
func (h *timers) remove(t *TCP) {
	h.mu.Lock()
	if t.heapIndex > 0 {
		h.removeAt(t.heapIndex - 1)
	}
	h.mu.Unlock()
}

func (h *timers) removeAt(i int) {
	h.heap[i].heapIndex = 0
	last := len(h.heap) - 1
	moved := h.heap[last]
	h.heap[last] = nil
	h.heap = h.heap[:last]
	if i == last {
		return
	}
	h.heap[i] = moved
	moved.heapIndex = i + 1
	h.down(i)
	h.up(moved.heapIndex - 1)
}

func (h *timers) swap(i, j int) {
	h.heap[i], h.heap[j] = h.heap[j], h.heap[i]
	h.heap[i].heapIndex, h.heap[j].heapIndex = i+1, j+1
}

func (h *timers) up(i int) {
	for i > 0 {
		parent := (i - 1) / 4
		if h.heap[parent].heapAt <= h.heap[i].heapAt {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *timers) down(i int) {
	for {
		least := i
		for child := 4*i + 1; child <= 4*i+4 && child < len(h.heap); child++ {
			if h.heap[child].heapAt < h.heap[least].heapAt {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}
