package packet

import "math/bits"

// Sum is a ones' complement sum of big-endian 16-bit words (RFC 1071), folded
// to 16 bits and not complemented. Sums of even-length pieces add up with Add.
type Sum uint16

// Add returns the sum of both.
func (s Sum) Add(t Sum) Sum {
	n := uint32(s) + uint32(t)
	return Sum(n>>16 + n&0xffff)
}

// Add32 adds a 32-bit number as two words.
func (s Sum) Add32(n uint32) Sum { return s.Add(Sum(n >> 16)).Add(Sum(n)) }

// SumOf sums b, padded with a zero byte where its length is odd.
//
// The words are added in the byte order of the machine, eight bytes at a time:
// a ones' complement sum comes out byte-swapped then (RFC 1071 section 2).
func SumOf(b []byte) Sum {
	var sum, carry uint64
	for len(b) >= 32 {
		sum, carry = bits.Add64(sum, le64(b), carry)
		sum, carry = bits.Add64(sum, le64(b[8:]), carry)
		sum, carry = bits.Add64(sum, le64(b[16:]), carry)
		sum, carry = bits.Add64(sum, le64(b[24:]), carry)
		b = b[32:]
	}
	for len(b) >= 8 {
		sum, carry = bits.Add64(sum, le64(b), carry)
		b = b[8:]
	}
	var last uint64
	for i, v := range b {
		last |= uint64(v) << (8 * i)
	}
	sum, carry = bits.Add64(sum, last, carry)
	sum, carry = bits.Add64(sum, 0, carry)
	sum += carry
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>32 + sum&0xffffffff
	n := uint32(sum>>16 + sum&0xffff)
	n = n>>16 + n&0xffff
	return Sum(bits.ReverseBytes16(uint16(n)))
}

// Pseudo is the sum of the header that TCP and UDP put in front of themselves
// for their checksum; length counts their own header and the payload.
func Pseudo(src, dst [4]byte, proto uint8, length int) Sum {
	s := Sum(be16(src[:])).Add(Sum(be16(src[2:])))
	s = s.Add(Sum(be16(dst[:]))).Add(Sum(be16(dst[2:])))
	return s.Add(Sum(proto)).Add32(uint32(length))
}

func be16(b []byte) uint16 { return uint16(b[1]) | uint16(b[0])<<8 }

func be32(b []byte) uint32 {
	return uint32(b[3]) | uint32(b[2])<<8 | uint32(b[1])<<16 | uint32(b[0])<<24
}

func le16(b []byte) uint16 { return uint16(b[0]) | uint16(b[1])<<8 }

func le64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

func putBE16(b []byte, v uint16) { b[0], b[1] = byte(v>>8), byte(v) }

func putBE32(b []byte, v uint32) {
	b[0], b[1], b[2], b[3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
}

func putLE16(b []byte, v uint16) { b[0], b[1] = byte(v), byte(v>>8) }
