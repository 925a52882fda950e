package virtio

import "github.com/dewpaas/dew/guest/cpu"

// Common configuration structure, 4.1.4.3.
const (
	pciFeaturesSelect = 0x00
	pciFeatures       = 0x04
	pciDriverSelect   = 0x08
	pciDriver         = 0x0c
	pciConfigVector   = 0x10
	pciStatus         = 0x14
	pciQueueSelect    = 0x16
	pciQueueSize      = 0x18
	pciQueueVector    = 0x1a
	pciQueueEnable    = 0x1c
	pciQueueNotify    = 0x1e
	pciQueueDesc      = 0x20
	pciQueueAvail     = 0x28
	pciQueueUsed      = 0x30
)

// PCI 3.0 configuration space and the capability identities in it.
const (
	configCommand = 0x04
	configBAR     = 0x10
	configCaps    = 0x34

	commandMemory    = 1 << 1
	commandMaster    = 1 << 2
	commandNoINTx    = 1 << 10
	statusHasCaps    = 1 << 20
	capMSIX          = 0x11
	capVendor        = 0x09
	vendorVirtio     = 0x1af4
	deviceModernBase = 0x1040

	kindCommon = 1
	kindNotify = 2
	kindDevice = 4
	maxCaps    = 48
)

// Config reads and writes a 32-bit word of one function's configuration space.
type Config struct {
	Read  func(function uint32, at uint8) uint32
	Write func(function uint32, at uint8, v uint32)
}

// Ports is the configuration mechanism of every PC, through ports 0xcf8 and
// 0xcfc (PCI 3.0 section 3.2.2.3.2).
var Ports = Config{Read: readPorts, Write: writePorts}

func readPorts(function uint32, at uint8) uint32 {
	cpu.Out32(0xcf8, 1<<31|function<<8|uint32(at)&^3)
	return cpu.In32(0xcfc)
}

func writePorts(function uint32, at uint8, v uint32) {
	cpu.Out32(0xcf8, 1<<31|function<<8|uint32(at)&^3)
	cpu.Out32(0xcfc, v)
}

// window is a piece of a BAR.
type window struct {
	phys   uint64
	length uint32
}

// function is what the capability walk finds.
type function struct {
	kind                   uint32 // device type
	common, notify, device window
	scale                  uint32
	msix                   uint64 // physical address of the vector table
	msixCap                uint8
}

// probe reads one function; ok is false where there is no modern virtio device.
func (c Config) probe(fn uint32) (f function, ok bool) {
	id := c.Read(fn, 0)
	if id&0xffff != vendorVirtio || id>>16 < deviceModernBase || id>>16 > deviceModernBase+63 {
		return f, false
	}
	f.kind = id>>16 - deviceModernBase
	if c.Read(fn, configCommand)&statusHasCaps == 0 {
		return f, false
	}
	at := uint8(c.Read(fn, configCaps)) &^ 3
	for range maxCaps {
		if at < 0x40 {
			break
		}
		head := c.Read(fn, at)
		switch uint8(head) {
		case capMSIX:
			c.probeMSIX(fn, at, &f)
		case capVendor:
			c.probeVendor(fn, at, uint8(head>>24), &f)
		}
		at = uint8(head>>8) &^ 3
	}
	return f, f.common.phys != 0 && f.notify.phys != 0 && f.msix != 0
}

func (c Config) probeMSIX(fn uint32, at uint8, f *function) {
	if at > 0xf4 {
		return
	}
	place := c.Read(fn, at+4)
	if bar := c.bar(fn, uint8(place&7)); bar != 0 {
		f.msix, f.msixCap = bar+uint64(place&^7), at
	}
}

// probeVendor reads struct virtio_pci_cap, 4.1.4.
func (c Config) probeVendor(fn uint32, at, kind uint8, f *function) {
	if at > 0xec {
		return
	}
	bar := c.bar(fn, uint8(c.Read(fn, at+4)))
	if bar == 0 {
		return
	}
	w := window{bar + uint64(c.Read(fn, at+8)), c.Read(fn, at+12)}
	switch kind {
	case kindCommon:
		if w.length >= 0x38 {
			f.common = w
		}
	case kindNotify:
		f.notify, f.scale = w, c.Read(fn, at+16)
	case kindDevice:
		f.device = w
	}
}

// bar returns the address that the firmware gave a memory BAR, or 0.
func (c Config) bar(fn uint32, n uint8) uint64 {
	if n > 5 {
		return 0
	}
	v := c.Read(fn, configBAR+4*n)
	if v&1 != 0 {
		return 0
	}
	phys := uint64(v &^ 15)
	if v>>1&3 == 2 && n < 5 {
		phys |= uint64(c.Read(fn, configBAR+4*n+4)) << 32
	}
	return phys
}

// Map makes device memory visible and returns its address, or 0.
type Map func(phys, size uint64) uintptr

// PCI looks for a device at one function of bus 0 and lets its only vector,
// entry 0 of its MSI-X table, interrupt the boot processor.
func (c Config) PCI(fn uint32, see Map, vector uint32) (t Transport, ok bool) {
	f, ok := c.probe(fn)
	if !ok {
		return t, false
	}
	c.Write(fn, configCommand, c.Read(fn, configCommand)&0xffff|commandMemory|commandMaster|commandNoINTx)
	t = Transport{
		Type:      f.kind,
		pci:       true,
		registers: see(f.common.phys, uint64(f.common.length)),
		notify:    see(f.notify.phys, uint64(f.notify.length)),
		scale:     f.scale,
		msix:      see(f.msix, 16),
	}
	if f.device.phys != 0 {
		t.config = see(f.device.phys, uint64(f.device.length))
	}
	if t.registers == 0 || t.notify == 0 || t.msix == 0 {
		return t, false
	}
	cpu.Store32(t.msix, cpu.LAPICPhys) // destination 0, fixed: SDM 11.11
	cpu.Store32(t.msix+4, 0)
	cpu.Store32(t.msix+8, vector)
	cpu.Store32(t.msix+12, 0)
	c.Write(fn, f.msixCap, c.Read(fn, f.msixCap)&^(1<<30)|1<<31)
	return t, true
}

func (t *Transport) attachPCI(q *Queue, desc, avail, used uint64) {
	cpu.Store16(t.registers+pciConfigVector, 0xffff)
	cpu.Store16(t.registers+pciQueueSelect, q.Number)
	cpu.Store16(t.registers+pciQueueSize, q.Size)
	cpu.Store16(t.registers+pciQueueVector, 0)
	t.store64(pciQueueDesc, desc)
	t.store64(pciQueueAvail, avail)
	t.store64(pciQueueUsed, used)
	if int(q.Number) < len(t.at) {
		t.at[q.Number] = cpu.Load16(t.registers + pciQueueNotify)
	}
	cpu.Store16(t.registers+pciQueueEnable, 1)
}
