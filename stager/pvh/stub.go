package pvh

import "encoding/binary"

// step is one instruction of the stub and how it reads.
type step struct {
	bytes string
	text  string
}

// target is what the stub needs to know, all below 4 GiB.
type target struct {
	self   uint32 // its own address
	tables uint32 // six pages for page tables
	entry  uint32 // of the 64-bit kernel
}

// Bits of the control registers and tables that the stub sets.
const (
	present   = 0x3  // present, writable
	largePage = 0x83 // and 2 MiB
	upperHalf = 256 * 8
)

// code is the stub: from 32-bit protected mode without paging (PVH: EBX the
// start information, flat segments) to 64-bit code with the first 4 GiB mapped
// at 0 and at the first address of the upper half. Large pages are 2 MiB, since
// not every CPU has 1 GiB. The test disassembles the bytes and compares them
// with the text.
func (t target) code(gdtr uint32) []step {
	top, second, pages := t.tables, t.tables+0x1000, t.tables+0x2000
	return []step{
		{"\xfa", "cli"},
		{"\xfc", "cld"},
		{"\xbf" + le(top), "mov edi, " + hex(top)},
		{"\x31\xc0", "xor eax, eax"},
		{"\xb9" + le(0x1800), "mov ecx, 0x1800"},
		{"\xf3\xab", "rep stosd dword ptr [edi]"},
		put(top, second|present),
		put(top+upperHalf, second|present),
		put(second, pages|present),
		put(second+8, pages+0x1000|present),
		put(second+16, pages+0x2000|present),
		put(second+24, pages+0x3000|present),
		{"\xbf" + le(pages), "mov edi, " + hex(pages)},
		{"\xb8" + le(largePage), "mov eax, 0x83"},
		{"\x89\x07", "mov dword ptr [edi], eax"},
		{"\x83\xc7\x08", "add edi, 0x8"},
		{"\x05" + le(2<<20), "add eax, 0x200000"},
		{"\x73\xf4", "jnb .-0xc"}, // until 4 GiB
		{"\xb8" + le(top), "mov eax, " + hex(top)},
		{"\x0f\x22\xd8", "mov cr3, eax"},
		{"\x0f\x20\xe0", "mov eax, cr4"},
		{"\x83\xc8\x20", "or eax, 0x20"}, // PAE
		{"\x0f\x22\xe0", "mov cr4, eax"},
		{"\xb9" + le(0xc0000080), "mov ecx, 0xc0000080"}, // IA32_EFER
		{"\x0f\x32", "rdmsr"},
		{"\x0d" + le(0x901), "or eax, 0x901"}, // NXE, LME, SCE
		{"\x0f\x30", "wrmsr"},
		{"\x0f\x20\xc0", "mov eax, cr0"},
		{"\x0d" + le(0x80010001), "or eax, 0x80010001"}, // PG, WP, PE
		{"\x0f\x22\xc0", "mov cr0, eax"},
		{"\x0f\x01\x15" + le(gdtr), "lgdt ptr [" + hex(gdtr) + "]"},
		{"\xea" + le(t.entry) + "\x08\x00", "jmp far " + hex(t.entry) + ", 0x8"},
	}
}

// put stores a constant at an absolute address.
func put(at, v uint32) step {
	return step{"\xc7\x05" + le(at) + le(v), "mov dword ptr [" + hex(at) + "], " + hex(v)}
}

// gdt holds 64-bit code and flat data, the selectors that guest/kernel uses.
var gdt = [3]uint64{0, 0x00af9b000000ffff, 0x00cf93000000ffff}

// assemble returns the stub's bytes: code, descriptor table, its pointer.
func (t target) assemble() []byte {
	var b []byte
	for _, s := range t.code(0) {
		b = append(b, s.bytes...)
	}
	size := uint32(len(b)+7) &^ 7
	table := t.self + size
	gdtr := table + uint32(len(gdt)*8)
	b = b[:0]
	for _, s := range t.code(gdtr) {
		b = append(b, s.bytes...)
	}
	b = append(b, make([]byte, int(size)-len(b))...)
	for _, d := range gdt {
		b = binary.LittleEndian.AppendUint64(b, d)
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(gdt)*8-1))
	return binary.LittleEndian.AppendUint32(b, table)
}

func le(v uint32) string { return string(binary.LittleEndian.AppendUint32(nil, v)) }

// hex writes a number as the disassembler does.
func hex(v uint32) string {
	const digits = "0123456789abcdef"
	var b []byte
	for ; v > 0 || len(b) == 0; v >>= 4 {
		b = append([]byte{digits[v&15]}, b...)
	}
	return "0x" + string(b)
}
