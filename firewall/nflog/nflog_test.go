package nflog

import (
	"net/netip"
	"testing"

	"github.com/dewpaas/dew/firewall/netlink"
)

func segment() []byte {
	return []byte{0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 254, 0, 2, 10, 0, 0, 5, 3, 232, 0x15, 0x38, 0, 0, 0, 0}
}

func TestHeaders(t *testing.T) {
	h, err := Parse(segment())
	want := Header{Src: netip.MustParseAddr("10.254.0.2"), Dst: netip.MustParseAddr("10.0.0.5"), Protocol: 6, SrcPort: 1000, DstPort: 5432}
	if err != nil || h != want {
		t.Errorf("%+v, %v", h, err)
	}
	icmp := append(segment()[:20:20], 8, 1)
	icmp[9] = 1
	if h, err := Parse(icmp); err != nil || h.Type != 8 || h.Code != 1 {
		t.Errorf("%+v, %v", h, err)
	}
	later := segment()
	later[7] = 1
	if h, err := Parse(later[:20]); err != nil || h.DstPort != 0 {
		t.Errorf("later fragment: %+v, %v", h, err)
	}
	for say, b := range map[string][]byte{
		"nothing": nil, "short": segment()[:19], "no ports": segment()[:23], "version 6": append([]byte{0x65}, segment()[1:]...),
		"header below 20": append([]byte{0x44}, segment()[1:]...), "header beyond the end": append([]byte{0x4f}, segment()[1:]...),
	} {
		if h, err := Parse(b); err == nil {
			t.Errorf("%s: %+v", say, h)
		}
	}
}

func message() []byte {
	var e netlink.Encoder
	e.Text(attrPrefix, "deny")
	e.U32(attrInDevice, 5)
	e.U32(attrOutDevice, 6)
	e.Data(attrTimestamp, string([]byte{0, 0, 0, 0, 0x60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}))
	e.Data(attrPayload, string(segment()))
	return e.Bytes()
}

func TestMessages(t *testing.T) {
	p, err := decode(message())
	if err != nil || p.Prefix != "deny" || p.In != 5 || p.Out != 6 || p.Time.Unix() != 0x60000000 || p.Time.Nanosecond() != 9000 || len(p.Payload) != 28 {
		t.Errorf("%+v, %v", p, err)
	}
}

// FuzzPayload: an error, or addresses and a protocol that stand in the bytes,
// and no port where there is none.
func FuzzPayload(f *testing.F) {
	f.Add(segment())
	f.Add(segment()[:22])
	f.Add(append([]byte{0x46}, segment()[1:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Parse(b)
		if err != nil {
			if h != (Header{}) {
				t.Fatalf("both %+v and %v", h, err)
			}
			return
		}
		if h.Src != netip.AddrFrom4([4]byte(b[12:16])) || h.Dst != netip.AddrFrom4([4]byte(b[16:20])) || h.Protocol != b[9] {
			t.Fatalf("%+v of %x", h, b)
		}
		if h.Protocol == protoICMP && (h.SrcPort != 0 || h.DstPort != 0) {
			t.Fatalf("ports of ICMP: %+v", h)
		}
	})
}

// FuzzMessage: the payload lies within the message.
func FuzzMessage(f *testing.F) {
	f.Add(message())
	f.Add(message()[:30])
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := decode(b); err == nil && len(p.Payload) > len(b) {
			t.Fatalf("%d bytes of payload in %d", len(p.Payload), len(b))
		}
	})
}
