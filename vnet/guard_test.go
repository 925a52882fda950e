package vnet

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/vnet/offload"
)

var otherNIC = VNIC{Name: "vnetother", Addr: netip.MustParseAddr("10.7.0.3"), MAC: [6]byte{2, 0xde, 0x77, 1, 0, 3}, MTU: DefaultMTU}

// header is a virtio_net_hdr (VIRTIO 1.2 section 5.1.6).
func header(flags, gso uint8, headers, segment, sumStart, sumOffset uint16) []byte {
	h := []byte{flags, gso}
	for _, v := range []uint16{headers, segment, sumStart, sumOffset, 0} {
		h = binary.LittleEndian.AppendUint16(h, v)
	}
	return h
}

func packet(protocol uint8, payload int) []byte {
	h := map[uint8]int{6: 20, 17: 8}[protocol]
	p := make([]byte, 14+20+h+payload)
	copy(p, GatewayMAC[:])
	copy(p[6:], guestNIC.MAC[:])
	p[12] = 8
	ip := p[14:]
	ip[0], ip[6], ip[8], ip[9] = 0x45, 0x40, 64, protocol
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	copy(ip[12:], guestNIC.Addr.AsSlice())
	copy(ip[16:], otherNIC.Addr.AsSlice())
	binary.BigEndian.PutUint16(ip[10:], ^sum(0, ip[:20]))
	binary.BigEndian.PutUint16(ip[20:], 1000)
	binary.BigEndian.PutUint16(ip[22:], 8080)
	if protocol == 6 {
		ip[32], ip[33] = 0x50, 16
	} else {
		binary.BigEndian.PutUint16(ip[24:], uint16(len(ip)-20))
	}
	return p
}

// lies are headers that do harm, and what shows it: a packet to another port
// than the sender's firewall saw, or many from one.
func lies() []struct {
	name   string
	header []byte
	frame  []byte
	reason offload.Reason
	many   bool
} {
	return []struct {
		name   string
		header []byte
		frame  []byte
		reason offload.Reason
		many   bool
	}{
		{"sum over the port, from within the IP header", header(1, 0, 0, 0, 20, 16), packet(17, 20), offload.ReasonChecksum, false},
		{"sum over the port, from the transport header", header(1, 0, 0, 0, 34, 2), packet(17, 20), offload.ReasonChecksum, false},
		{"sum over a TCP port", header(1, 0, 0, 0, 34, 2), packet(6, 20), offload.ReasonChecksum, false},
		{"sum from behind the header", header(1, 0, 0, 0, 35, 1), packet(17, 20), offload.ReasonChecksum, false},
		{"segments of one byte", header(1, 1, 54, 1, 34, 16), packet(6, 1000), offload.ReasonSegment, true},
		{"datagrams of ten bytes", header(1, 5, 42, 10, 34, 6), packet(17, 1000), offload.ReasonSegment, true},
	}
}

// TestFalseOffloads: what a lie would do without the guard is seen, and with it
// nothing arrives and it is counted.
func TestFalseOffloads(t *testing.T) {
	for _, guarded := range []bool{false, true} {
		n := newNetwork(t)
		if guarded {
			if err := n.GuardOffloads(); err != nil {
				t.Skipf("needs a kernel with CONFIG_DEBUG_INFO_BTF and CONFIG_NET_CLS_BPF: %v", err)
			}
		}
		if err := n.Within(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }); err != nil {
			t.Fatal(err)
		}
		from, to := addTap(t, n, guestNIC), addTap(t, n, otherNIC)
		// A receiver that takes no offload: an ordinary network card, or a guest
		// whose driver did not ask for it.
		raw, err := to.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) { err = unix.IoctlSetInt(int(fd), unix.TUNSETOFFLOAD, 0) })
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range lies() {
			before := drops(t, n, c.reason)
			if _, err := from.Write(append(bytes.Clone(c.header), c.frame...)); err != nil {
				t.Fatalf("%s: %v: the kernel refuses it by itself", c.name, err)
			}
			got := arrived(t, to)
			switch harm := harmed(got, c.many); {
			case !guarded && !harm:
				t.Errorf("%s: does no harm without the guard either: it proves nothing (%d frames)", c.name, len(got))
			case guarded && (len(got) > 0 || drops(t, n, c.reason) != before+1):
				t.Errorf("%s: %d frames arrived, %d counted", c.name, len(got), drops(t, n, c.reason)-before)
			}
		}
		truths(t, from, to)
	}
}

func addTap(t *testing.T, n *Network, v VNIC) *os.File {
	t.Helper()
	tap, err := n.AddTap(v)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tap.Close() })
	return tap
}

func drops(t *testing.T, n *Network, r offload.Reason) uint64 {
	t.Helper()
	all, err := n.OffloadDrops()
	if err != nil {
		t.Fatal(err)
	}
	return all[guestNIC.Name][r]
}

// arrived reads what waits. Frames go through while the sender writes them.
func arrived(t *testing.T, tap *os.File) [][]byte {
	t.Helper()
	raw, err := tap.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var frames [][]byte
	buf := make([]byte, abi.VNetHeaderSize+abi.MaxFrame)
	raw.Control(func(fd uintptr) {
		for {
			size, err := unix.Read(int(fd), buf)
			if err != nil {
				return
			}
			frames = append(frames, bytes.Clone(buf[abi.VNetHeaderSize:size]))
		}
	})
	return frames
}

func harmed(frames [][]byte, many bool) bool {
	if many {
		return len(frames) > 90
	}
	return len(frames) == 1 && binary.BigEndian.Uint16(frames[0][36:]) != 8080
}

// truths are offloads that guests make use of every day.
func truths(t *testing.T, from, to *os.File) {
	t.Helper()
	for _, c := range []struct {
		name   string
		header []byte
		frame  []byte
		frames int
	}{
		{"no offload", header(0, 0, 0, 0, 0, 0), packet(17, 20), 1},
		{"sum of a datagram", header(1, 0, 0, 0, 34, 6), packet(17, 20), 1},
		{"sum of a segment", header(1, 0, 0, 0, 34, 16), packet(6, 20), 1},
		{"a large segment", header(1, 1, 54, 1448, 34, 16), packet(6, 14480), 10},
		{"a large segment for a small peer", header(1, 1, 54, 256, 34, 16), packet(6, 512), 2},
	} {
		if _, err := from.Write(append(bytes.Clone(c.header), c.frame...)); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		got := arrived(t, to)
		if len(got) != c.frames {
			t.Errorf("%s: %d frames, want %d", c.name, len(got), c.frames)
		}
		for _, f := range got {
			ip := f[14:]
			if binary.BigEndian.Uint16(ip[22:]) != 8080 {
				t.Errorf("%s: to port %d", c.name, binary.BigEndian.Uint16(ip[22:]))
			}
		}
	}
}
