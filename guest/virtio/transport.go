package virtio

import "github.com/dewpaas/dew/guest/cpu"

// Device types, section 5.
const (
	TypeNetwork = 1
	TypeConsole = 3
	TypeEntropy = 4
)

// Feature bits of every device, section 6.
const (
	featureEventIdx = 1 << 29
	featureVersion1 = 1 << 32
)

// Status bits, 2.1.
const (
	statusAcknowledge = 1
	statusDriver      = 2
	statusDriverOK    = 4
	statusFeaturesOK  = 8
	statusFailed      = 128
)

// Transport is how the registers of one device are reached.
type Transport struct {
	Type uint32

	registers uintptr // MMIO: all of them; PCI: the common configuration
	config    uintptr // device configuration
	pci       bool
	notify    uintptr           // PCI
	scale     uint32            // PCI: bytes between notification addresses
	at        [maxQueues]uint16 // PCI: place of each queue's notification
	msix      uintptr           // PCI: table of vectors
}

// maxQueues is how many a device may have that we use.
const maxQueues = 16

// Register offsets, table 4.1 (version 2).
const (
	mmioMagic          = 0x00
	mmioVersion        = 0x04
	mmioDeviceID       = 0x08
	mmioFeatures       = 0x10
	mmioFeaturesSelect = 0x14
	mmioDriver         = 0x20
	mmioDriverSelect   = 0x24
	mmioQueueSelect    = 0x30
	mmioQueueMax       = 0x34
	mmioQueueSize      = 0x38
	mmioQueueReady     = 0x44
	mmioQueueNotify    = 0x50
	mmioInterrupt      = 0x60
	mmioAcknowledge    = 0x64
	mmioStatus         = 0x70
	mmioQueueDesc      = 0x80
	mmioQueueAvail     = 0x90
	mmioQueueUsed      = 0xa0
	mmioConfig         = 0x100

	magic = 0x74726976
)

// MMIO looks for a device of version 2 at an address that is mapped uncached.
func MMIO(at uintptr) (t Transport, ok bool) {
	if cpu.Load32(at+mmioMagic) != magic || cpu.Load32(at+mmioVersion) != 2 {
		return t, false
	}
	t = Transport{Type: cpu.Load32(at + mmioDeviceID), registers: at, config: at + mmioConfig}
	return t, t.Type != 0
}

// Begin resets the device and negotiates: all of need, and of want what there
// is. It returns what was agreed on.
func (t *Transport) Begin(need, want uint64) (features uint64, ok bool) {
	need |= featureVersion1
	t.setStatus(0)
	for range 1 << 20 {
		if t.status() == 0 {
			break
		}
		cpu.Pause()
	}
	t.setStatus(statusAcknowledge)
	t.setStatus(statusAcknowledge | statusDriver)
	offered := t.features()
	if offered&need != need {
		t.setStatus(statusFailed)
		return offered, false
	}
	features = offered & (need | want | featureEventIdx)
	t.setFeatures(features)
	t.setStatus(statusAcknowledge | statusDriver | statusFeaturesOK)
	return features, t.status()&statusFeaturesOK != 0
}

// Live lets the device work.
func (t *Transport) Live() {
	t.setStatus(statusAcknowledge | statusDriver | statusFeaturesOK | statusDriverOK)
}

func (t *Transport) status() uint32 {
	if t.pci {
		return uint32(cpu.Load8(t.registers + pciStatus))
	}
	return cpu.Load32(t.registers + mmioStatus)
}

func (t *Transport) setStatus(v uint32) {
	if t.pci {
		cpu.Store8(t.registers+pciStatus, uint8(v))
		return
	}
	cpu.Store32(t.registers+mmioStatus, v)
}

func (t *Transport) features() uint64 {
	sel, at := uintptr(mmioFeaturesSelect), uintptr(mmioFeatures)
	if t.pci {
		sel, at = pciFeaturesSelect, pciFeatures
	}
	cpu.Store32(t.registers+sel, 0)
	lo := cpu.Load32(t.registers + at)
	cpu.Store32(t.registers+sel, 1)
	return uint64(cpu.Load32(t.registers+at))<<32 | uint64(lo)
}

func (t *Transport) setFeatures(v uint64) {
	sel, at := uintptr(mmioDriverSelect), uintptr(mmioDriver)
	if t.pci {
		sel, at = pciDriverSelect, pciDriver
	}
	cpu.Store32(t.registers+sel, 0)
	cpu.Store32(t.registers+at, uint32(v))
	cpu.Store32(t.registers+sel, 1)
	cpu.Store32(t.registers+at, uint32(v>>32))
}

// QueueMax tells how large queue n may be; 0: there is none.
func (t *Transport) QueueMax(n uint16) uint16 {
	if t.pci {
		cpu.Store16(t.registers+pciQueueSelect, n)
		return cpu.Load16(t.registers + pciQueueSize)
	}
	cpu.Store32(t.registers+mmioQueueSelect, uint32(n))
	return uint16(min(cpu.Load32(t.registers+mmioQueueMax), 1<<15))
}

// Attach tells the device where a queue is that was Setup at phys.
func (t *Transport) Attach(q *Queue, phys uint64) {
	avail := phys + uint64(q.availAt()-q.memory)
	used := phys + uint64(q.usedAt()-q.memory)
	if t.pci {
		t.attachPCI(q, phys, avail, used)
		return
	}
	cpu.Store32(t.registers+mmioQueueSelect, uint32(q.Number))
	cpu.Store32(t.registers+mmioQueueSize, uint32(q.Size))
	t.store64(mmioQueueDesc, phys)
	t.store64(mmioQueueAvail, avail)
	t.store64(mmioQueueUsed, used)
	cpu.Store32(t.registers+mmioQueueReady, 1)
}

func (t *Transport) store64(at uintptr, v uint64) {
	cpu.Store32(t.registers+at, uint32(v))
	cpu.Store32(t.registers+at+4, uint32(v>>32))
}

// Notify rings the bell of a queue.
func (t *Transport) Notify(q *Queue) {
	if t.pci {
		cpu.Store16(t.notify+uintptr(t.at[q.Number])*uintptr(t.scale), q.Number)
		return
	}
	cpu.Store32(t.registers+mmioQueueNotify, uint32(q.Number))
}

// Acknowledge clears the interrupt line. With PCI each vector is our own and
// there is nothing to clear.
func (t *Transport) Acknowledge() {
	if !t.pci {
		cpu.Store32(t.registers+mmioAcknowledge, cpu.Load32(t.registers+mmioInterrupt))
	}
}

// Config8 reads a byte of the device configuration.
func (t *Transport) Config8(at uintptr) uint8 { return cpu.Load8(t.config + at) }
