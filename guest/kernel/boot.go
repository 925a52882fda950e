package kernel

import (
	"unsafe"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/guest/cpu"
	"github.com/dewpaas/dew/guest/firmware"
	"github.com/dewpaas/dew/guest/mem"
	"github.com/dewpaas/dew/guest/thread"
)

// at is the one door from an address to memory in this package.
//
//go:nocheckptr
func at(addr uint64) unsafe.Pointer { return unsafe.Add(nil, uintptr(addr)) }

// elfBase is where the Go linker puts the ELF header of a static program.
const elfBase = 0x400000

const fourGiB = 1 << 32

// physical is firmware.Memory while the stub's tables are loaded, which show
// the first 4 GiB whatever is there.
func physical(phys, n uint64) []byte {
	if phys == 0 || phys >= fourGiB || n > fourGiB-phys {
		return nil
	}
	return unsafe.Slice((*byte)(direct.At(phys)), n)
}

// boot brings the machine up and returns the program's first thread.
func (k *kernel) boot(info uint64) *thread.Thread {
	k.cpuCount = 1
	k.space.Arena = direct
	k.features = cpu.Probe()
	k.bootRoot = cpu.Root()
	if !k.features.FSGSBase {
		k.refuse("the CPU has no FSGSBASE. Remedy: run QEMU with -cpu max or -cpu host.")
	}
	start, ok := firmware.Start(physical(info, firmware.StartInfoSize))
	if !ok {
		k.refuse("no PVH start information. Remedy: boot the droplet with a loader that knows PVH.")
	}
	line := firmware.CommandLine(physical(start.CommandLine, maxCommandLine))
	machine, _ := firmware.ACPI(physical, start.RSDP)
	k.findModule(&start)
	k.findRAM(&start)
	k.buildTables()
	k.tablesOn(&cpus[0])
	k.chipsOn(&machine)
	k.clockOn(line)
	record := k.readRecord()
	k.devicesOn(line)
	k.io.firstWord()
	cpus[0].online = 1
	k.startOthers(&machine, record.cpus)
	k.vdsoOn()
	return k.firstThread(&record)
}

const maxCommandLine = 4096

// refuse ends a start that cannot succeed.
func (k *kernel) refuse(why string) {
	say("dew: ")
	say(why)
	say("\r\n")
	k.powerDown(broken, statusKernel)
}

// findModule looks for boot record and image, which share the first module.
func (k *kernel) findModule(s *firmware.StartInfo) {
	m := &k.module
	ok := false
	m.phys, m.size, ok = s.Module(physical)
	if !ok || m.phys%mem.PageSize != 0 || m.phys+m.size > fourGiB {
		k.refuse("no boot record. Remedy: pass it, with the image behind it, as the first module (QEMU: -initrd).")
	}
	m.recordSize = uint64(boot.Length(physical(m.phys, m.size)))
	if m.recordSize == 0 {
		k.refuse("the first module is no boot record of this version. Remedy: restage the droplet, or use the tender it was made for.")
	}
	m.image = (m.recordSize + mem.PageSize - 1) &^ (mem.PageSize - 1)
}

// findRAM notes all memory and gives the allocator what nobody uses below
// 4 GiB; the rest can be reached only through the final tables.
func (k *kernel) findRAM(s *firmware.StartInfo) {
	for i := range s.Ranges {
		r, ok := s.Range(physical, i)
		if !ok || !r.RAM || r.High <= 1<<20 || k.ramCount == len(k.ram) {
			continue
		}
		k.ram[k.ramCount] = ramRange{max(r.Low, 1<<20), r.High}
		k.ramCount++
		k.addRAM(max(r.Low, 1<<20), min(r.High, fourGiB))
	}
	if k.space.Free < 64 {
		k.refuse("no memory. Remedy: give the machine at least 16 MiB more than the droplet's size.")
	}
}

// addRAM leaves out the program and the module.
func (k *kernel) addRAM(lo, hi uint64) {
	for _, used := range [...]ramRange{programRange(), {k.module.phys, k.module.phys + k.module.size}} {
		if lo < used.hi && used.lo < hi {
			if lo < used.lo {
				k.addRAM(lo, used.lo)
			}
			lo = used.hi
		}
	}
	if lo < hi {
		k.space.Add(lo, hi)
	}
}

// segment is a program header of type PT_LOAD.
type segment struct {
	lo, hi uint64
	prot   mem.Prot
}

const (
	ptLoad = 1
	pfX    = 1
	pfW    = 2
)

// programHeader reads header i of our own ELF; ok is false behind the last.
func programHeader(i uint64) (s segment, load, ok bool) {
	if i >= uint64(*(*uint16)(at(elfBase + 0x38))) {
		return s, false, false
	}
	h := elfBase + *(*uint64)(at(elfBase + 0x20)) + i*0x38
	if *(*uint32)(at(h)) != ptLoad {
		return s, false, true
	}
	flags := *(*uint32)(at(h + 4))
	s.lo = *(*uint64)(at(h + 0x10))
	s.hi = s.lo + *(*uint64)(at(h + 0x28))
	s.prot = mem.Read
	if flags&pfW != 0 {
		s.prot |= mem.Write
	}
	if flags&pfX != 0 {
		s.prot |= mem.Execute
	}
	return s, true, true
}

