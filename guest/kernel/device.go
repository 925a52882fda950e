package kernel

import (
	"unsafe"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/abi/control"
	"github.com/dewpaas/dew/guest/firmware"
	"github.com/dewpaas/dew/guest/mem"
	"github.com/dewpaas/dew/guest/thread"
	"github.com/dewpaas/dew/guest/virtio"
)

// The ports of the console device, by number less one.
const (
	consoleControl = iota
	consoleStdout
	consoleStderr
	consoleCount
)

const maxDevices = 8

// devices are what the descriptors of package abi stand for.
type devices struct {
	net      virtio.Net
	hasNet   bool
	console  [consoleCount]virtio.Console // ports 1 and on, in that order
	manage   virtio.Console               // control queues of the console device
	consoles int
	vectors  [maxDevices]user
	used     int
}

// user of an interrupt vector.
type user struct {
	kind uint8
}

const (
	userNone = iota
	userNet
	userConsole
)

// devicesOn takes the MMIO devices of the command line in the order of their
// addresses, then those of PCI bus 0 in the order of their slots: QEMU names
// the former in no order that one could rely on.
func (k *kernel) devicesOn(line firmware.Words) {
	base, irq, ok := firmware.NextMMIO(line, 0)
	for ; ok && k.io.used < maxDevices; base, irq, ok = firmware.NextMMIO(line, base) {
		t, ok := virtio.MMIO(device(base, 512))
		if !ok {
			continue
		}
		vector := uint32(vectorDevice + k.io.used)
		if k.deviceOn(&t) && irq < k.ioapic.Inputs() {
			k.ioapic.Route(irq, vector, cpus[0].apic, false)
		}
	}
	for fn := uint32(0); fn < 32*8 && k.io.used < maxDevices; fn++ {
		t, ok := virtio.Ports.PCI(fn, device, uint32(vectorDevice+k.io.used))
		if ok {
			k.deviceOn(&t)
		}
	}
}

// deviceOn starts a device that we know how to use and gives it the next vector.
func (k *kernel) deviceOn(t *virtio.Transport) bool {
	switch t.Type {
	case virtio.TypeNetwork:
		if k.io.hasNet {
			return false
		}
		k.netOn(t)
		k.io.vectors[k.io.used] = user{kind: userNet}
	case virtio.TypeConsole:
		if k.io.consoles > 0 || !k.consolesOn(t) {
			return false
		}
		k.io.vectors[k.io.used] = user{kind: userConsole}
	default:
		return false
	}
	k.io.used++
	return true
}

func (k *kernel) netOn(t *virtio.Transport) {
	n := &k.io.net
	features, ok := t.Begin(virtio.NetNeeds, 0)
	n.Transport = *t
	if !ok || !n.Plan() {
		say("dew: the network card offers features ")
		sayHex(features)
		k.refuse(", not checksum and segmentation offload. Remedy: a tap with vnet_hdr=on.")
	}
	k.queueOn(&n.Transport, &n.In, true, features)
	k.queueOn(&n.Transport, &n.Out, false, features)
	n.Live()
	n.Rest()
	k.io.hasNet = true
}

// consolesOn starts the console device with its three ports.
func (k *kernel) consolesOn(t *virtio.Transport) bool {
	features, ok := t.Begin(virtio.ConsoleNeeds, 0)
	if !ok {
		return false
	}
	k.io.manage.Transport = *t
	for port := range uint16(consoleCount + 1) {
		c := &k.io.manage
		if port > 0 {
			c = &k.io.console[port-1]
			c.Transport = *t
		}
		if !c.Plan(port) {
			return false
		}
		k.queueOn(t, &c.In, true, features)
		k.queueOn(t, &c.Out, false, features)
	}
	k.io.manage.Transport = *t // with the places of all queues' bells
	for i := range k.io.console {
		k.io.console[i].Transport = *t
	}
	t.Live()
	k.io.manage.Open(consoleCount)
	k.io.console[consoleControl].Rest()
	k.io.consoles = consoleCount
	return true
}

// queueOn gives a queue its memory.
func (k *kernel) queueOn(t *virtio.Transport, q *virtio.Queue, writes bool, features uint64) {
	rings := (virtio.RingBytes(q.Size) + mem.PageSize - 1) / mem.PageSize
	buffers := (uint64(q.Size)*uint64(q.BufSize) + mem.PageSize - 1) / mem.PageSize
	r, b := k.space.TakeRun(rings), k.space.TakeBuffers(buffers)
	k.must(r != 0 && b != 0)
	q.Setup(uintptr(direct)+uintptr(r), uintptr(direct)+uintptr(b), b, writes, virtio.HasEventIdx(features))
	t.Attach(q, r)
}

// interrupt serves a device and returns who runs next.
func (k *kernel) interrupt(n uint64, t *thread.Thread) *thread.Thread {
	k.lapic.Done()
	u := k.io.vectors[n]
	switch u.kind {
	case userNet:
		k.io.net.Acknowledge()
		k.events.packet = true
		k.threads.Resume(thread.Output)
	case userConsole:
		k.io.manage.Acknowledge()
		k.io.manage.Forget()
		k.events.control = k.events.control || k.io.console[consoleControl].In.Used()
		k.threads.Resume(thread.Output)
	}
	k.publish()
	if t == &here().idle || !k.rouse(here()) {
		return k.reschedule()
	}
	return t
}

// firstWord marks on the timeline that the kernel is up. It comes before any code
// of the program: from then on the tender knows that whatever ends the machine
// may be the program's doing.
func (d *devices) firstWord() {
	const name = "kernel"
	if d.consoles == 0 {
		return
	}
	var frame [control.HeaderSize + 8 + len(name)]byte
	frame[0] = byte(control.Mark)
	frame[8] = 8 + byte(len(name))
	*(*uint64)(unsafe.Pointer(&frame[control.HeaderSize])) = now()
	copy(frame[control.HeaderSize+8:], name)
	d.console[consoleControl].Write(uintptr(unsafe.Pointer(&frame)), uint64(len(frame)))
}

// lastWords tells the tender the exit status and waits until the consoles have
// taken everything, or until that takes too long.
func (d *devices) lastWords(status uint32) {
	if d.consoles > consoleControl {
		var frame [control.HeaderSize + 4]byte
		frame[0] = byte(control.Exit)
		frame[8] = 4
		frame[12], frame[13], frame[14], frame[15] = byte(status), byte(status>>8), byte(status>>16), byte(status>>24)
		d.console[consoleControl].Write(uintptr(unsafe.Pointer(&frame)), uint64(len(frame)))
	}
	if clock.scale == 0 {
		return
	}
	for end := now() + drainPatience; now() < end && !d.drained(); {
	}
}

func (d *devices) drained() bool {
	for i := range d.console[:d.consoles] {
		if !d.console[i].Drained() {
			return false
		}
	}
	return true
}

// consoleOf tells which console a descriptor is.
func consoleOf(fd uint64) int {
	switch fd {
	case abi.FDStdout:
		return consoleStdout
	case abi.FDStderr:
		return consoleStderr
	}
	return consoleControl
}
