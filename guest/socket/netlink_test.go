package socket

import (
	"encoding/binary"
	"net"
	"slices"
	"syscall"
	"testing"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/guest/fd"
)

// guestConfig is a guest with a vNIC.
func guestConfig() *boot.Config {
	return &boot.Config{NIC: boot.NIC{MAC: [6]byte{2, 0xde, 0x77, 1, 0, 2}, GatewayMAC: [6]byte{2, 0xde, 0x77, 0, 0, 1},
		Addr: [4]byte{10, 7, 0, 2}, Gateway: [4]byte{169, 254, 0, 1}, MTU: 1500}}
}

func netlinkSocket(t *testing.T, c *boot.Config) *Netlink {
	t.Helper()
	n := newNetwork(c)
	s, err := openNetlink(&n)(syscall.SOCK_RAW, syscall.NETLINK_ROUTE)
	if err != 0 {
		t.Fatal(err)
	}
	return s.(*Netlink)
}

// request makes a netlink message.
func request(kind, flags uint16, body ...byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(syscall.NLMSG_HDRLEN+len(body)))
	b = binary.LittleEndian.AppendUint16(b, kind)
	b = binary.LittleEndian.AppendUint16(b, flags|syscall.NLM_F_REQUEST)
	b = binary.LittleEndian.AppendUint32(b, 7) // sequence number
	b = binary.LittleEndian.AppendUint32(b, 0)
	return append(b, body...)
}

// ask sends a request and parses the answer with the standard library, as
// package net does.
func ask(t *testing.T, s *Netlink, r []byte) []syscall.NetlinkMessage {
	t.Helper()
	if _, err := s.Send(r, nil, 0); err != 0 {
		t.Fatal(err)
	}
	b := make([]byte, 8192)
	n, _, _, err := s.Receive(b, nil, 0)
	if err != 0 {
		t.Fatal(err)
	}
	messages, e := syscall.ParseNetlinkMessage(b[:n])
	if e != nil {
		t.Fatal(e)
	}
	for _, m := range messages {
		if m.Header.Seq != 7 || m.Header.Pid != s.port {
			t.Errorf("header %+v", m.Header)
		}
	}
	return messages
}

func attributes(t *testing.T, m syscall.NetlinkMessage) map[uint16][]byte {
	t.Helper()
	all, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil {
		t.Fatal(err)
	}
	out := map[uint16][]byte{}
	for _, a := range all {
		out[a.Attr.Type] = a.Value
	}
	return out
}

const dump = syscall.NLM_F_DUMP

func TestLinksAreDumped(t *testing.T) {
	messages := ask(t, netlinkSocket(t, guestConfig()), request(syscall.RTM_GETLINK, dump, syscall.AF_UNSPEC))
	if len(messages) != 3 || messages[2].Header.Type != syscall.NLMSG_DONE {
		t.Fatalf("%d messages", len(messages))
	}
	lo, nic := attributes(t, messages[0]), attributes(t, messages[1])
	if string(lo[syscall.IFLA_IFNAME]) != "lo\x00" || string(nic[syscall.IFLA_IFNAME]) != "eth0\x00" {
		t.Errorf("names %q, %q", lo[syscall.IFLA_IFNAME], nic[syscall.IFLA_IFNAME])
	}
	if hw := net.HardwareAddr(nic[syscall.IFLA_ADDRESS]).String(); hw != "02:de:77:01:00:02" {
		t.Errorf("hardware address %s", hw)
	}
	if mtu := binary.LittleEndian.Uint32(nic[syscall.IFLA_MTU]); mtu != 1500 {
		t.Errorf("MTU %d", mtu)
	}
	if index := binary.LittleEndian.Uint32(messages[1].Data[4:]); index != 2 {
		t.Errorf("index %d", index)
	}
}

