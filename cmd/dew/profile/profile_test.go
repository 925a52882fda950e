package profile

import (
	"encoding/binary"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

func encode(v ...uint64) []byte {
	var b []byte
	for _, n := range v {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return b
}

// symbols are those of this test's own ELF, and an address in it.
func symbols(t testing.TB) (*Symbols, uint64) {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenSymbols(path)
	if err != nil {
		t.Fatal(err)
	}
	return s, uint64(reflect.ValueOf(runtime.GC).Pointer()) + 1
}

func TestCPU(t *testing.T) {
	s, pc := symbols(t)
	p, err := CPU(encode(3, 0, 100, 5, 1, 7, pc, pc+8, 4, 2, 0, 99), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CheckValid(); err != nil {
		t.Fatal(err)
	}
	if len(p.Sample) != 1 || p.Sample[0].Value[0] != 7 || p.Sample[0].Value[1] != 70_000_000 {
		t.Fatal(p)
	}
	if line := p.Sample[0].Location[0].Line; len(line) != 1 || line[0].Function.Name != "runtime.GC" || !strings.HasSuffix(line[0].Function.Filename, "mgc.go") {
		t.Errorf("%+v", line)
	}
}

func TestHeap(t *testing.T) {
	s, pc := symbols(t)
	p, err := Heap(encode(1, 300, 100, 3, 1, 1, pc, 4096, 4096, 1, 1, 0), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CheckValid(); err != nil {
		t.Fatal(err)
	}
	if got := p.Sample[0].Value; !reflect.DeepEqual(got, []int64{3, 300, 2, 200}) {
		t.Error(got)
	}
	if got := p.Sample[1].Value; !reflect.DeepEqual(got, []int64{1, 4096, 0, 0}) {
		t.Error(got)
	}
}

func TestScaleOfSmallObjects(t *testing.T) {
	count, size := scale(1, 16, 512<<10)
	if count < 32000 || count > 34000 || size/count != 16 && size/count != 15 {
		t.Error(count, size)
	}
}

func TestDamageIsRefused(t *testing.T) {
	for name, b := range map[string][]byte{
		"empty": nil, "odd": {1}, "no period": encode(3, 0, 0), "cut": encode(3, 0, 100, 9, 0, 1, 1),
		"long": encode(3, 0, 100, 1<<63, 0, 1, 1), "short": encode(3, 0, 100, 2, 0, 1),
	} {
		if p, err := CPU(b, nil); err == nil {
			t.Errorf("CPU %s: %v", name, p)
		}
	}
	for name, b := range map[string][]byte{"empty": nil, "cut": encode(1, 2), "long": encode(1, 1, 1, 1, 1, 1<<40)} {
		if p, err := Heap(b, nil); err == nil {
			t.Errorf("heap %s: %v", name, p)
		}
	}
}

// FuzzProfiles: what a guest sends is an error or a valid profile.
func FuzzProfiles(f *testing.F) {
	f.Add(encode(3, 0, 100, 5, 1, 7, 0x401000, 0x401008, 4, 2, 0, 99))
	f.Add(encode(512<<10, 300, 100, 3, 1, 1, 0x401000))
	s, _ := symbols(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, read := range []func([]byte, *Symbols) (interface{ CheckValid() error }, error){
			func(b []byte, s *Symbols) (interface{ CheckValid() error }, error) { return CPU(b, s) },
			func(b []byte, s *Symbols) (interface{ CheckValid() error }, error) { return Heap(b, s) },
		} {
			p, err := read(b, s)
			if err != nil {
				continue
			}
			if err := p.CheckValid(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
