package blob

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"runtime"
	"strings"
	"testing"
)

// raw writes a zip byte by byte, which package zip would not: what the headers say
// need not be true.
type raw struct {
	bytes.Buffer
	directory bytes.Buffer
	entries   int
}

// file is what both headers say of one entry.
type file struct {
	name                 string
	method, flags        uint16
	crc                  uint32
	compressed, expanded uint32
	attributes           uint32 // the upper half is Unix's mode
	extra                []byte
	at                   uint32 // of its local header
}

func stored(name, body string) file {
	return file{name: name, crc: crc32.ChecksumIEEE([]byte(body)), compressed: uint32(len(body)), expanded: uint32(len(body)), attributes: 0o100644 << 16}
}

// put writes numbers of any size, and text.
func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		switch v := v.(type) {
		case string:
			b.WriteString(v)
		case []byte:
			b.Write(v)
		default:
			binary.Write(b, binary.LittleEndian, v)
		}
	}
}

// body writes a local header and what follows it.
func (r *raw) body(f file, body string) file {
	f.at = uint32(r.Len())
	put(&r.Buffer, "PK\x03\x04", uint16(20), f.flags, f.method, uint32(0), f.crc, f.compressed, f.expanded, uint16(len(f.name)), uint16(0), f.name, body)
	return f
}

// list writes an entry of the directory.
func (r *raw) list(f file) {
	r.entries++
	put(&r.directory, "PK\x01\x02", uint16(3<<8|20), uint16(20), f.flags, f.method, uint32(0), f.crc, f.compressed, f.expanded,
		uint16(len(f.name)), uint16(len(f.extra)), uint16(0), uint16(0), uint16(0), f.attributes, f.at, f.name, f.extra)
}

func (r *raw) zip() []byte {
	at := uint32(r.Len())
	r.Write(r.directory.Bytes())
	put(&r.Buffer, "PK\x05\x06", uint16(0), uint16(0), uint16(r.entries), uint16(r.entries), uint32(r.directory.Len()), at, uint16(0))
	return r.Bytes()
}

// one is a zip of one entry, of which change makes something else.
func one(name, body string, change func(*file)) []byte {
	r := new(raw)
	f := stored(name, body)
	change(&f)
	r.list(r.body(f, body))
	return r.zip()
}

// overlapping lists one file many times.
func overlapping(n int, quoted bool) []byte {
	r := new(raw)
	body := strings.Repeat("0", 1000)
	f := r.body(stored("0", body), body)
	for i := range n {
		f.name = fmt.Sprint(i)
		if quoted && i > 0 { // a local header inside the bytes of the one before
			f.at++
		}
		r.list(f)
	}
	return r.zip()
}