func TestAddressesAreDumped(t *testing.T) {
	s := netlinkSocket(t, guestConfig())
	messages := ask(t, s, request(syscall.RTM_GETADDR, dump, syscall.AF_INET))
	if len(messages) != 3 {
		t.Fatalf("%d messages", len(messages))
	}
	a := attributes(t, messages[1])
	if ip := net.IP(a[syscall.IFA_ADDRESS]).String(); ip != "10.7.0.2" || messages[1].Data[1] != 32 {
		t.Errorf("%s/%d", ip, messages[1].Data[1])
	}
	if m := ask(t, s, request(syscall.RTM_GETADDR, dump, syscall.AF_INET6)); len(m) != 1 || m[0].Header.Type != syscall.NLMSG_DONE {
		t.Errorf("IPv6: %d messages", len(m))
	}
	if m := ask(t, s, request(syscall.RTM_GETADDR, dump, syscall.AF_INET, 0, 0, 0, 2, 0, 0, 0)); len(m) != 2 {
		t.Errorf("of one interface: %d messages", len(m))
	}
}

func TestRoutes(t *testing.T) {
	s := netlinkSocket(t, guestConfig())
	m := ask(t, s, request(syscall.RTM_GETROUTE, dump, syscall.AF_INET))
	if gw := net.IP(attributes(t, m[0])[syscall.RTA_GATEWAY]).String(); gw != "169.254.0.1" || m[0].Data[1] != 0 {
		t.Errorf("the first route is to /%d by %s", m[0].Data[1], gw)
	}
	to := func(a ...byte) []byte {
		b := append(make([]byte, syscall.SizeofRtMsg), 8, 0, syscall.RTA_DST, 0)
		b[0] = syscall.AF_INET
		return request(syscall.RTM_GETROUTE, 0, append(b, a...)...)
	}
	for _, c := range []struct {
		to   []byte
		via  uint32
		kind byte
	}{{[]byte{8, 8, 8, 8}, 2, syscall.RTN_UNICAST}, {[]byte{127, 3, 2, 1}, 1, syscall.RTN_LOCAL}, {[]byte{10, 7, 0, 2}, 1, syscall.RTN_LOCAL}} {
		m := ask(t, s, to(c.to...))
		if got := binary.LittleEndian.Uint32(attributes(t, m[0])[syscall.RTA_OIF]); got != c.via || m[0].Data[7] != c.kind {
			t.Errorf("to %v: by interface %d, kind %d", c.to, got, m[0].Data[7])
		}
	}
	alone := ask(t, netlinkSocket(t, nil), to(8, 8, 8, 8))
	if got := int32(binary.LittleEndian.Uint32(alone[0].Data)); got != -int32(syscall.ENETUNREACH) {
		t.Errorf("without a vNIC: %d", got)
	}
}

func TestWhatNetlinkRefuses(t *testing.T) {
	s := netlinkSocket(t, guestConfig())
	for name, c := range map[string]struct {
		request []byte
		want    syscall.Errno
	}{
		"set a link":        {request(syscall.RTM_NEWLINK, 0, make([]byte, 16)...), syscall.EPERM},
		"add a route":       {request(syscall.RTM_NEWROUTE, 0, make([]byte, 12)...), syscall.EPERM},
		"an unknown thing":  {request(82, 0, 0), syscall.EOPNOTSUPP},
		"a link not there":  {request(syscall.RTM_GETLINK, 0, append([]byte{0, 0, 0, 0, 9}, make([]byte, 11)...)...), syscall.ENODEV},
		"half a link":       {request(syscall.RTM_GETLINK, 0, 0, 0), syscall.EINVAL},
		"a neighbour alone": {request(syscall.RTM_GETNEIGH, 0, make([]byte, 12)...), syscall.EOPNOTSUPP},
	} {
		m := ask(t, s, c.request)
		if got := -int32(binary.LittleEndian.Uint32(m[0].Data)); m[0].Header.Type != syscall.NLMSG_ERROR || syscall.Errno(got) != c.want {
			t.Errorf("%s: %v", name, syscall.Errno(got))
		}
	}
	if _, err := s.Send(nil, []byte{16, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0}, 0); err != syscall.ECONNREFUSED {
		t.Errorf("to another port: %v", err)
	}
}

