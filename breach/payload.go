package breach

import (
	"encoding/binary"
)

// payload is the smallest x86-64 Linux program that writes text to stdout and
// exits. The text is not in its bytes as it is, so that only who runs it knows
// it.
func payload(text string) []byte {
	const base, header, phdr = 0x400000, 64, 56
	const veil = 0x5a
	code := []byte{
		0x48, 0x8d, 0x35, 0, 0, 0, 0, // lea rsi, [rip+text]
		0xb9, 0, 0, 0, 0, // mov ecx, length
		0x80, 0x74, 0x0e, 0xff, veil, // xor byte [rsi+rcx-1], veil
		0xe2, 0xf9, // loop to the xor
		0xba, 0, 0, 0, 0, // mov edx, length
		0xb8, 1, 0, 0, 0, // mov eax, write
		0x89, 0xc7, // mov edi, eax: stdout
		0x0f, 0x05, // syscall
		0xb8, 60, 0, 0, 0, // mov eax, exit
		0x31, 0xff, // xor edi, edi
		0x0f, 0x05, // syscall
	}
	le := binary.LittleEndian
	le.PutUint32(code[3:], uint32(len(code)-7))
	le.PutUint32(code[8:], uint32(len(text)))
	le.PutUint32(code[20:], uint32(len(text)))
	for _, c := range []byte(text) {
		code = append(code, c^veil)
	}
	b := []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	for _, v := range []uint16{2, 62, 1, 0} { // executable, x86-64, version
		b = le.AppendUint16(b, v)
	}
	for _, v := range []uint64{base + header + phdr, header, 0} {
		b = le.AppendUint64(b, v)
	}
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{header, phdr, 1, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(le.AppendUint32(b, 1), 7) // one segment: all of it, to be changed and run
	size := uint64(header + phdr + len(code))
	for _, v := range []uint64{0, base, base, size, size, 4096} {
		b = le.AppendUint64(b, v)
	}
	return append(b, code...)
}
