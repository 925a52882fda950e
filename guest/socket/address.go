package socket

import (
	"syscall"

	"github.com/dewpaas/dew/guest/inet"
)

// sockaddr is a sockaddr_in that a program gave. It is the one door for them.
type sockaddr struct {
	inet.Addr
	none bool // the family is AF_UNSPEC
}

// parseAddress reads a sockaddr_in: EINVAL when it is too short, EAFNOSUPPORT
// for another family. AF_UNSPEC needs to have no more than the family.
func parseAddress(b []byte) (sockaddr, syscall.Errno) {
	if len(b) < 2 {
		return sockaddr{}, syscall.EINVAL
	}
	family := get16(b)
	if family == syscall.AF_UNSPEC && len(b) < syscall.SizeofSockaddrInet4 {
		return sockaddr{none: true}, 0
	}
	switch {
	case len(b) < syscall.SizeofSockaddrInet4:
		return sockaddr{}, syscall.EINVAL
	case family != syscall.AF_INET && family != syscall.AF_UNSPEC:
		return sockaddr{}, syscall.EAFNOSUPPORT
	}
	return sockaddr{
		Addr: inet.Addr{IP: [4]byte(b[4:8]), Port: uint16(b[2])<<8 | uint16(b[3])},
		none: family == syscall.AF_UNSPEC,
	}, 0
}

// bindAddress is parseAddress for bind(2), where AF_UNSPEC with the address of
// any interface means AF_INET (inet_bind of net/ipv4/af_inet.c).
func bindAddress(b []byte) (inet.Addr, syscall.Errno) {
	a, err := parseAddress(b)
	switch {
	case err != 0:
		return inet.Addr{}, err
	case a.none && (a.IP != [4]byte{} || len(b) < syscall.SizeofSockaddrInet4):
		return inet.Addr{}, syscall.EAFNOSUPPORT
	}
	return a.Addr, 0
}

// putAddress writes as much of a sockaddr_in as fits and returns its full length.
func putAddress(b []byte, a inet.Addr) int {
	var s [syscall.SizeofSockaddrInet4]byte
	put16(s[:], syscall.AF_INET)
	s[2], s[3] = byte(a.Port>>8), byte(a.Port)
	copy(s[4:], a.IP[:])
	copy(b, s[:])
	return len(s)
}

// Native byte order, which on the one architecture is little endian.

func get16(b []byte) uint16 { return uint16(b[0]) | uint16(b[1])<<8 }

func get32(b []byte) uint32 { return uint32(get16(b)) | uint32(get16(b[2:]))<<16 }

func put16(b []byte, v uint16) { b[0], b[1] = byte(v), byte(v>>8) }

func put32(b []byte, v uint32) {
	put16(b, uint16(v))
	put16(b[2:], uint16(v>>16))
}

func append16(b []byte, v uint16) []byte { return append(b, byte(v), byte(v>>8)) }

func append32(b []byte, v uint32) []byte { return append16(append16(b, uint16(v)), uint16(v>>16)) }

func append64(b []byte, v uint64) []byte { return append32(append32(b, uint32(v)), uint32(v>>32)) }

func align4(n int) int { return (n + 3) &^ 3 }

func align8(n int) int { return (n + 7) &^ 7 }

// cString is b up to its first zero byte.
func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// putInt writes a C int, or of one that is shorter as much as fits.
func putInt(value []byte, n int) int {
	var b [4]byte
	put32(b[:], uint32(n))
	return copy(value, b[:])
}
