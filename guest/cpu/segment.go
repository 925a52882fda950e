package cpu

import "unsafe"

// Tables are the descriptor tables of one CPU. They must not move.
type Tables struct {
	gdt  [5]uint64
	gdtr [2]uint64
	idtr [2]uint64
	tss  [26]uint32
	_    [2]uint32
}

// 64-bit code and flat data segments of ring 0, present and accessed so that
// the CPU never writes to them: section 3.4.5, section 5.2.1.
const (
	codeDescriptor = 0x00af9b000000ffff
	dataDescriptor = 0x00cf93000000ffff
)

// Load builds the tables and loads them on the running CPU. The two stacks are
// where exceptions land: ordinary ones, and those which may strike while an
// ordinary one is being saved.
func (t *Tables) Load(idt, stack, urgentStack uint64) {
	t.build(idt, stack, urgentStack)
	LoadTables(uintptr(unsafe.Pointer(&t.gdtr)), uintptr(unsafe.Pointer(&t.idtr)))
}

func (t *Tables) build(idt, stack, urgentStack uint64) {
	task := uint64(uintptr(unsafe.Pointer(&t.tss)))
	t.gdt[1], t.gdt[2] = codeDescriptor, dataDescriptor
	t.gdt[3], t.gdt[4] = taskDescriptor(task)
	t.tss[9], t.tss[10] = uint32(stack), uint32(stack>>32)
	t.tss[11], t.tss[12] = uint32(urgentStack), uint32(urgentStack>>32)
	t.tss[25] = tssSize << 16 // no I/O permission bitmap: figure 8-11
	t.gdtr = pseudoDescriptor(uint64(uintptr(unsafe.Pointer(&t.gdt))), uint64(len(t.gdt)*8))
	t.idtr = pseudoDescriptor(idt, IDTSize)
}

const tssSize = 104

// taskDescriptor encodes an available 64-bit TSS: section 8.2.3.
func taskDescriptor(base uint64) (lo, hi uint64) {
	lo = tssSize - 1 | base&0xffffff<<16 | 0x89<<40 | base>>24&0xff<<56
	return lo, base >> 32
}

// pseudoDescriptor is the 10-byte operand of LGDT and LIDT: figure 2-6.
func pseudoDescriptor(base, size uint64) [2]uint64 {
	return [2]uint64{size - 1 | base<<16, base >> 48}
}

// Vectors is how many interrupt gates the kernel has; a vector beyond them is
// a general protection fault.
const (
	Vectors = 64
	IDTSize = Vectors * 16
)

// FillIDT writes the gates into the page at idt. Vector i enters at
// first+i*step with interrupts off, on the stack Load was given.
func FillIDT(idt uintptr, first, step uint64) {
	for i := uint64(0); i < Vectors; i++ {
		ist := uint64(1)
		if i == VectorNMI || i == VectorDouble || i == VectorMachine {
			ist = 2
		}
		lo, hi := gate(first+i*step, ist)
		*(*[2]uint64)(unsafe.Add(nil, idt+uintptr(i)*16)) = [2]uint64{lo, hi}
	}
}

// gate encodes a 64-bit interrupt gate: section 6.14.1.
func gate(entry, ist uint64) (lo, hi uint64) {
	lo = entry&0xffff | CodeSelector<<16 | ist<<32 | 0x8e<<40 | entry>>16&0xffff<<48
	return lo, entry >> 32
}
