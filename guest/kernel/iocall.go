package kernel

import (
	"unsafe"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/guest/mem"
	"github.com/dewpaas/dew/guest/thread"
)

// events is the one epoll instance, abi.FDPoll, and the eventfd in it.
type events struct {
	packet  bool   // an edge that nobody was told of
	control bool   // likewise
	wake    uint64 // counter of abi.FDWake; ready while not 0
}

const (
	epollIn   = 1
	eventSize = 12 // struct epoll_event is packed on x86-64
)

// read(2) on the packet, wake, control and stdin descriptors.
func (k *kernel) read(fd, addr, n uint64) uint64 {
	switch fd {
	case abi.FDStdin:
		return 0
	case abi.FDPacket, abi.FDWake, abi.FDControl:
	default:
		return fail(EBADF)
	}
	if _, ok := k.user(addr, n, true); !ok {
		return fail(EFAULT)
	}
	switch fd {
	case abi.FDPacket:
		return k.readPacket(uintptr(addr), n)
	case abi.FDControl:
		return k.readControl(uintptr(addr), n)
	}
	if n < 8 {
		return fail(EINVAL)
	}
	if k.events.wake == 0 {
		return fail(EAGAIN)
	}
	*(*uint64)(at(addr)) = k.events.wake
	k.events.wake = 0
	return 8
}

// readPacket takes one frame. That there is none is said only after the card
// has been asked to interrupt for the next one.
func (k *kernel) readPacket(to uintptr, n uint64) uint64 {
	if !k.io.hasNet {
		return fail(EAGAIN)
	}
	for {
		if size := k.io.net.Receive(to, n); size > 0 {
			return size
		}
		if k.io.net.In.Broken {
			return fail(EBADF)
		}
		if k.io.net.Rest() {
			return fail(EAGAIN)
		}
	}
}

func (k *kernel) readControl(to uintptr, n uint64) uint64 {
	if k.io.consoles <= consoleControl {
		return 0
	}
	c := &k.io.console[consoleControl]
	for {
		if done := c.Read(to, n); done > 0 {
			return done
		}
		if c.In.Broken || n == 0 {
			return 0
		}
		if c.Rest() {
			return fail(EAGAIN)
		}
	}
}

func (k *kernel) write(t *thread.Thread, fd, addr, n uint64) *thread.Thread {
	if _, ok := k.user(addr, n, false); !ok {
		t.RAX = fail(EFAULT)
		return t
	}
	switch fd {
	case abi.FDStdout, abi.FDStderr, abi.FDControl:
		return k.writeConsole(t, sysWrite, fd, addr, n)
	case abi.FDPacket:
		piece := iovec{addr, n}
		t.RAX = k.sendPieces(uint64(uintptr(unsafe.Pointer(&piece))), 1)
	case abi.FDWake:
		if n < 8 {
			t.RAX = fail(EINVAL)
			break
		}
		k.events.wake += *(*uint64)(at(addr))
		t.RAX = 8
		if k.publish() {
			k.woken()
		}
	default:
		t.RAX = fail(EBADF)
	}
	return k.signals(t)
}

// writeConsole writes what fits. Output to a full console makes the thread
// wait, as a pipe does; the control channel never blocks. A machine without
// that console has the serial port.
func (k *kernel) writeConsole(t *thread.Thread, call, fd, addr, n uint64) *thread.Thread {
	i := consoleOf(fd)
	if i >= k.io.consoles {
		t.RAX = n
		if fd != abi.FDControl {
			sayBytes(addr, n)
		}
		return k.signals(t)
	}
	c := &k.io.console[i]
	for {
		done := c.Write(uintptr(addr), n)
		if done > 0 || n == 0 || c.Out.Broken {
			t.RAX = done
			return k.signals(t)
		}
		if c.Full() {
			break
		}
	}
	if fd == abi.FDControl {
		t.RAX = fail(EAGAIN)
		return k.signals(t)
	}
	t.Retry(thread.Output, call)
	return k.reschedule()
}

func sayBytes(addr, n uint64) {
	for i := range n {
		b := *(*byte)(at(addr + i))
		if b == '\n' {
			sayByte('\r')
		}
		sayByte(b)
	}
}

const maxPieces = 64

