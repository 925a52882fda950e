package firmware

// Memory returns n bytes at a physical address, or nil where that is not
// memory that may be read.
type Memory func(phys, n uint64) []byte

// StartInfo is struct hvm_start_info.
type StartInfo struct {
	Modules     uint64 // count
	ModuleList  uint64 // physical addresses from here on
	CommandLine uint64
	RSDP        uint64
	MemoryMap   uint64
	Ranges      uint64 // entries of the memory map; 0 before version 1
}

const (
	startMagic    = 0x336ec578
	StartInfoSize = 56
	moduleSize    = 32
	rangeSize     = 24
	maxRanges     = 128 // what the BIOS call E820 may answer
)

// Start reads the start information.
func Start(b []byte) (s StartInfo, ok bool) {
	if len(b) < StartInfoSize || u32(b) != startMagic {
		return s, false
	}
	s = StartInfo{
		Modules:     uint64(u32(b[12:])),
		ModuleList:  u64(b[16:]),
		CommandLine: u64(b[24:]),
		RSDP:        u64(b[32:]),
	}
	if u32(b[4:]) >= 1 {
		s.MemoryMap, s.Ranges = u64(b[40:]), min(uint64(u32(b[48:])), maxRanges)
	}
	return s, true
}

// Range is one line of the memory map.
type Range struct {
	Low, High uint64 // physical
	RAM       bool
}

// Range returns line i.
func (s *StartInfo) Range(m Memory, i uint64) (r Range, ok bool) {
	b := m(s.MemoryMap+i*rangeSize, rangeSize)
	if i >= s.Ranges || len(b) < rangeSize {
		return r, false
	}
	lo, size := u64(b), u64(b[8:])
	if lo+size < lo {
		return r, false
	}
	return Range{Low: lo, High: lo + size, RAM: u32(b[16:]) == 1}, true
}

// Module returns where the loader put the first module.
func (s *StartInfo) Module(m Memory) (phys, size uint64, ok bool) {
	if s.Modules == 0 {
		return 0, 0, false
	}
	b := m(s.ModuleList, moduleSize)
	if len(b) < moduleSize {
		return 0, 0, false
	}
	phys, size = u64(b), u64(b[8:])
	return phys, size, phys != 0 && phys+size > phys
}

func u16(b []byte) uint16 { return uint16(b[0]) | uint16(b[1])<<8 }

func u32(b []byte) uint32 { return uint32(u16(b)) | uint32(u16(b[2:]))<<16 }

func u64(b []byte) uint64 { return uint64(u32(b)) | uint64(u32(b[4:]))<<32 }