func TestNetlinkQueueIsBounded(t *testing.T) {
	s := netlinkSocket(t, guestConfig())
	err := syscall.Errno(0)
	for i := 0; err == 0 && i < netlinkBuffer; i++ {
		_, err = s.Send(request(syscall.RTM_GETLINK, dump, 0), nil, 0)
	}
	if err != syscall.ENOBUFS || s.size > netlinkBuffer {
		t.Errorf("%v with %d bytes in line", err, s.size)
	}
}

func TestNetlinkMessagesCanBePeekedAndCut(t *testing.T) {
	s := netlinkSocket(t, guestConfig())
	if s.Ready()&fd.Readable != 0 {
		t.Error("readable before a question")
	}
	s.Send(request(syscall.RTM_GETLINK, dump, 0), nil, 0)
	full := s.Unread()
	small := make([]byte, 20)
	if n, _, got, err := s.Receive(small, nil, syscall.MSG_PEEK|syscall.MSG_TRUNC); n != full || got&syscall.MSG_TRUNC == 0 || err != 0 {
		t.Errorf("peek: %d of %d, flags %#x, %v", n, full, got, err)
	}
	if n, _, got, err := s.Receive(small, nil, 0); n != 20 || got&syscall.MSG_TRUNC == 0 || err != 0 {
		t.Errorf("cut: %d, flags %#x, %v", n, got, err)
	}
	if _, _, _, err := s.Receive(small, nil, 0); err != syscall.EAGAIN {
		t.Errorf("empty: %v", err)
	}
}

func TestNetlinkPortsAreOfOneSocket(t *testing.T) {
	n := newNetwork(nil)
	open := openNetlink(&n)
	a, _ := open(syscall.SOCK_DGRAM, 0)
	b, _ := open(syscall.SOCK_DGRAM, 0)
	auto := []byte{16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	fixed := []byte{16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}
	if err := a.Bind(auto); err != 0 {
		t.Fatal(err)
	}
	name := make([]byte, 12)
	if a.Name(name); !slices.Equal(name, fixed) {
		t.Errorf("name %v", name)
	}
	if err := b.Bind(fixed); err != syscall.EADDRINUSE {
		t.Errorf("the same port: %v", err)
	}
	a.Close()
	if err := b.Bind(fixed); err != 0 {
		t.Errorf("after closing: %v", err)
	}
	if _, err := open(syscall.SOCK_DGRAM, 9); err != syscall.EPROTONOSUPPORT {
		t.Errorf("another protocol: %v", err)
	}
}

// FuzzNetlink: whatever is asked, the answer is netlink's: whole messages that
// the standard library can read, with the sequence number of a question.
func FuzzNetlink(f *testing.F) {
	f.Add(request(syscall.RTM_GETLINK, dump, 0))
	f.Add(request(syscall.RTM_GETADDR, dump, 2))
	f.Add(append(request(syscall.RTM_GETROUTE, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 1, 0, 9, 9, 9, 9), request(syscall.RTM_NEWLINK, syscall.NLM_F_ACK)...))
	f.Add([]byte{17, 0, 0, 0, 18, 0, 1, 3})
	n := newNetwork(guestConfig())
	f.Fuzz(func(t *testing.T, b []byte) {
		asked := map[uint32]bool{}
		for i := 0; i+16 <= len(b); i++ {
			asked[binary.LittleEndian.Uint32(b[i+8:])] = true
		}
		for _, answer := range answerNetlink(&n, 3, b) {
			messages, err := syscall.ParseNetlinkMessage(answer)
			if err != nil || len(messages) == 0 {
				t.Fatalf("%x: %v", answer, err)
			}
			for _, m := range messages {
				if m.Header.Pid != 3 || !asked[m.Header.Seq] {
					t.Errorf("header %+v", m.Header)
				}
				if m.Header.Type == syscall.RTM_NEWLINK || m.Header.Type == syscall.RTM_NEWADDR || m.Header.Type == syscall.RTM_NEWROUTE {
					if _, err := syscall.ParseNetlinkRouteAttr(&m); err != nil {
						t.Error(err)
					}
				}
			}
		}
	})
}
