package firewall

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/vnet"
)

// lab is a network with guests that are nothing but their taps: the test writes
// their frames and reads what they would get. Writing to a tap is synchronous:
// when it returns, the frame is where it goes.
type lab struct {
	t    testing.TB
	net  *vnet.Network
	wall *Wall // nil: without a firewall
	taps map[string]*tap
	out  *tap // the way out of the cell
}

// tap is one end of a wire in the test's hand.
type tap struct {
	t    testing.TB
	file *os.File
	mac  [6]byte
	addr netip.Addr
}

const uplink = Uplink

var uplinkAddr = netip.AddrFrom4([4]byte{172, 31, 255, 1})

func newNetwork(t testing.TB) *vnet.Network {
	t.Helper()
	n, err := vnet.New()
	if errors.Is(err, unix.EPERM) {
		t.Skip("needs root: makes a network namespace")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// newLab connects the endpoints of a topology. Without a wall everything is
// forwarded to whom it is addressed.
func newLab(t testing.TB, top cf.Topology, walled bool) *lab {
	t.Helper()
	l := &lab{t: t, net: newNetwork(t), taps: map[string]*tap{}}
	if walled {
		l.openWall()
		l.apply(top)
	} else if err := l.net.Within(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }); err != nil {
		t.Fatal(err)
	}
	for _, e := range top.Endpoints {
		if e.VNIC != "" {
			l.plug(e)
		}
	}
	l.out = l.openUplink()
	return l
}

func (l *lab) openWall() {
	l.t.Helper()
	w, err := Open(l.net.Within)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { w.Close() })
	l.wall = w
}

func (l *lab) apply(top cf.Topology) Applied {
	l.t.Helper()
	done, err := l.wall.Apply(top)
	if err != nil {
		l.t.Fatal(err)
	}
	return done
}

func (l *lab) plug(e cf.Endpoint) *tap {
	l.t.Helper()
	f, err := l.net.AddTap(vnet.VNIC{Name: e.VNIC, Addr: e.Addr, MAC: e.MAC, MTU: 1500})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { f.Close() })
	l.taps[e.VNIC] = &tap{l.t, f, e.MAC, e.Addr}
	return l.taps[e.VNIC]
}

// openUplink is a tap to which everything is routed that is no guest's.
func (l *lab) openUplink() *tap {
	l.t.Helper()
	var f *os.File
	err := l.net.Within(func() (err error) {
		if f, err = vnet.Attach(uplink); err != nil {
			return err
		}
		link, err := netlink.LinkByName(uplink)
		if err != nil {
			return err
		}
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: uplinkAddr.AsSlice(), Mask: net.CIDRMask(32, 32)}}
		return errors.Join(netlink.LinkSetARPOff(link), netlink.AddrAdd(link, addr), netlink.LinkSetUp(link),
			netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Scope: netlink.SCOPE_LINK}),
			os.WriteFile("/proc/sys/net/ipv4/conf/"+uplink+"/rp_filter", []byte("0"), 0))
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { f.Close() })
	link, err := l.uplinkMAC()
	if err != nil {
		l.t.Fatal(err)
	}
	return &tap{l.t, f, link, netip.Addr{}}
}

func (l *lab) uplinkMAC() (mac [6]byte, err error) {
	err = l.net.Within(func() error {
		link, err := netlink.LinkByName(uplink)
		if err == nil {
			mac = [6]byte(link.Attrs().HardwareAddr)
		}
		return err
	})
	return mac, err
}

// frame writes a frame as the guest's driver does, behind an empty header.
func (t *tap) frame(f []byte) error { return t.raw(make([]byte, abi.VNetHeaderSize), f) }

func (t *tap) raw(header, f []byte) error {
	_, err := t.file.Write(append(append([]byte(nil), header...), f...))
	return err
}

// send sends an IP packet to the gateway.
func (t *tap) send(packet []byte) {
	t.t.Helper()
	if err := t.frame(ether(vnet.GatewayMAC, t.mac, unix.ETH_P_IP, packet)); err != nil {
		t.t.Fatalf("write to the tap: %v", err)
	}
}

// inject sends an IP packet from outside.
func (t *tap) inject(packet []byte) {
	t.t.Helper()
	if err := t.frame(ether(t.mac, [6]byte{2, 1, 2, 3, 4, 5}, unix.ETH_P_IP, packet)); err != nil {
		t.t.Fatalf("write to the uplink: %v", err)
	}
}

// drain reads what waits, as frames without their virtio header.
func (t *tap) drain() [][]byte {
	t.t.Helper()
	raw, err := t.file.SyscallConn()
	if err != nil {
		t.t.Fatal(err)
	}
	var frames [][]byte
	buf := make([]byte, abi.VNetHeaderSize+abi.MaxFrame)
	raw.Control(func(fd uintptr) {
		for {
			n, err := unix.Read(int(fd), buf)
			if err != nil {
				return
			}
			if n > abi.VNetHeaderSize+14 {
				frames = append(frames, bytes.Clone(buf[abi.VNetHeaderSize:n]))
			}
		}
	})
	return frames
}

// seen is an IP packet in a frame, as far as tests look at it.
type seen struct {
	src, dst netip.Addr
	protocol uint8
	from, to uint16 // ports; for ICMP type and code as one number, and 0
	flags    uint8
	embedded bool // an ICMP error
}

func look(frame []byte) (s seen, ok bool) {
	if len(frame) < 14+24 || binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_IP {
		return s, false
	}
	ip := frame[14:]
	s.src, s.dst, s.protocol = netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20])), ip[9]
	rest := ip[int(ip[0]&15)*4:]
	s.from = binary.BigEndian.Uint16(rest)
	if s.protocol == protoICMP {
		s.embedded = rest[0] == 3
		return s, true
	}
	s.to = binary.BigEndian.Uint16(rest[2:])
	if s.protocol == protoTCP && len(rest) >= 14 {
		s.flags = rest[13]
	}
	return s, true
}

func (s seen) String() string {
	return fmt.Sprintf("%v:%d -> %v:%d protocol %d flags %#x", s.src, s.from, s.dst, s.to, s.protocol, s.flags)
}
