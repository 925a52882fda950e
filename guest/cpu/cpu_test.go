package cpu

import (
	"strings"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

func TestTrampolineBytesAreItsText(t *testing.T) {
	for _, s := range trampoline {
		inst, err := x86asm.Decode([]byte(s.bytes), 16)
		if err != nil || inst.Len != len(s.bytes) {
			t.Errorf("% x: %v, %d bytes, want %q", s.bytes, err, inst.Len, s.text)
			continue
		}
		if got := strings.ToLower(x86asm.IntelSyntax(inst, 0, nil)); got != s.text {
			t.Errorf("% x reads %q, want %q", s.bytes, got, s.text)
		}
	}
}

func TestTrampolineCarriesItsOperands(t *testing.T) {
	b := Trampoline(0x123000, 0x456780, 0x789abc)
	n := 0
	for _, s := range trampoline {
		n += len(s.bytes)
	}
	if n > trampolineGDT {
		t.Fatalf("%d bytes of code run into the data", n)
	}
	word := func(at int) uint32 {
		return uint32(b[at]) | uint32(b[at+1])<<8 | uint32(b[at+2])<<16 | uint32(b[at+3])<<24
	}
	if word(0x78) != 0x123000 || word(0x7c) != 0x456780 || word(0x80) != 0x789abc || word(0x84) != 8 {
		t.Errorf("%#x %#x %#x:%#x", word(0x78), word(0x7c), word(0x84), word(0x80))
	}
	if word(0x70)&0xffff != 23 || word(0x70)>>16|word(0x74)<<16 != 0x8058 {
		t.Errorf("table register %#x %#x", word(0x70), word(0x74))
	}
}

func TestDescriptors(t *testing.T) {
	if lo, hi := taskDescriptor(0x1122334455667788); lo != 0x5500896677880067 || hi != 0x11223344 {
		t.Errorf("task %#x %#x", lo, hi)
	}
	if lo, hi := gate(0x1122334455667788, 2); lo != 0x55668e0200087788 || hi != 0x11223344 {
		t.Errorf("gate %#x %#x", lo, hi)
	}
	if p := pseudoDescriptor(0x1122334455667788, 40); p != [2]uint64{0x3344556677880027, 0x1122} {
		t.Errorf("pseudo descriptor %#x", p)
	}
}

func TestTablesPointToTheirStacks(t *testing.T) {
	var x Tables
	x.build(0x5000, 0x1_0000_2000, 0x1_0000_3000)
	if x.tss[9] != 0x2000 || x.tss[10] != 1 || x.tss[11] != 0x3000 || x.tss[12] != 1 {
		t.Errorf("%#x", x.tss)
	}
}

func TestScales(t *testing.T) {
	for _, khz := range []uint64{1000, 100_000, 2_100_000, 3_999_999, 5_000_000} {
		s := NewScale(khz)
		for _, ns := range []uint64{0, 1, 1000, 1e9, 3600e9, 365 * 86400e9} {
			want := ns
			got := s.Nanoseconds(s.Cycles(ns))
			if got > want || want-got > 1+1000000/khz {
				t.Errorf("%d kHz: %d ns comes back as %d", khz, ns, got)
			}
		}
		if second := s.Nanoseconds(khz * 1000); second > 1e9 || 1e9-second > 2000 {
			t.Errorf("%d kHz: a second is %d ns", khz, second)
		}
	}
	if NewScale(2_000_000).Cycles(1<<64-1) != 1<<64-1 {
		t.Error("does not saturate")
	}
	if NewScale(0) == 0 {
		t.Error("a clock that stands still")
	}
}

func TestWhatAnyRingMayRun(t *testing.T) {
	if a, b := Cycles(), Cycles(); b <= a {
		t.Errorf("%d then %d", a, b)
	}
	f := Probe()
	if f.XSave && (f.XSaveSize < 576 || f.XSaveSize > 16<<10) {
		t.Errorf("%+v", f)
	}
	var word [2]uint32
	Store32(addressOf(&word[0]), 0x11223344)
	Store16(addressOf(&word[1]), 0x5566)
	Store8(addressOf(&word[1])+2, 0x77)
	if Load32(addressOf(&word[0])) != 0x11223344 || Load16(addressOf(&word[1])) != 0x5566 || Load8(addressOf(&word[1])+2) != 0x77 || word[1] != 0x775566 {
		t.Errorf("%#x", word)
	}
}
