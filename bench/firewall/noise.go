package main

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/vnet"
)

// writeRaw writes a frame. What the kernel does not take is lost, as a flooder
// would have it.
func writeRaw(fd int, frame []byte) { unix.Write(fd, frame) }

// noise are the frames of one sort of flood, behind their virtio headers. Many
// differ in a port, so that each looks like the beginning of another connection.
// The noise is that of one instance, against the first.
func noise(what string, as, n int) [][]byte {
	addr, mac := endpoint(as, 1).Addr, endpoint(as, 1).MAC
	victim := endpoint(0, 0).Addr
	var frames [][]byte
	for i := range uint16(n) {
		var p []byte
		switch what {
		case "datagrams": // allowed, always the same connection
			p = packet(17, addr, victim, 1000, requestPort, 18)
		case "connections": // allowed, each another one
			p = packet(6, addr, victim, 1000+i, requestPort, 0)
		case "denied":
			p = packet(6, addr, victim, 1000+i, 22, 0)
		case "spoofed":
			p = packet(17, endpoint(as+1, 1).Addr, victim, 1000+i, requestPort, 18)
		case "large": // allowed, as much as an Ethernet frame holds
			p = packet(17, addr, victim, 1000, requestPort, 1472)
		}
		f := make([]byte, abi.VNetHeaderSize, abi.VNetHeaderSize+14+len(p))
		f = append(append(f, vnet.GatewayMAC[:]...), mac[:]...)
		frames = append(frames, append(append(f, 8, 0), p...))
	}
	return frames
}

// packet is an IP packet with the right checksums.
func packet(protocol byte, src, dst netip.Addr, from, to uint16, payload int) []byte {
	header := 8
	if protocol == 6 {
		header = 20
	}
	p := make([]byte, 20+header+payload)
	p[0], p[8], p[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	copy(p[12:], src.AsSlice())
	copy(p[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(p[10:], ^sum(0, p[:20]))
	t := p[20:]
	binary.BigEndian.PutUint16(t, from)
	binary.BigEndian.PutUint16(t[2:], to)
	pseudo := uint32(sum(0, p[12:20])) + uint32(protocol) + uint32(len(t))
	if protocol == 6 {
		t[12], t[13] = 0x50, 2 // SYN
		binary.BigEndian.PutUint16(t[16:], ^sum(pseudo, t))
		return p
	}
	binary.BigEndian.PutUint16(t[4:], uint16(len(t)))
	binary.BigEndian.PutUint16(t[6:], ^sum(pseudo, t))
	return p
}

func sum(n uint32, b []byte) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		n += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}