// iovec of writev(2).
type iovec struct{ base, size uint64 }

// writev sends one frame on the packet descriptor, or writes its first piece
// that is not empty to a console, which is a short write.
func (k *kernel) writev(t *thread.Thread, fd, list, count uint64) *thread.Thread {
	if count == 0 || count > maxPieces {
		t.RAX = fail(EINVAL)
		return t
	}
	if _, ok := k.user(list, count*16, false); !ok {
		t.RAX = fail(EFAULT)
		return t
	}
	switch fd {
	case abi.FDPacket:
		t.RAX = k.sendPieces(list, count)
		return k.signals(t)
	case abi.FDStdout, abi.FDStderr:
		return k.writePiece(t, fd, list, count)
	}
	t.RAX = fail(EBADF)
	return t
}

func (k *kernel) writePiece(t *thread.Thread, fd, list, count uint64) *thread.Thread {
	var v iovec
	for i := range count {
		if v = *(*iovec)(at(list + i*16)); v.size > 0 {
			break
		}
	}
	if _, ok := k.user(v.base, v.size, false); !ok {
		t.RAX = fail(EFAULT)
		return t
	}
	return k.writeConsole(t, sysWritev, fd, v.base, v.size)
}

// sendPieces sends one frame. One that the card has no room for is refused with
// EAGAIN; what it sent before makes room soon.
func (k *kernel) sendPieces(list, count uint64) uint64 {
	total := uint64(0)
	for i := range count {
		v := (*iovec)(at(list + i*16))
		if _, ok := k.user(v.base, v.size, false); !ok {
			return fail(EFAULT)
		}
		total += v.size
	}
	if total < abi.VNetHeaderSize || total > abi.MaxFrame+abi.VNetHeaderSize {
		return fail(EINVAL)
	}
	if !k.io.hasNet {
		return total
	}
	n := &k.io.net
	if !n.BeginFrame(total) {
		n.Flush()
		return fail(EAGAIN)
	}
	for i := range count {
		v := (*iovec)(at(list + i*16))
		n.Append(uintptr(v.base), v.size)
	}
	n.Send()
	n.Flush()
	return total
}

// epollPwait waits on the three registrations of package abi.
func (k *kernel) epollPwait(t *thread.Thread, fd, list, max, timeout uint64) *thread.Thread {
	if fd != abi.FDPoll || max == 0 || max > 1024 {
		t.RAX = fail(EINVAL)
		return t
	}
	if _, ok := k.user(list, max*eventSize, true); !ok {
		t.RAX = fail(EFAULT)
		return t
	}
	if n := k.events.take(list, max); n > 0 || int32(timeout) == 0 {
		t.RAX = n
		return k.signals(t)
	}
	deadline := uint64(0)
	if ms := int32(timeout); ms > 0 {
		deadline = now() + uint64(ms)*1_000_000
	}
	t.Events, t.EventMax = list, max
	t.Block(thread.Poll, deadline, 0)
	return k.reschedule()
}

// take writes what is ready to the program's list, which is present.
func (e *events) take(list, max uint64) (n uint64) {
	if e.packet && n < max {
		e.packet = false
		putEvent(list, &n, abi.PollPacket)
	}
	if e.control && n < max {
		e.control = false
		putEvent(list, &n, abi.PollControl)
	}
	if e.wake > 0 && n < max {
		putEvent(list, &n, abi.PollWake)
	}
	return n
}

func putEvent(list uint64, n *uint64, tag uint64) {
	e := list + *n*eventSize
	*(*uint32)(at(e)) = epollIn
	*(*uint64)(at(e + 4)) = tag
	*n++
}

// publish wakes a thread that waits for events, if there are any. Its list was
// made present when it began to wait, but the program may have discarded it.
func (k *kernel) publish() (woke bool) {
	if !k.events.packet && !k.events.control && k.events.wake == 0 {
		return false
	}
	t := k.threads.Poller()
	if t == nil {
		return false
	}
	if k.space.Touch(t.Events, t.EventMax*eventSize, mem.Write) != mem.OK {
		t.Wake(fail(EFAULT))
		return true
	}
	t.Wake(k.events.take(t.Events, t.EventMax))
	k.threads.Favour(t)
	return true
}
