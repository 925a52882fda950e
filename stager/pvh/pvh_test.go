package pvh

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/arch/x86/x86asm"

	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/droplet/droplettest"
)

var update = flag.Bool("update", false, "write the golden files anew")

var example = target{self: 0x400900, tables: 0x612000, entry: 0x480b60}

func TestStubBytesAreItsText(t *testing.T) {
	for _, s := range example.code(0x4009c0) {
		inst, err := x86asm.Decode([]byte(s.bytes), 32)
		if err != nil || inst.Len != len(s.bytes) {
			t.Errorf("% x: %v, %d bytes, want %q", s.bytes, err, inst.Len, s.text)
			continue
		}
		if got := strings.ToLower(x86asm.IntelSyntax(inst, 0, nil)); got != s.text {
			t.Errorf("% x reads %q, want %q", s.bytes, got, s.text)
		}
	}
}

// program is the smallest ELF that Convert takes: a note of the Go linker, text with
// the anchor, and the header of a stack.
func program() []byte {
	le := binary.LittleEndian
	b := droplettest.Linked("\x04\x00\x00\x00\x20\x00\x00\x00\x04\x00\x00\x00Go\x00\x00build-id-build-id-build-id-build", uint32(elf.PT_GNU_STACK))
	copy(b[0x1800:], magic)
	le.PutUint64(b[0x1810:], 0x401040)
	le.PutUint64(b[0x1818:], 0x402010)
	return b
}

// dump is what of an ELF the conversion may change, readable.
func dump(t testing.TB, b []byte) string {
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var s strings.Builder
	fmt.Fprintf(&s, "entry %#x\n", f.Entry)
	for _, p := range f.Progs {
		fmt.Fprintf(&s, "%-12v %-9v off %#06x vaddr %#x paddr %#x filesz %#x memsz %#x\n",
			p.Type, strings.ReplaceAll(p.Flags.String(), "PF_", ""), p.Off, p.Vaddr, p.Paddr, p.Filesz, p.Memsz)
	}
	entry, ok, err := droplet.PVHEntry(f)
	fmt.Fprintf(&s, "PVH entry %#x %v %v\n", entry, ok, err)
	if ok {
		code := b[entry-0x400000 : 0xf80]
		for off := 0; ; {
			inst, err := x86asm.Decode(code[off:], 32)
			if err != nil {
				break
			}
			fmt.Fprintf(&s, "  %#x  %-28x %s\n", int(entry)+off, code[off:off+inst.Len], strings.ToLower(x86asm.IntelSyntax(inst, 0, nil)))
			off += inst.Len
			if inst.Op == x86asm.LJMP {
				break
			}
		}
	}
	return s.String()
}

func TestConvertedProgramReadsAsTheGoldenFile(t *testing.T) {
	in := program()
	before := bytes.Clone(in)
	out, err := Convert(in)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(in, before) {
		t.Error("the input was changed")
	}
	if !bytes.Equal(out[0x1000:], in[0x1000:]) || len(out) != len(in) {
		t.Error("something behind the header page changed")
	}
	got := dump(t, out)
	const golden = "testdata/converted.txt"
	if *update {
		os.WriteFile(golden, []byte(got), 0o644)
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestConvertRefuses(t *testing.T) {
	le := binary.LittleEndian
	for name, c := range map[string]struct {
		spoil func([]byte) []byte
		want  error
	}{
		"no anchor":        {func(b []byte) []byte { b[0x1800] = 0; return b }, ErrNoAnchor},
		"already done":     {func(b []byte) []byte { b, _ = Convert(b); return b }, errTwice},
		"a full page":      {func(b []byte) []byte { le.PutUint64(b[64+8:], 0x150); return b }, errRoom},
		"PIE":              {func(b []byte) []byte { b[16] = 3; return b }, errKind},
		"another machine":  {func(b []byte) []byte { b[18] = 183; return b }, errKind},
		"32 bits":          {func(b []byte) []byte { b[4] = 1; return b }, nil},
		"an interpreter":   {func(b []byte) []byte { le.PutUint32(b[64+56*3:], 3); return b }, errKind},
		"no note":          {func(b []byte) []byte { le.PutUint32(b[64:], 0); return b }, errKind},
		"two notes":        {func(b []byte) []byte { le.PutUint32(b[64+56*3:], 4); return b }, errKind},
		"notes elsewhere":  {func(b []byte) []byte { le.PutUint64(b[64+8:], 0x2f80); return b }, errKind},
		"two anchors":      {func(b []byte) []byte { copy(b[0x1a00:], b[0x1800:0x1820]); return b }, nil},
		"entry in data":    {func(b []byte) []byte { le.PutUint64(b[0x1810:], 0x402100); return b }, nil},
		"tables too far":   {func(b []byte) []byte { le.PutUint64(b[0x1818:], 0x409000); return b }, nil},
		"entry too high":   {func(b []byte) []byte { le.PutUint64(b[0x1810:], 1<<40); return b }, nil},
		"empty":            {func(b []byte) []byte { return nil }, errKind},
		"something in gap": {func(b []byte) []byte { b[0xf00] = 1; return b }, errTwice},
	} {
		out, err := Convert(c.spoil(program()))
		if err == nil || out != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestTheStubFitsWhereverTheHeadersEnd(t *testing.T) {
	for free := uint64(0x190); free < 0xe00; free += 13 {
		l := layout{base: 0x400000, note: 0xf80, free: free, target: example}
		if err := l.place(); err != nil {
			t.Fatalf("headers end at %#x: %v", free, err)
		}
		if at := uint64(l.target.self) - l.base; at < free || at%16 != 0 || at+uint64(len(l.target.assemble())) > l.note-noteSize {
			t.Fatalf("headers end at %#x, stub at %#x", free, at)
		}
	}
}

// FuzzConvert: an error, or a valid ELF that names its entry, differs from the
// input in the header page only, and is refused a second time.
func FuzzConvert(f *testing.F) {
	f.Add(program())
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := Convert(b)
		if (err == nil) != (out != nil) {
			t.Fatalf("%d bytes and %v", len(out), err)
		}
		if err != nil {
			return
		}
		if len(out) != len(b) || !bytes.Equal(out[headerPage:], b[headerPage:]) {
			t.Fatal("changed more than the header page")
		}
		f, err := elf.NewFile(bytes.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok, err := droplet.PVHEntry(f); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if _, err := Convert(out); err == nil {
			t.Fatal("converted twice")
		}
	})
}
