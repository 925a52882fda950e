package cpu

// Port input and output.
func In8(port uint16) uint8
func In16(port uint16) uint16
func In32(port uint16) uint32
func Out8(port uint16, v uint8)
func Out16(port uint16, v uint16)
func Out32(port uint16, v uint32)

// Device memory. One plain MOV each: the compiler neither merges nor drops
// them, and a hypervisor need not emulate a locked instruction.
func Load8(addr uintptr) uint8
func Load16(addr uintptr) uint16
func Load32(addr uintptr) uint32
func Store8(addr uintptr, v uint8)
func Store16(addr uintptr, v uint16)
func Store32(addr uintptr, v uint32)

// Fence orders all loads and stores before it against those behind it.
func Fence()

// Cycles reads the time stamp counter. It may run in any ring.
func Cycles() uint64

// ID executes CPUID. It may run in any ring.
func ID(leaf, sub uint32) (a, b, c, d uint32)

// Random executes RDRAND; ok is false where the generator gave nothing.
func Random() (v uint64, ok bool)

func ReadMSR(msr uint32) uint64
func WriteMSR(msr uint32, v uint64)

// SetRoot loads CR3, which also forgets all translations.
func SetRoot(phys uint64)
func Root() uint64

// Forget drops the translation of one page (INVLPG).
func Forget(addr uint64)

// ForgetAll drops all translations of this CPU.
func ForgetAll()

// Pause tells the CPU that it spins.
func Pause()

// Stop halts this CPU for good.
func Stop()

// LoadTables loads GDTR, IDTR, the stack and data selectors and the task
// register from pseudo-descriptors at the two addresses.
func LoadTables(gdtr, idtr uintptr)
