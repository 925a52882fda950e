package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"syscall"
)

// frameSteps send to the wire. In a guest it is the packet descriptor, frames
// behind a 12-byte virtio header; a container that may opens it with "card".
func frameSteps() map[string]step {
	return map[string]step{
		"send": send,
		"syns": sendSYNs,
		"card": card,
		"say-hex": func(a args) error {
			b, err := hex.DecodeString(a.text(2))
			if err != nil {
				return err
			}
			return say4(syscall.SOCK_DGRAM, args{a.text(0), a.text(1), string(b)})
		},
		"say-udp": func(a args) error { return say4(syscall.SOCK_DGRAM, a) },
		"say-tcp": func(a args) error { return say4(syscall.SOCK_STREAM, a) },
	}
}

const packetFD = 3

// write sends header and frame, however often the wire is busy.
func write(frame []byte) error {
	const header = 12
	spans := &[2]span{{address(&frame[0]), header}, {address(&frame[header]), uintptr(len(frame) - header)}}
	for {
		_, err := try(syscall.SYS_WRITEV, packetFD, address(spans), 2)
		if r, ok := err.(*refusal); !ok || r.errno != syscall.EAGAIN && r.errno != syscall.ENOBUFS {
			return err
		}
		rest()
	}
}

// send sends the bytes of its first argument, so many times.
func send(a args) error {
	frame, err := hex.DecodeString(a.text(0))
	if err != nil {
		return err
	}
	kept = append(kept, frame)
	n := uintptr(1)
	if len(a) > 1 {
		n = a.number(1)
	}
	for range n {
		if err := write(frame); err != nil {
			return err
		}
	}
	return nil
}

// sendSYNs sends so many TCP SYNs, each from a port of its own: it counts up
// the source port, at offset 34 of an Ethernet frame without IP options, and
// leaves the checksum to the host.
func sendSYNs(a args) error {
	frame, err := hex.DecodeString(a.text(0))
	if err != nil {
		return err
	}
	kept = append(kept, frame)
	for n := range a.number(1) {
		binary.BigEndian.PutUint16(frame[12+34:], uint16(1024+n))
		if err := write(frame); err != nil {
			return err
		}
	}
	return nil
}

// card opens a packet socket on an interface in the place of the descriptor
// that a guest has.
func card(a args) error {
	const all = 0x0300 // ETH_P_ALL in network order
	fd, err := try(syscall.SYS_SOCKET, syscall.AF_PACKET, syscall.SOCK_RAW, all)
	if err != nil {
		return err
	}
	name, at := buffer(40) // struct ifreq
	copy(name, a.text(0))
	if err := only(try(syscall.SYS_IOCTL, fd, syscall.SIOCGIFINDEX, at)); err != nil {
		return err
	}
	place := &[5]uint32{0: syscall.AF_PACKET | all<<16, 1: binary.LittleEndian.Uint32(name[16:])}
	if err := only(try(syscall.SYS_BIND, fd, address(place), 20)); err != nil {
		return err
	}
	const solPacket, headerSize = 263, 24 // SOL_PACKET, PACKET_VNET_HDR_SZ
	if err := only(try(syscall.SYS_SETSOCKOPT, fd, solPacket, headerSize, address(&[1]int32{12}), 4)); err != nil {
		return err
	}
	return only(try(syscall.SYS_DUP3, fd, packetFD, 0))
}

// say4 says a text to a port by an ordinary socket, as a process in a container
// does: address, port, text.
func say4(kind uintptr, a args) error {
	ip, err := netip.ParseAddr(a.text(0))
	if err != nil {
		return err
	}
	b, port := ip.As4(), a.number(1)
	to := []byte{syscall.AF_INET, 0, byte(port >> 8), byte(port), b[0], b[1], b[2], b[3], 15: 0}
	kept = append(kept, to)
	fd, err := try(syscall.SYS_SOCKET, syscall.AF_INET, kind, 0)
	if err != nil {
		return err
	}
	wait := &syscall.Timeval{Sec: 1}
	call(syscall.SYS_SETSOCKOPT, fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, address(wait), 16)
	if err := only(try(syscall.SYS_CONNECT, fd, address(&to[0]), uintptr(len(to)))); err != nil {
		return err
	}
	if err := only(try(syscall.SYS_WRITE, fd, cString(a.text(2)), uintptr(len(a.text(2))))); err != nil {
		return err
	}
	fmt.Println("said")
	return nil
}
