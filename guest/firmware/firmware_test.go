package firmware

import (
	"encoding/binary"
	"testing"
)

// memory is a small physical memory; addresses outside are not readable.
type memory []byte

func (m memory) at(phys, n uint64) []byte {
	if phys >= uint64(len(m)) || n > uint64(len(m))-phys {
		return nil
	}
	return m[phys : phys+n]
}

func (m memory) put32(at int, v uint32) { binary.LittleEndian.PutUint32(m[at:], v) }
func (m memory) put64(at int, v uint64) { binary.LittleEndian.PutUint64(m[at:], v) }

// started is what QEMU leaves: start information at 0x100, one module, a map.
func started() memory {
	m := make(memory, 0x2000)
	m.put32(0x100, startMagic)
	m.put32(0x104, 1)
	m.put32(0x10c, 1)
	m.put64(0x110, 0x200)
	m.put64(0x118, 0x300)
	m.put64(0x120, 0x1000)
	m.put64(0x128, 0x400)
	m.put32(0x130, 2)
	m.put64(0x200, 0x7fe0000)
	m.put64(0x208, 0x12345)
	m.put64(0x400, 0)
	m.put64(0x408, 0x9fc00)
	m.put32(0x410, 1)
	m.put64(0x418, 0xf0000)
	m.put64(0x420, 0x10000)
	m.put32(0x428, 2)
	return m
}

func TestStartInformation(t *testing.T) {
	m := started()
	s, ok := Start(m.at(0x100, StartInfoSize))
	if !ok || s.CommandLine != 0x300 || s.RSDP != 0x1000 || s.Ranges != 2 {
		t.Fatalf("%v %+v", ok, s)
	}
	if phys, size, ok := s.Module(m.at); !ok || phys != 0x7fe0000 || size != 0x12345 {
		t.Errorf("module %#x %#x %v", phys, size, ok)
	}
	r0, _ := s.Range(m.at, 0)
	r1, _ := s.Range(m.at, 1)
	if _, ok := s.Range(m.at, 2); ok || r0 != (Range{0, 0x9fc00, true}) || r1.RAM || r1.High != 0x100000 {
		t.Errorf("%+v %+v", r0, r1)
	}
}

func TestWrongStartInformationIsRefused(t *testing.T) {
	m := started()
	if _, ok := Start(m.at(0x100, 40)); ok {
		t.Error("a short one")
	}
	m[0x100]++
	if _, ok := Start(m.at(0x100, StartInfoSize)); ok {
		t.Error("another magic")
	}
	for name, s := range map[string]StartInfo{
		"no module":       {},
		"list elsewhere":  {Modules: 1, ModuleList: 1 << 40},
		"an empty module": {Modules: 1, ModuleList: 0x800},
	} {
		if _, _, ok := s.Module(m.at); ok {
			t.Error(name)
		}
	}
	m.put64(0x408, 1<<64-1)
	m.put64(0x400, 0x1000)
	if _, ok := (&StartInfo{MemoryMap: 0x400, Ranges: 1}).Range(m.at, 0); ok {
		t.Error("a range that wraps")
	}
}

func TestCommandLine(t *testing.T) {
	line := CommandLine([]byte("  dew.tsc_khz=2100000 dew.lapic_khz=1000000 virtio_mmio.device=512@0xfeb00e00:12  virtio_mmio.device=4K@0xd0000000:5:1\x00junk"))
	var words []string
	var bases []uint64
	for w, rest, ok := line.Next(); ok; w, rest, ok = rest.Next() {
		words = append(words, string(w))
		if base, irq, ok := MMIO(w); ok {
			bases = append(bases, base, uint64(irq))
		}
	}
	if len(words) != 4 || line.Clocks() != (Clocks{2100000, 1000000}) || len(bases) != 4 || bases[0] != 0xfeb00e00 || bases[1] != 12 || bases[2] != 0xd0000000 || bases[3] != 5 {
		t.Errorf("%q %#x %v", words, bases, line.Clocks())
	}
}

func TestDevicesComeInTheOrderOfTheirAddresses(t *testing.T) {
	line := CommandLine([]byte("virtio_mmio.device=512@0xfeb00400:7 virtio_mmio.device=512@0xfeb00000:5 x virtio_mmio.device=512@0xfeb00200:6"))
	var irqs []uint32
	for base, irq, ok := NextMMIO(line, 0); ok; base, irq, ok = NextMMIO(line, base) {
		irqs = append(irqs, irq)
	}
	if len(irqs) != 3 || irqs[0] != 5 || irqs[1] != 6 || irqs[2] != 7 {
		t.Error(irqs)
	}
}

