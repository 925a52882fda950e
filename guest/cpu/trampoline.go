package cpu

// TrampolineBase is the physical address that the code is made for.
const TrampolineBase = 0x8000

// step is one instruction of start-up code and how it reads.
type step struct {
	bytes string
	text  string
}

// trampoline takes a CPU from real mode (CS 0x800, IP 0) to 64-bit code: SDM
// 8.4.4 and 9.8.5. Operands named in capitals are filled in by Trampoline.
// The test disassembles the bytes and compares them with the text.
var trampoline = [...]step{
	{"\xfa", "cli"},
	{"\xfc", "cld"},
	{"\x31\xc0", "xor ax, ax"},
	{"\x8e\xd8", "mov ds, ax"},
	{"\x66\x0f\x01\x16\x70\x80", "lgdt ptr [0x8070]"},
	{"\x0f\x20\xe0", "mov eax, cr4"},
	{"\x66\x83\xc8\x20", "or eax, 0x20"}, // PAE
	{"\x0f\x22\xe0", "mov cr4, eax"},
	{"\x66\xa1\x78\x80", "mov eax, dword ptr [0x8078]"}, // ROOT
	{"\x0f\x22\xd8", "mov cr3, eax"},
	{"\x66\xb9\x80\x00\x00\xc0", "mov ecx, -0x3fffff80"}, // IA32_EFER
	{"\x0f\x32", "rdmsr"},
	{"\x66\x0d\x01\x09\x00\x00", "or eax, 0x901"}, // NXE, LME, SCE
	{"\x0f\x30", "wrmsr"},
	{"\x0f\x20\xc0", "mov eax, cr0"},
	{"\x66\x25\xff\xff\xff\x9f", "and eax, -0x60000001"},    // NW, CD off
	{"\x66\x0d\x01\x00\x01\x80", "or eax, -0x7ffeffff"},     // PG, WP, PE
	{"\x66\x8b\x1e\x7c\x80", "mov ebx, dword ptr [0x807c]"}, // ARGUMENT
	{"\x0f\x22\xc0", "mov cr0, eax"},
	{"\x66\xff\x2e\x80\x80", "jmp far ptr [0x8080]"}, // ENTRY
}

// Where the data stands behind the code.
const (
	trampolineGDT      = 0x58
	trampolineGDTR     = 0x70
	trampolineRoot     = 0x78
	trampolineArgument = 0x7c
	trampolineEntry    = 0x80
	TrampolineSize     = 0x88
)

// Trampoline returns the code for a CPU that shall load the page tables at
// root and enter 64-bit code at entry with argument in EBX.
func Trampoline(root, argument, entry uint32) (b [TrampolineSize]byte) {
	n := 0
	for i := range trampoline {
		n += copy(b[n:], trampoline[i].bytes)
	}
	store64(b[trampolineGDT+8:], codeDescriptor)
	store64(b[trampolineGDT+16:], dataDescriptor)
	store32(b[trampolineGDTR:], 23|(TrampolineBase+trampolineGDT)<<16)
	store32(b[trampolineGDTR+4:], (TrampolineBase+trampolineGDT)>>16)
	store32(b[trampolineRoot:], root)
	store32(b[trampolineArgument:], argument)
	store32(b[trampolineEntry:], entry)
	store32(b[trampolineEntry+4:], CodeSelector)
	return b
}

func store32(b []byte, v uint32) {
	b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
}

func store64(b []byte, v uint64) {
	store32(b, uint32(v))
	store32(b[4:], uint32(v>>32))
}
