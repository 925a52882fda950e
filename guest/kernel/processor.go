package kernel

import (
	"sync/atomic"

	"github.com/dewpaas/dew/guest/cpu"
	"github.com/dewpaas/dew/guest/firmware"
	"github.com/dewpaas/dew/guest/thread"
)

const (
	trampolinePage = cpu.TrampolineBase >> 12

	resetWait = 200_000     // ns; SDM 8.4.4.1 asks for 10 ms of old chips
	startWait = 500_000_000 // ns
)

// startOthers starts the CPUs that ACPI names, or as many as the boot record
// says with identities in a row where there is no ACPI.
func (k *kernel) startOthers(m *firmware.Machine, want uint64) {
	if m.CPUs > 0 {
		want = min(want, uint64(m.CPUs))
	}
	for i := uint64(1); i < min(want, maxCPU); i++ {
		apic := uint32(i)
		if m.CPUs > 0 {
			apic = m.APIC[i]
		}
		if !k.startOther(i, apic) {
			return
		}
	}
}

func (k *kernel) startOther(id uint64, apic uint32) bool {
	c := &cpus[id]
	c.id, c.apic = id, apic
	c.prepare()
	code := (*[cpu.TrampolineSize]byte)(direct.At(cpu.TrampolineBase))
	*code = cpu.Trampoline(uint32(k.bootRoot), uint32(c.self), uint32(processorAddr()))
	k.cpuCount = id + 1
	k.lapic.Reset(apic)
	wait(resetWait, nil)
	k.lapic.StartUp(apic, trampolinePage)
	wait(startWait, &c.online)
	if atomic.LoadUint32(&c.online) == 0 {
		k.cpuCount = id
		say("dew: a CPU did not start; going on with fewer\r\n")
		return false
	}
	return true
}

// wait spins for some ns or until the flag is set.
func wait(ns uint64, flag *uint32) {
	for end := now() + ns; now() < end; cpu.Pause() {
		if flag != nil && atomic.LoadUint32(flag) != 0 {
			return
		}
	}
}

// join is a further CPU's first step in Go: the final tables, then idleness.
func (k *kernel) join(c *perCPU) *thread.Thread {
	cpu.SetRoot(k.space.Root)
	k.tablesOn(c)
	k.lapic.Enable(vectorTimer, vectorSpurious, k.features.TSCDeadline)
	c.idling = true
	atomic.StoreUint32(&c.online, 1)
	return &c.idle
}