func programRange() ramRange {
	r := ramRange{lo: elfBase}
	for i := uint64(0); ; i++ {
		s, load, ok := programHeader(i)
		if !ok {
			return r
		}
		if load {
			r.hi = max(r.hi, (s.hi+mem.PageSize-1)&^(mem.PageSize-1))
		}
	}
}

// buildTables makes the tables that the program runs on: its segments with
// their own rights, all memory in the upper half, and nothing else, so that
// address 0 faults.
func (k *kernel) buildTables() {
	k.space.Root = k.space.Take()
	for i := uint64(0); ; i++ {
		s, load, ok := programHeader(i)
		if !ok {
			break
		}
		for a := s.lo &^ (mem.PageSize - 1); load && a < s.hi; a += mem.PageSize {
			k.must(k.space.MapPage(a, a, s.prot))
		}
	}
	k.must(k.space.MapLarge(uint64(direct), 0, 1<<20, false)) // for the trampoline
	for _, r := range k.ram[:k.ramCount] {
		k.must(k.space.MapLarge(uint64(direct)+r.lo, r.lo, r.hi-r.lo, false))
	}
	cpu.SetRoot(k.space.Root)
	for _, r := range k.ram[:k.ramCount] {
		if r.hi > fourGiB {
			k.space.Add(max(r.lo, fourGiB), r.hi)
		}
	}
}

func (k *kernel) must(ok bool) {
	if !ok {
		k.refuse("memory is exhausted during start. Remedy: give the machine more.")
	}
}

// device makes device registers visible, uncached.
func device(phys, size uint64) uintptr {
	if !k.space.MapLarge(uint64(direct)+phys, phys, size, true) {
		return 0
	}
	cpu.ForgetAll()
	return uintptr(direct) + uintptr(phys)
}

// tablesOn loads descriptor tables and the way into the kernel on this CPU.
func (k *kernel) tablesOn(c *perCPU) {
	if k.idt == 0 {
		k.idt = uint64(direct) + k.takePage()
		cpu.FillIDT(uintptr(k.idt), vectorsAddr(), vectorStep)
	}
	c.tables.Load(k.idt, uint64(uintptr(unsafe.Pointer(&c.trap)))+uint64(len(c.trap))-16&^15, uint64(uintptr(unsafe.Pointer(&c.urgent)))+uint64(len(c.urgent))-16&^15)
	cpu.WriteMSR(cpu.IA32_STAR, cpu.CodeSelector<<32)
	cpu.WriteMSR(cpu.IA32_LSTAR, syscallAddr())
	cpu.WriteMSR(cpu.IA32_FMASK, cpu.FlagTrap|cpu.FlagInterrupt|cpu.FlagDirection|cpu.FlagNested|cpu.FlagAlignment)
	c.idle.RIP = idleAddr()
	c.idle.RFlags = cpu.FlagReserved
	c.idle.RSP = c.top
	c.idle.FSBase = c.tlsEnd
	c.idle.Full = 1
}

func (k *kernel) takePage() uint64 {
	p := k.space.Take()
	k.must(p != 0)
	return p
}

// chipsOn finds the interrupt controllers and silences the old one.
func (k *kernel) chipsOn(m *firmware.Machine) {
	cpu.MaskPIC()
	k.powerOff = m.PowerOff
	k.lapic = cpu.LAPIC(device(cpu.LAPICPhys, 4096))
	phys := m.IOAPIC
	if phys == 0 {
		phys = cpu.IOAPICPhys
	}
	k.ioapic = cpu.IOAPIC(device(phys, 4096))
	k.lapic.Enable(vectorTimer, vectorSpurious, k.features.TSCDeadline)
	cpus[0].apic = k.lapic.ID()
}

// clockOn learns the frequency of the time stamp counter: from the CPU, else
// from the tender's word on the command line, else by measuring, which takes
// milliseconds. So does that of the counting timer where it is used.
func (k *kernel) clockOn(line firmware.Words) {
	told := line.Clocks()
	khz := k.features.TSCkHz
	if khz == 0 {
		khz = told.TSC
	}
	timer := told.LAPIC
	if khz == 0 || timer == 0 && !k.features.TSCDeadline {
		tsc, lapic := cpu.Measure(k.lapic)
		if khz == 0 {
			khz = tsc
		}
		timer = lapic
	}
	k.lapicScale = cpu.NewScale(timer)
	if khz == 0 {
		k.refuse("no clock: neither CPUID, the command line (dew.tsc_khz=) nor a PIT tell the frequency of the TSC.")
	}
	clock.scale = uint64(cpu.NewScale(khz))
	clock.begin = cpu.Cycles()
}