func TestHostileZips(t *testing.T) {
	none := func(*file) {}
	zip64 := func(size uint64) func(*file) {
		return func(f *file) {
			f.expanded = math.MaxUint32
			var b bytes.Buffer
			put(&b, uint16(1), uint16(8), size) // APPNOTE 4.5.3
			f.extra = b.Bytes()
		}
	}
	for say, c := range map[string]struct {
		zip  []byte
		want string // "": it is taken
	}{
		"as it should be":            {one("a", "text", none), ""},
		"names that differ in case":  {pack(t, entry{"A", 0o644, "1"}, entry{"a", 0o644, "2"}), ""}, // two files, as on Linux
		"a name with a line end":     {one("a\nb", "text", none), ""},
		"a name that is not UTF-8":   {one("\xff\xfe", "text", none), "not UTF-8"},
		"a name that is too long":    {one("a/"+strings.Repeat("a", 256), "x", none), "between two slashes"},
		"zip64":                      {one("a", "text", zip64(4)), ""},
		"bytes in front":             {append([]byte("#!/bin/sh\n"), one("a", "text", none)...), ""}, // a self-extracting one
		"the same name twice":        {pack(t, entry{"a", 0o644, "1"}, entry{"a", 0o644, "2"}), "twice"},
		"a file and a folder":        {pack(t, entry{"a", 0o644, "1"}, entry{"a/", fs.ModeDir | 0o755, ""}), "twice"},
		"an absolute name":           {one("/etc/passwd", "x", none), "leaves"},
		"a name that goes up":        {one("a/../../x", "x", none), "leaves"},
		"a name that is only up":     {one("..", "x", none), "leaves"},
		"a backslash":                {one("..\\x", "x", none), "leaves"},
		"a drive":                    {one("c:\\x", "x", none), "leaves"},
		"an empty name":              {one("", "x", none), "leaves"},
		"a name with a zero byte":    {one("a\x00b", "x", none), "leaves"},
		"a very long name":           {one(strings.Repeat("a/", 2500)+"x", "x", none), "leaves"},
		"a link that leaves":         {pack(t, entry{"l", fs.ModeSymlink | 0o777, "../x"}), "leaves"},
		"a file below a link":        {pack(t, entry{"l", fs.ModeSymlink | 0o777, "d"}, entry{"l/x", 0o644, ""}), "no folder"},
		"a block device":             {one("d", "", func(f *file) { f.attributes = 0o060644 << 16 }), "device"},
		"a pipe":                     {one("p", "", func(f *file) { f.attributes = 0o010644 << 16 }), "device"},
		"a wrong checksum":           {one("a", "text", func(f *file) { f.crc++ }), "checksum"},
		"a size that is too small":   {one("a", "text", func(f *file) { f.expanded = 3 }), "not a valid zip"},
		"a size that is too large":   {one("a", "text", func(f *file) { f.expanded = 5 }), "EOF"},
		"more bytes than there are":  {one("a", "text", func(f *file) { f.compressed = 1 << 30 }), "not a valid zip"},
		"zip64 with a wrong size":    {one("a", "text", zip64(1<<62)), "EOF"},
		"zip64 with a negative size": {one("a", "text", zip64(1<<63)), ""},
		"an unknown method":          {one("a", "text", func(f *file) { f.method = 99 }), "unsupported"},
		"encrypted":                  {one("a", "text", func(f *file) { f.flags, f.method = 1, zip.Deflate }), "EOF"},
		"one file listed twice":      {overlapping(2, false), "overlap"},
		"one file in another":        {overlapping(2, true), "not a valid zip"},
		"no directory":               {one("a", "text", none)[:30], "not a zip"},
		"a cut directory":            {one("a", "text", none)[:80], "not a zip"},
		"nothing":                    {nil, "not a zip"},
	} {
		err := Check(bytes.NewReader(c.zip), int64(len(c.zip)), small)
		if say == "zip64 with a negative size" { // whatever it says
			c.want = "zip"
		}
		if (err == nil) != (c.want == "") || err != nil && (!errors.Is(err, ErrZip) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", say, err, c.want)
		}
	}
}

// Without the look for overlaps, the same bytes are inflated again and again, and
// copied when a zip is put together from several.
func TestOverlapsWouldBeABomb(t *testing.T) {
	data := overlapping(200, false)
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	total := uint64(0)
	for _, f := range z.File {
		total += f.UncompressedSize64
	}
	if total < 10*uint64(len(data)) {
		t.Fatalf("%d bytes of %d: the test proves nothing", total, len(data))
	}
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	old, err := s.PutZip(bytes.NewReader(pack(t, entry{"a", 0o644, "text"})), 1<<20, nil, nil, small)
	if err != nil {
		t.Fatal(err)
	}
	wide := Limits{Bytes: 1 << 30, Files: 1000}
	wants := []Want{{s.fileOf(t, old), "b", 0o644}}
	if _, err := s.PutZip(bytes.NewReader(data), 1<<20, []string{old}, wants, wide); !errors.Is(err, ErrZip) || !strings.Contains(err.Error(), "overlap") {
		t.Errorf("put together with an older one: %v", err)
	}
}

// fileOf is a file that a kept zip has.
func (s *Store) fileOf(t *testing.T, sum string) (f File) {
	t.Helper()
	x := s.index(sum)
	if len(x) == 0 {
		t.Fatal("the zip has no index")
	}
	copy(f.SHA1[:], x)
	f.Size = int64(binary.BigEndian.Uint64(x[len(f.SHA1):]))
	return f
}

// A directory of a million entries is refused before they fill memory, though the
// end record says that there are few.
func TestAnEndlessDirectory(t *testing.T) {
	r := new(raw)
	f := stored("", "")
	for range 1 << 20 {
		r.list(f)
	}
	data := r.zip()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := Check(bytes.NewReader(data), int64(len(data)), Limits{Bytes: 1 << 30, Files: 100_000})
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrZip) || !strings.Contains(err.Error(), "directory is too long") {
		t.Error(err)
	}
	// What is allocated before it is known; without the bound twice as much for
	// each million entries, and an upload may have twenty.
	if took := after.TotalAlloc - before.TotalAlloc; took > 600<<20 {
		t.Errorf("it took %d MiB", took>>20)
	}
}
