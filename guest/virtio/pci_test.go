package virtio

import (
	"encoding/binary"
	"testing"
)

// space is one function's configuration space.
type space [256]byte

func (s *space) config() Config {
	return Config{Read: func(fn uint32, at uint8) uint32 {
		if fn != 3<<3 {
			return 0xffffffff
		}
		return binary.LittleEndian.Uint32(s[at&^3:])
	}}
}

func (s *space) put32(at int, v uint32) { binary.LittleEndian.PutUint32(s[at:], v) }

// modern is a virtio-net-pci of QEMU: capabilities in BARs 1 and 4.
func modern() *space {
	s := new(space)
	s.put32(0, 0x1041<<16|0x1af4)
	s.put32(4, statusHasCaps)
	s.put32(0x14, 0xfebd1000) // BAR 1, 32 bits
	s.put32(0x20, 0xfe00000c) // BAR 4, 64 bits
	s.put32(0x34, 0x98)
	s.put32(0x98, 0x80030000|0x8411) // MSI-X, next 0x84
	s.put32(0x9c, 1)
	cap := func(at, next, kind, length int, offset, size uint32) {
		s.put32(at, uint32(kind)<<24|uint32(length)<<16|uint32(next)<<8|0x09)
		s.put32(at+4, 4)
		s.put32(at+8, offset)
		s.put32(at+12, size)
	}
	cap(0x84, 0x70, 5, 20, 0, 0)
	cap(0x70, 0x60, 2, 20, 0x3000, 0x1000)
	s.put32(0x80, 4)
	cap(0x60, 0x50, 4, 16, 0x2000, 0x1000)
	cap(0x50, 0x40, 3, 16, 0x1000, 0x1000)
	cap(0x40, 0, 1, 16, 0, 0x1000)
	return s
}

func TestCapabilitiesAreFound(t *testing.T) {
	f, ok := modern().config().probe(3 << 3)
	want := function{kind: TypeNetwork, common: window{0xfe000000, 0x1000}, notify: window{0xfe003000, 0x1000},
		device: window{0xfe002000, 0x1000}, scale: 4, msix: 0xfebd1000, msixCap: 0x98}
	if !ok || f != want {
		t.Errorf("%v %+v", ok, f)
	}
}

func TestOtherFunctionsAreLeftAlone(t *testing.T) {
	for name, spoil := range map[string]func(*space){
		"another vendor":   func(s *space) { s.put32(0, 0x10411234) },
		"a legacy device":  func(s *space) { s.put32(0, 0x10001af4) },
		"no capabilities":  func(s *space) { s.put32(4, 0) },
		"no MSI-X":         func(s *space) { s.put32(0x34, 0x84) },
		"an I/O BAR":       func(s *space) { s.put32(0x20, 0xc001) },
		"no BAR there":     func(s *space) { s.put32(0x44, 7) },
		"a short common":   func(s *space) { s.put32(0x4c, 8) },
		"absent":           func(s *space) { s.put32(0, 0xffffffff) },
		"a loop of itself": func(s *space) { s.put32(0x98, 0x98<<8|0x13) },
	} {
		s := modern()
		spoil(s)
		if f, ok := s.config().probe(3 << 3); ok {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func FuzzCapabilities(f *testing.F) {
	f.Add(modern()[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		var s space
		copy(s[:], b)
		if g, ok := s.config().probe(3 << 3); ok && (g.common.phys == 0 || g.notify.phys == 0 || g.common.length < 0x38) {
			t.Fatalf("%+v", g)
		}
	})
}
