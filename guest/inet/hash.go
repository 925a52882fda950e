package inet

import "math/bits"

// flow is a connection's name, from our side.
type flow struct {
	local, peer         [4]byte
	localPort, peerPort uint16
}

func (f flow) words() (a, b uint64) {
	return uint64(ip32(f.local))<<32 | uint64(ip32(f.peer)), uint64(f.localPort)<<16 | uint64(f.peerPort)
}

func ip32(a [4]byte) uint32 {
	return uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
}

// key is a secret of the stack. Each use has its own.
type key struct{ k0, k1 uint64 }

// sum is SipHash-2-4 of three words (Aumasson, Bernstein: SipHash, 2012),
// without the length that tells inputs of different sizes apart: all have one.
func (k key) sum(a, b, c uint64) uint64 {
	v0, v1 := k.k0^0x736f6d6570736575, k.k1^0x646f72616e646f6d
	v2, v3 := k.k0^0x6c7967656e657261, k.k1^0x7465646279746573
	for _, m := range [...]uint64{a, b, c} {
		v3 ^= m
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0 ^= m
	}
	v2 ^= 0xff
	for range 4 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	return v0 ^ v1 ^ v2 ^ v3
}

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}

// keys are the stack's secrets, from the seed of the boot record.
type keys struct {
	isn, stamp, port, cookie, choice key
}

func newKeys(seed [32]byte) keys {
	word := func(i int) (n uint64) {
		for _, b := range seed[i*8 : i*8+8] {
			n = n<<8 | uint64(b)
		}
		return n
	}
	root := key{word(0), word(1)}
	next := uint64(0)
	derive := func() key {
		next += 2
		return key{root.sum(word(2), word(3), next), root.sum(word(2), word(3), next+1)}
	}
	return keys{derive(), derive(), derive(), derive(), derive()}
}

// sequence is the initial sequence number of a connection: a clock of 4 µs, at
// an offset that only we know (RFC 6528 section 3).
func (k *keys) sequence(f flow, now int64) uint32 {
	a, b := f.words()
	return uint32(k.isn.sum(a, b, 0)) + uint32(now>>12)
}

// stampOffset is where the connection's timestamps begin (RFC 7323 section 7.1).
func (k *keys) stampOffset(f flow) uint32 {
	a, b := f.words()
	return uint32(k.stamp.sum(a, b, 0))
}
