package socket

import (
	"encoding/binary"
	"syscall"
	"testing"
)

func ifreq(name string) []byte {
	b := make([]byte, ifreqSize)
	copy(b, name)
	return b
}

func TestInterfacesByIoctl(t *testing.T) {
	n := newNetwork(guestConfig())
	for _, c := range []struct {
		request uint32
		name    string
		want    []byte
	}{
		{siocGIFADDR, "eth0", []byte{2, 0, 0, 0, 10, 7, 0, 2}},
		{siocGIFNETMASK, "eth0", []byte{2, 0, 0, 0, 255, 255, 255, 255}},
		{siocGIFNETMASK, "lo", []byte{2, 0, 0, 0, 255, 0, 0, 0}},
		{siocGIFHWADDR, "eth0", []byte{1, 0, 2, 0xde, 0x77, 1, 0, 2}},
		{siocGIFMTU, "eth0", []byte{0xdc, 5, 0, 0}},
		{siocGIFINDEX, "lo", []byte{1, 0, 0, 0}},
		{siocGIFFLAGS, "lo", []byte{syscall.IFF_UP | syscall.IFF_LOOPBACK | syscall.IFF_RUNNING, 0}},
	} {
		r := ifreq(c.name)
		if err := n.control(c.request, r); err != 0 || string(r[16:16+len(c.want)]) != string(c.want) {
			t.Errorf("%#x of %s: %v, %v", c.request, c.name, r[16:], err)
		}
	}
	byIndex := ifreq("")
	byIndex[16] = 2
	if err := n.control(siocGIFNAME, byIndex); err != 0 || cString(byIndex) != "eth0" {
		t.Errorf("name of 2: %q, %v", cString(byIndex), err)
	}
	for request, want := range map[uint32]syscall.Errno{0x8914: syscall.EPERM, 0x8916: syscall.EPERM, siocETHTOOL: syscall.EOPNOTSUPP, 0x5401: syscall.ENOTTY} {
		if err := n.control(request, ifreq("eth0")); err != want {
			t.Errorf("%#x: %v, want %v", request, err, want)
		}
	}
	if err := n.control(siocGIFADDR, ifreq("eth1")); err != syscall.ENODEV {
		t.Errorf("eth1: %v", err)
	}
	list := make([]byte, 4+4*ifreqSize)
	if err := n.control(siocGIFCONF, list); err != 0 || binary.LittleEndian.Uint32(list) != 2*ifreqSize || cString(list[4+ifreqSize:]) != "eth0" {
		t.Errorf("list: %v, %q", err, list[:100])
	}
}
