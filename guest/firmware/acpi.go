package firmware

// MaxCPUs is how many processors Machine remembers.
const MaxCPUs = 16

// Machine is what ACPI says about the machine.
type Machine struct {
	APIC     [MaxCPUs]uint32 // local APIC identities of usable processors
	CPUs     int
	IOAPIC   uint64 // physical; 0: unknown
	PowerOff uint16 // PM1a control port; 0: none
}

const (
	headerSize = 36
	maxTable   = 64 << 10
	maxTables  = 64

	fadtPM1a = 64
)

// ACPI walks from the root pointer to the tables that matter.
func ACPI(m Memory, rsdp uint64) (found Machine, ok bool) {
	root, wide := rootTable(m, rsdp)
	if root == nil {
		return found, false
	}
	entry := 4
	if wide {
		entry = 8
	}
	list := root[headerSize:]
	for i := 0; i < maxTables && len(list) >= entry; i++ {
		phys := uint64(u32(list))
		if wide {
			phys = u64(list)
		}
		list = list[entry:]
		found.read(table(m, phys))
	}
	return found, true
}

func (f *Machine) read(t []byte) {
	if t == nil {
		return
	}
	switch string(t[:4]) {
	case "APIC":
		f.madt(t)
	case "FACP":
		if len(t) >= fadtPM1a+4 {
			f.PowerOff = uint16(u32(t[fadtPM1a:]))
		}
	}
}

// madt reads the interrupt controllers: ACPI 6.5 section 5.2.12.
func (f *Machine) madt(t []byte) {
	const first = headerSize + 8
	if len(t) < first {
		return
	}
	for b := t[first:]; len(b) >= 2; {
		n := int(b[1])
		if n < 2 || n > len(b) {
			return
		}
		switch {
		case b[0] == 0 && n >= 8: // local APIC
			if u32(b[4:])&1 != 0 && f.CPUs < MaxCPUs {
				f.APIC[f.CPUs] = uint32(b[3])
				f.CPUs++
			}
		case b[0] == 1 && n >= 12: // I/O APIC
			if u32(b[8:]) == 0 {
				f.IOAPIC = uint64(u32(b[4:]))
			}
		}
		b = b[n:]
	}
}

// rootTable follows the RSDP to the XSDT or, before ACPI 2, the RSDT.
func rootTable(m Memory, rsdp uint64) (root []byte, wide bool) {
	b := m(rsdp, 20)
	if rsdp == 0 || len(b) < 20 || string(b[:8]) != "RSD PTR " || sum(b) != 0 {
		return nil, false
	}
	if b[15] >= 2 {
		if x := m(rsdp, 36); len(x) >= 36 && sum(x) == 0 {
			if t := table(m, u64(x[24:])); t != nil && string(t[:4]) == "XSDT" {
				return t, true
			}
		}
	}
	if t := table(m, uint64(u32(b[16:]))); t != nil && string(t[:4]) == "RSDT" {
		return t, false
	}
	return nil, false
}

// table returns one whole table, its checksum verified.
func table(m Memory, phys uint64) []byte {
	h := m(phys, headerSize)
	if phys == 0 || len(h) < headerSize {
		return nil
	}
	n := uint64(u32(h[4:]))
	if n < headerSize || n > maxTable {
		return nil
	}
	t := m(phys, n)
	if uint64(len(t)) < n || sum(t) != 0 {
		return nil
	}
	return t
}

func sum(b []byte) (s byte) {
	for _, c := range b {
		s += c
	}
	return s
}
