package droplettest

import "encoding/binary"

// Program is a small static ELF with a PVH note, whose text is mark.
func Program(mark string) []byte {
	b := Linked("\x04\x00\x00\x00\x08\x00\x00\x00\x12\x00\x00\x00Xen\x00\x00\x09\x40\x00\x00\x00\x00\x00")
	copy(b[0x1000:], mark)
	return b
}

// Linked is a small static ELF laid out as by the Go linker: headers and the note in
// the first page, text from 0x1000 and data from 0x2000 on, both empty. Its program
// headers are of the note, text and data; more, of these types, come after them.
func Linked(note string, more ...uint32) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0x3000)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 2)
	le.PutUint16(b[18:], 62)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], 0x401000)
	le.PutUint64(b[32:], 64)
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], uint16(3+len(more)))
	le.PutUint16(b[58:], 64)
	ph := func(i int, kind, flags uint32, off, filesz, memsz uint64) {
		p := b[64+56*i:]
		le.PutUint32(p, kind)
		le.PutUint32(p[4:], flags)
		le.PutUint64(p[8:], off)
		le.PutUint64(p[16:], 0x400000+off)
		le.PutUint64(p[24:], 0x400000+off)
		le.PutUint64(p[32:], filesz)
		le.PutUint64(p[40:], memsz)
		le.PutUint64(p[48:], 4096)
	}
	size := uint64(len(note))
	ph(0, 4, 4, 0xf80, size, size)
	ph(1, 1, 5, 0, 0x2000, 0x2000)
	ph(2, 1, 6, 0x2000, 0x1000, 0x9000)
	for i, kind := range more {
		ph(3+i, kind, 6, 0, 0, 0)
	}
	copy(b[0xf80:], note)
	return b
}
