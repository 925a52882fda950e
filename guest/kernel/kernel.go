package kernel

import (
	"sync/atomic"

	"github.com/dewpaas/dew/guest/cpu"
	"github.com/dewpaas/dew/guest/entropy"
	"github.com/dewpaas/dew/guest/mem"
	"github.com/dewpaas/dew/guest/thread"
)

// Interrupt vectors of ours. A vector is also a task priority: the timer and
// the other CPUs come before devices, the spurious one must end in 0xf.
const (
	vectorDevice   = 32 // first of maxDevices
	vectorTimer    = 48
	vectorOther    = 49 // another CPU wants this one to schedule, flush or look at a signal
	vectorSpurious = 63

	vectorStep = 5 // bytes of a CALL
)

// direct is where all physical memory appears: the first address of the upper
// half, so that one entry of the top table serves it.
const direct = mem.Arena(0xffff_8000_0000_0000)

// kernel is everything that all CPUs share; k.mutex guards it.
type kernel struct {
	mutex    uint32
	cpuCount uint64
	features cpu.Features
	lapic    cpu.LAPIC
	ioapic   cpu.IOAPIC
	powerOff uint16 // port; 0: none
	idt      uint64
	bootRoot uint64 // page tables that the stub made, for the start of CPUs
	ram      [64]ramRange
	ramCount int

	lapicScale cpu.Scale // of the counting timer

	space   mem.Space
	threads thread.Table
	random  entropy.Generator
	module  moduleInfo
	io      devices
	events  events
}

type ramRange struct{ lo, hi uint64 }

// moduleInfo is where the loader put boot record and image.
type moduleInfo struct {
	phys, size uint64
	image      uint64 // offset of the image
	imageSize  uint64
	recordSize uint64
}

// clockData is what the program's clock routine reads.
type clockData struct {
	begin uint64 // cycles at nanosecond 0
	scale uint64
	wall  uint64 // ns since 1970 at nanosecond 0
}

// The kernel's state: all its variables are here. Statically initialised, since package
// initialisation is the program's and comes later.
var (
	k        kernel
	cpus     [maxCPU]perCPU
	clock    clockData
	hasXSave uint64
	sampling uint64 // ns of running time between samples for a CPU profile; 0: none; see SampleEvery
)

// now in nanoseconds since boot.
func now() uint64 { return cpu.Scale(clock.scale).Nanoseconds(cpu.Cycles() - clock.begin) }

// lock spins; a CPU that waits still answers requests to flush, since the
// holder may be waiting for just that.
func (k *kernel) lock() {
	if k.cpuCount == 1 {
		return
	}
	c := here()
	for !atomic.CompareAndSwapUint32(&k.mutex, 0, 1) {
		c.answerFlush()
		cpu.Pause()
	}
	c.answerFlush()
}

func (k *kernel) unlock() {
	if k.cpuCount > 1 {
		atomic.StoreUint32(&k.mutex, 0)
	}
}

func (c *perCPU) answerFlush() {
	if atomic.LoadUint32(&c.flush) != 0 {
		cpu.ForgetAll()
		atomic.StoreUint32(&c.flush, 0)
	}
}

// settle makes all CPUs forget removed translations before the lock is let go,
// so that no freed frame is seen by its former address. A CPU is in the
// program (interrupt it), idle, or spinning for the lock.
func (k *kernel) settle() {
	if k.space.Stale == 0 {
		return
	}
	k.space.Stale = 0
	cpu.ForgetAll()
	me := here()
	for i := range k.cpuCount {
		c := &cpus[i]
		if c == me || atomic.LoadUint32(&c.online) == 0 {
			continue
		}
		atomic.StoreUint32(&c.flush, 1)
		if c.current != c.idleAddr {
			k.lapic.Send(c.apic, vectorOther)
		}
	}
	for i := range k.cpuCount {
		c := &cpus[i]
		for c != me && c.current != c.idleAddr && atomic.LoadUint32(&c.flush) != 0 {
			cpu.Pause()
		}
	}
}

// reschedule picks who runs next on this CPU. The running thread keeps the CPU
// only if it is picked again.
func (k *kernel) reschedule() *thread.Thread {
	c := here()
	t := c.running()
	c.charge(t)
	if t.State == thread.Running {
		t.State = thread.Ready
	}
	choice := k.threads.Schedule(now(), c.id)
	c.idling = choice.Next == nil
	if choice.Next == nil {
		k.arm(c, choice.Timer)
		return &c.idle
	}
	k.arm(c, c.sampleBy(choice.Timer))
	if choice.More {
		k.rouse(c)
	}
	return k.signals(choice.Next)
}

// rouse interrupts one idle CPU, if there is one.
func (k *kernel) rouse(me *perCPU) bool {
	for i := range k.cpuCount {
		if c := &cpus[i]; c != me && c.idling {
			c.idling = false
			k.lapic.Send(c.apic, vectorOther)
			return true
		}
	}
	return false
}

// woken is called after threads became ready while the running one goes on.
func (k *kernel) woken() {
	c := here()
	if k.rouse(c) {
		return
	}
	if end := now() + thread.Slice; c.armed == 0 || c.armed > end {
		k.arm(c, end)
	}
}

// arm sets the timer of this CPU to a time; 0 stops it.
func (k *kernel) arm(c *perCPU, at uint64) {
	if c.armed == at {
		return
	}
	c.armed = at
	if k.features.TSCDeadline {
		deadline := uint64(0)
		if at != 0 {
			deadline = clock.begin + cpu.Scale(clock.scale).Cycles(at)
		}
		cpu.WriteMSR(cpu.IA32_TSC_DEADLINE, deadline)
		return
	}
	if at == 0 {
		k.lapic.Count(0)
		return
	}
	wait := uint64(1)
	if t := now(); at > t {
		wait = at - t
	}
	k.lapic.Count(uint32(min(max(k.lapicScale.Cycles(wait), 1), 1<<32-1)))
}
