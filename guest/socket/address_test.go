package socket

import (
	"bytes"
	"syscall"
	"testing"

	"github.com/dewpaas/dew/guest/inet"
	"golang.org/x/sys/unix"
)

func TestAddresses(t *testing.T) {
	full := func(family byte, rest ...byte) []byte {
		return append(append([]byte{family, 0}, rest...), make([]byte, 14-len(rest))...)
	}
	for name, c := range map[string]struct {
		in    []byte
		parse syscall.Errno
		bind  syscall.Errno
	}{
		"whole":            {full(2, 0x1f, 0x90, 10, 0, 0, 1), 0, 0},
		"short":            {full(2, 0x1f, 0x90)[:15], syscall.EINVAL, syscall.EINVAL},
		"empty":            {nil, syscall.EINVAL, syscall.EINVAL},
		"one byte":         {[]byte{2}, syscall.EINVAL, syscall.EINVAL},
		"IPv6":             {full(10), syscall.EAFNOSUPPORT, syscall.EAFNOSUPPORT},
		"none":             {[]byte{0, 0}, 0, syscall.EAFNOSUPPORT},
		"none, any":        {full(0, 0, 80), 0, 0},
		"none, one":        {full(0, 0, 80, 10, 0, 0, 1), 0, syscall.EAFNOSUPPORT},
		"longer":           {append(full(2, 0, 80), 1, 2, 3), 0, 0},
		"big endian 0x2":   {full(0, 2), 0, 0},
		"family of 2 << 8": {append([]byte{0, 2}, make([]byte, 14)...), syscall.EAFNOSUPPORT, syscall.EAFNOSUPPORT},
	} {
		if _, err := parseAddress(c.in); err != c.parse {
			t.Errorf("%s: parse: %v, want %v", name, err, c.parse)
		}
		if _, err := bindAddress(c.in); err != c.bind {
			t.Errorf("%s: bind: %v, want %v", name, err, c.bind)
		}
	}
	a, _ := parseAddress(full(2, 0x1f, 0x90, 10, 0, 0, 1))
	if a.Addr != (inet.Addr{IP: [4]byte{10, 0, 0, 1}, Port: 8080}) || a.none {
		t.Errorf("%+v", a)
	}
}

// FuzzAddress: what is accepted is written again as it was, as far as it counts.
func FuzzAddress(f *testing.F) {
	f.Add([]byte{2, 0, 0x1f, 0x90, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 0})
	f.Add([]byte{10, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAddress(b)
		if err != 0 || a.none {
			if err != 0 && a != (sockaddr{}) {
				t.Errorf("%v and %v", a, err)
			}
			return
		}
		out := make([]byte, 16)
		if n := putAddress(out, a.Addr); n != 16 || !bytes.Equal(out[:8], b[:8]) {
			t.Errorf("%x becomes %x", b, out)
		}
	})
}

func TestControlMessagesOfSending(t *testing.T) {
	info := unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: 2, Spec_dst: [4]byte{10, 7, 0, 2}})
	var w wish
	if err := w.parse(info); err != 0 || w.From != [4]byte{10, 7, 0, 2} {
		t.Errorf("IP_PKTINFO: %+v, %v", w, err)
	}
	cmsg := func(level, kind uint32, value ...byte) []byte {
		c := cmsgWriter{b: make([]byte, 64)}
		c.put(level, kind, value)
		return c.b[:c.n]
	}
	two := append(cmsg(0, syscall.IP_TOS, 3, 0, 0, 0), cmsg(udpLevel, udpSegment, 0xb0, 4)...)
	w = wish{}
	if err := w.parse(two); err != 0 || !w.HasTOS || w.TOS != 3 || w.segment != 1200 {
		t.Errorf("two: %+v, %v", w, err)
	}
	for name, b := range map[string][]byte{
		"length beyond the end": {40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0},
		"length of nothing":     make([]byte, 16),
		"huge length":           {16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0},
		"short packet info":     cmsg(0, syscall.IP_PKTINFO, 1, 2, 3),
		"TTL of 0":              cmsg(0, syscall.IP_TTL, 0, 0, 0, 0),
		"descriptors":           cmsg(syscall.SOL_SOCKET, syscall.SCM_RIGHTS, 1, 0, 0, 0),
		"unknown":               cmsg(0, 99),
	} {
		if err := new(wish).parse(b); err != syscall.EINVAL {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const udpLevel = syscall.IPPROTO_UDP

// FuzzControlMessages: reading is bounded, and what was read of hints is in
// range.
func FuzzControlMessages(f *testing.F) {
	f.Add(unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: 2}))
	f.Add([]byte{17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2})
	f.Add([]byte{18, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 103, 0, 0, 0, 0, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		var w wish
		parsed, stdErr := syscall.ParseSocketControlMessage(b)
		err := w.parse(b)
		if err == 0 && w.segment > 65535 {
			t.Errorf("%+v", w)
		}
		if err == 0 && len(b) >= cmsgHeader && len(b)%8 == 0 && stdErr == nil && len(parsed) == 0 {
			t.Errorf("%x is read by us alone", b)
		}
	})
}

func TestControlMessagesOfReceiving(t *testing.T) {
	n := New(guestConfig())
	s := newUDP(n, n.stack().NewUDP())
	on := []byte{1, 0, 0, 0}
	for _, name := range []int{syscall.IP_PKTINFO, syscall.IP_RECVTTL, syscall.IP_RECVTOS} {
		if err := s.SetOption(syscall.IPPROTO_IP, name, on); err != 0 {
			t.Fatal(err)
		}
	}
	meta := inet.Meta{From: inet.Addr{IP: [4]byte{8, 8, 8, 8}}, To: [4]byte{10, 7, 0, 2}, TTL: 60, TOS: 1}
	w := cmsgWriter{b: make([]byte, 128)}
	w.meta(s, meta)
	messages, err := unix.ParseSocketControlMessage(w.b[:w.n])
	if err != nil || len(messages) != 3 || w.cut {
		t.Fatalf("%d messages, %v", len(messages), err)
	}
	if got := messages[0].Data; messages[0].Header.Type != unix.IP_PKTINFO || got[0] != 2 || !bytes.Equal(got[8:12], meta.To[:]) {
		t.Errorf("packet info %v", got)
	}
	if got := messages[1].Data[0]; got != 60 {
		t.Errorf("TTL %d", got)
	}
	if got := messages[2].Data; len(got) != 1 || got[0] != 1 {
		t.Errorf("TOS %v", got)
	}
	small := cmsgWriter{b: make([]byte, 30)}
	if small.meta(s, meta); !small.cut || small.n > 30 {
		t.Errorf("in 30 bytes: %d, cut %v", small.n, small.cut)
	}
}