func TestWrongWords(t *testing.T) {
	for _, w := range []string{"", "virtio_mmio.device=", "virtio_mmio.device=512@", "virtio_mmio.device=512@0x10", "virtio_mmio.device=512@0:5",
		"virtio_mmio.device=512@0x1000:999", "virtio_mmio.device=512@0xfffffffffffffffff:5", "virtio_mmio.device", "xvirtio_mmio.device=512@0x1000:5"} {
		if base, irq, ok := MMIO([]byte(w)); ok {
			t.Errorf("%q: %#x %d", w, base, irq)
		}
	}
	for _, w := range []string{"dew.tsc_khz=", "dew.tsc_khz=0", "dew.tsc_khz=2100000x", "dew.tsc_khz=99999999999999999999999", "tsc_khz=2100000", "dew.lapic_khz=1", "lapic_khz=1000000"} {
		if c := CommandLine([]byte(w)).Clocks(); c != (Clocks{}) {
			t.Errorf("%q: %v", w, c)
		}
	}
}

// seal writes the length and checksum of the table at a place.
func (m memory) seal(at, n int, name string) {
	copy(m[at:], name)
	m.put32(at+4, uint32(n))
	m[at+9] = 0
	m[at+9] = -sum(m[at : at+n])
}

// acpi has an RSDP at 0x100, XSDT, MADT with two usable CPUs and an I/O APIC,
// and a FADT.
func acpi() memory {
	m := make(memory, 0x1000)
	copy(m[0x100:], "RSD PTR ")
	m[0x10f] = 2
	m.put64(0x118, 0x200)
	m[0x108] = -sum(m[0x100:0x114])
	m[0x120] = -sum(m[0x100:0x124])
	m.put64(0x200+36, 0x300)
	m.put64(0x200+44, 0x400)
	m.seal(0x200, 52, "XSDT")
	b := m[0x300+44:]
	n := copy(b, []byte{0, 8, 0, 0, 1, 0, 0, 0})
	n += copy(b[n:], []byte{0, 8, 1, 2, 1, 0, 0, 0})
	n += copy(b[n:], []byte{0, 8, 2, 4, 0, 0, 0, 0}) // not usable
	n += copy(b[n:], []byte{1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0})
	m.seal(0x300, 44+n, "APIC")
	m.put32(0x400+fadtPM1a, 0x604)
	m.seal(0x400, 116, "FACP")
	return m
}

func TestACPI(t *testing.T) {
	f, ok := ACPI(acpi().at, 0x100)
	want := Machine{APIC: [MaxCPUs]uint32{0, 2}, CPUs: 2, IOAPIC: 0xfec00000, PowerOff: 0x604}
	if !ok || f != want {
		t.Errorf("%v %+v", ok, f)
	}
}

func TestBrokenTablesAreAbsent(t *testing.T) {
	for name, spoil := range map[string]func(memory){
		"RSDP checksum": func(m memory) { m[0x110]++ },
		"XSDT name":     func(m memory) { m.seal(0x200, 52, "XXXX") },
		"XSDT elsewhere": func(m memory) {
			m.put64(0x118, 1<<50)
			m[0x120] = 0
			m[0x108] = 0
			m[0x108] = -sum(m[0x100:0x114])
			m[0x120] = -sum(m[0x100:0x124])
		},
		"MADT checksum":  func(m memory) { m[0x300+50]++ },
		"an entry of 0":  func(m memory) { m[0x300+45] = 0; m.seal(0x300, 44+36, "APIC") },
		"an entry of 99": func(m memory) { m[0x300+45] = 99; m.seal(0x300, 44+36, "APIC") },
		"a huge MADT":    func(m memory) { m.put32(0x304, 1<<31) },
	} {
		m := acpi()
		spoil(m)
		if f, _ := ACPI(m.at, 0x100); f.CPUs != 0 {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func FuzzTables(f *testing.F) {
	f.Add([]byte(acpi()))
	f.Add([]byte(started()))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := memory(b)
		found, _ := ACPI(m.at, 0x100)
		if found.CPUs < 0 || found.CPUs > MaxCPUs {
			t.Fatal(found.CPUs)
		}
		if s, ok := Start(m.at(0x100, StartInfoSize)); ok {
			s.Module(m.at)
			for i := range s.Ranges {
				if r, ok := s.Range(m.at, i); ok && r.High < r.Low {
					t.Fatalf("%+v", r)
				}
			}
		}
		for w, rest, ok := CommandLine(b).Next(); ok; w, rest, ok = rest.Next() {
			if base, irq, ok := MMIO(w); ok && (base == 0 || irq > 255) {
				t.Fatalf("%q: %#x %d", w, base, irq)
			}
		}
	})
}
