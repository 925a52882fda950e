package cpu

// Model specific registers, SDM volume 4 chapter 2.
const (
	IA32_APIC_BASE    = 0x1b
	IA32_TSC_DEADLINE = 0x6e0
	IA32_STAR         = 0xc0000081
	IA32_LSTAR        = 0xc0000082
	IA32_FMASK        = 0xc0000084
	IA32_GS_BASE      = 0xc0000101
)

// Bits of RFLAGS, SDM volume 1 section 3.4.3.
const (
	FlagReserved  = 1 << 1
	FlagTrap      = 1 << 8
	FlagInterrupt = 1 << 9
	FlagDirection = 1 << 10
	FlagNested    = 1 << 14
	FlagAlignment = 1 << 18
)

// Selectors of the descriptor table that Tables builds. The first two are also
// those of the start-up stubs.
const (
	CodeSelector = 0x08
	DataSelector = 0x10
	TaskSelector = 0x18
)

// Exception vectors, table 6-1.
const (
	VectorDivide     = 0
	VectorNMI        = 2
	VectorBreakpoint = 3
	VectorOpcode     = 6
	VectorDouble     = 8
	VectorProtection = 13
	VectorPage       = 14
	VectorX87        = 16
	VectorAlignment  = 17
	VectorMachine    = 18
	VectorSIMD       = 19
)

// Page-fault error code, section 4.7.
const (
	FaultPresent = 1 << 0
	FaultWrite   = 1 << 1
	FaultFetch   = 1 << 4
)
