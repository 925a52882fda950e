package kernel

import (
	"debug/elf"
	"encoding/binary"
	"os"
	"reflect"
	"testing"
	"unsafe"

	"github.com/dewpaas/dew/guest/mem"
	"github.com/dewpaas/dew/guest/thread"
)

func TestTheAnchorIsInThisBinary(t *testing.T) {
	a := (*[4]uint64)(unsafe.Add(nil, linked()))
	if string((*[16]byte)(unsafe.Pointer(a))[:]) != "\x7fdew.pvhkernel.1" || a[2] == 0 || a[3] == 0 {
		t.Errorf("%#x", a)
	}
}

func TestVectorsAreFiveBytesApart(t *testing.T) {
	code := unsafe.Slice((*byte)(unsafe.Add(nil, uintptr(vectorsAddr()))), vectorStep*64)
	for i := 0; i < len(code); i += vectorStep {
		if code[i] != 0xe8 {
			t.Fatalf("vector %d does not begin with a call: % x", i/vectorStep, code[i:i+vectorStep])
		}
	}
}

func TestStacksAreAligned(t *testing.T) {
	c := &cpus[1]
	prepareBoot(c)
	if c.top%64 != 0 || c.g[1] != c.top || c.g[2] != c.g[0]+guard || c.tls[0] != uint64(uintptr(unsafe.Pointer(&c.g))) ||
		c.current != uint64(uintptr(unsafe.Pointer(&c.idle))) || c.self != uint64(uintptr(unsafe.Pointer(c))) {
		t.Errorf("%+v", c.g[:4])
	}
	*c = perCPU{}
}

// The runtime's g must begin as prepareBoot fills it.
func TestFirstFieldsOfG(t *testing.T) {
	if reflect.TypeOf(perCPU{}.g).Size() < 440 {
		t.Error("perCPU.g is shorter than runtime.g of Go 1.26")
	}
}

// TestTheRuntimeFindsTheClock reads the image as runtime/vdso_linux.go does.
func TestTheRuntimeFindsTheClock(t *testing.T) {
	var page [mem.PageSize]byte
	const routine = 0x481234
	fillVDSO(&page, routine)
	word := func(at int) uint64 { return binary.LittleEndian.Uint64(page[at:]) }
	if string(page[:4]) != elf.ELFMAG || word(32) != 64 || page[56] != 2 {
		t.Fatal("no ELF")
	}
	dynamic := map[uint64]uint64{}
	for at := int(word(128)); word(at) != 0; at += 16 {
		dynamic[word(at)] = word(at + 8)
	}
	symbol := int(dynamic[uint64(elf.DT_SYMTAB)]) + 24
	name := string(page[int(dynamic[uint64(elf.DT_STRTAB)])+int(page[symbol]):][:len(vdsoName)])
	if name != vdsoName || page[symbol+4] != 0x12 || page[symbol+6] == 0 {
		t.Errorf("symbol %q % x", name, page[symbol:symbol+24])
	}
	if got := word(symbol+8) + vdsoBase; got != routine {
		t.Errorf("at %#x", got)
	}
}

// TestTheClockTellsTime runs the routine that programs call, as a Go function.
func TestTheClockTellsTime(t *testing.T) {
	clock = clockData{begin: 0, scale: 1 << 32, wall: 5_000_000_000}
	defer func() { clock = clockData{} }()
	if a, b := now(), now(); b <= a {
		t.Errorf("%d then %d", a, b)
	}
}

func TestDecimals(t *testing.T) {
	var text [bootString]byte
	n := appendDecimal(&text, 0, 0)
	n = appendDecimal(&text, n, 18446744073709551615)
	if string(text[:n]) != "018446744073709551615" {
		t.Errorf("%q", text[:n])
	}
}

func TestRegistersKeepTheirPlaces(t *testing.T) {
	var r thread.Regs
	if rRAX != 0 || unsafe.Offsetof(thread.Thread{}.Regs) != 0 || rXSave != unsafe.Sizeof(r)-8 {
		t.Error("the entry code saves at other offsets")
	}
}

func TestModuleWindows(t *testing.T) {
	m := moduleInfo{phys: 0x7000000, size: 0x5000, image: 0x1000, imageSize: 0x3456, recordSize: 248}
	for fd, want := range map[uint32][2]uint64{8: {0x7000000, 0x1000}, 6: {0x7001000, 0x4000}, 0: {}, 3: {}, 99: {}} {
		if phys, size := m.window(fd); phys != want[0] || size != want[1] {
			t.Errorf("fd %d: %#x %#x", fd, phys, size)
		}
	}
}

func TestEventsComeOnce(t *testing.T) {
	list := make([]byte, 64)
	at := uint64(uintptr(unsafe.Pointer(&list[0])))
	e := events{packet: true, control: true, wake: 3}
	if n := e.take(at, 8); n != 3 || list[4] != 1 || list[16] != 3 || list[28] != 2 {
		t.Errorf("%d events % x", n, list)
	}
	if n := e.take(at, 8); n != 1 || list[4] != 2 {
		t.Errorf("then %d: the wake event stays until it is read, the others do not", n)
	}
	e = events{packet: true, control: true}
	if n := e.take(at, 1); n != 1 || !e.control {
		t.Error("an event was lost for want of room")
	}
}

func TestMain(m *testing.M) {
	k.cpuCount = 1 // so that nobody spins for the lock
	os.Exit(m.Run())
}
