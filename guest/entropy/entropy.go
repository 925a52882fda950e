package entropy

import "math/bits"

// Generator must be mixed before use.
type Generator struct {
	key   [8]uint32
	mixed bool
}

// Mix stirs 32 bytes into the key. What was in it is not lost.
func (g *Generator) Mix(seed *[32]byte) {
	for i := range g.key {
		g.key[i] ^= le32(seed[i*4:])
	}
	g.mixed = true
	g.rekey()
}

// MixWord stirs one number in.
func (g *Generator) MixWord(v uint64) {
	g.key[0] ^= uint32(v)
	g.key[1] ^= uint32(v >> 32)
	g.rekey()
}

// rekey replaces the key by its own key stream.
func (g *Generator) rekey() {
	var out [64]byte
	block(&out, &g.key, 0)
	for i := range g.key {
		g.key[i] = le32(out[i*4:])
	}
}

// Read fills b and tells whether it could.
func (g *Generator) Read(b []byte) bool {
	if !g.mixed {
		return false
	}
	var out [64]byte
	for n := uint32(1); len(b) > 0; n++ {
		block(&out, &g.key, n)
		b = b[copy(b, out[:]):]
	}
	clear(out[:])
	g.rekey()
	return true
}

// block is the ChaCha20 block function with a zero nonce.
func block(out *[64]byte, key *[8]uint32, counter uint32) {
	in := [16]uint32{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574,
		key[0], key[1], key[2], key[3], key[4], key[5], key[6], key[7], counter}
	x := in
	for range 10 {
		quarter(&x, 0, 4, 8, 12)
		quarter(&x, 1, 5, 9, 13)
		quarter(&x, 2, 6, 10, 14)
		quarter(&x, 3, 7, 11, 15)
		quarter(&x, 0, 5, 10, 15)
		quarter(&x, 1, 6, 11, 12)
		quarter(&x, 2, 7, 8, 13)
		quarter(&x, 3, 4, 9, 14)
	}
	for i := range x {
		v := x[i] + in[i]
		out[i*4], out[i*4+1], out[i*4+2], out[i*4+3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
	}
}

func quarter(x *[16]uint32, a, b, c, d int) {
	x[a] += x[b]
	x[d] = bits.RotateLeft32(x[d]^x[a], 16)
	x[c] += x[d]
	x[b] = bits.RotateLeft32(x[b]^x[c], 12)
	x[a] += x[b]
	x[d] = bits.RotateLeft32(x[d]^x[a], 8)
	x[c] += x[d]
	x[b] = bits.RotateLeft32(x[b]^x[c], 7)
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}
