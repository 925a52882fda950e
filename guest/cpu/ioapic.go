package cpu

// IOAPIC is the address of an I/O APIC's two window registers.
type IOAPIC uintptr

// IOAPICPhys is where PC machines without ACPI tables have the first one.
const IOAPICPhys = 0xfec00000

const (
	ioapicSelect  = 0x00
	ioapicWindow  = 0x10
	ioapicVersion = 0x01
	ioapicTable   = 0x10
	redirectLevel = 1 << 15
)

// Inputs is how many lines the chip has (IOAPIC section 3.2.2).
func (a IOAPIC) Inputs() uint32 { return a.read(ioapicVersion)>>16&0xff + 1 }

// Route delivers an input line as vector to one CPU.
func (a IOAPIC) Route(line, vector, apic uint32, level bool) {
	lo := vector
	if level {
		lo |= redirectLevel
	}
	a.write(ioapicTable+2*line+1, apic<<24)
	a.write(ioapicTable+2*line, lo)
}

func (a IOAPIC) read(reg uint32) uint32 {
	Store32(uintptr(a)+ioapicSelect, reg)
	return Load32(uintptr(a) + ioapicWindow)
}

func (a IOAPIC) write(reg, v uint32) {
	Store32(uintptr(a)+ioapicSelect, reg)
	Store32(uintptr(a)+ioapicWindow, v)
}

// MaskPIC silences the two 8259 chips that a PC may still have.
func MaskPIC() {
	Out8(0x21, 0xff)
	Out8(0xa1, 0xff)
}
