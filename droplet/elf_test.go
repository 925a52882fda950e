package droplet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

func TestProgramsAreChecked(t *testing.T) {
	le := binary.LittleEndian
	p32 := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint32(b[at:], v); return b }
	}
	p64 := func(at int, v uint64) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint64(b[at:], v); return b }
	}
	const note, text, data = 64, 64 + 56, 64 + 112
	for name, spoil := range map[string]func([]byte) []byte{
		"empty":                 func([]byte) []byte { return nil },
		"text":                  func([]byte) []byte { return []byte("#!/bin/sh\n") },
		"32 bits":               func(b []byte) []byte { b[4] = 1; return b },
		"another machine":       func(b []byte) []byte { b[18] = 183; return b },
		"PIE":                   func(b []byte) []byte { b[16] = 3; return b },
		"interpreter":           p32(note, 3),
		"dynamic":               p32(note, 2),
		"no PVH note":           p32(0xf88, 17),
		"PVH entry in data":     p64(0xf90, 0x402000),
		"PVH entry nowhere":     p64(0xf90, 1<<33),
		"entry in data":         p64(24, 0x402000),
		"entry nowhere":         p64(24, 0),
		"longer than the file":  p64(data+32, 0x1001),
		"offset past the file":  p64(data+8, 1<<62),
		"file more than memory": p64(data+40, 0xfff),
		"memory wraps":          p64(data+40, 1<<63),
		"memory too high":       p64(data+40, 1<<32),
		"page zero":             p64(text+16, 0),
		"kernel address":        p64(data+16, 0xffffffff80002000),
		"physical elsewhere":    p64(data+24, 0x402000+4096),
		"overlap":               p64(text+40, 0x2001),
		"not congruent":         p64(data+16, 0x402010),
		"writable code":         p32(text+4, 7),
		"cut":                   func(b []byte) []byte { return b[:len(b)-1] },
		"headers past the end":  p64(32, 0x2ff0),
	} {
		b := spoil(program(""))
		if err := checkProgram(bytes.NewReader(b), int64(len(b))); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := program("")
	check(t, checkProgram(bytes.NewReader(b), int64(len(b))))
}

// FuzzProgram: refused as invalid, or loadable without a look at any other byte.
func FuzzProgram(f *testing.F) {
	f.Add(program("seed"))
	f.Add(program("")[:0x1000])
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		err := checkProgram(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		if len(b) < 64 || string(b[:4]) != "\x7fELF" {
			t.Fatal("accepted what is no ELF")
		}
	})
}
