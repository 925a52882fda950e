package conntrack

import (
	"net/netip"
	"testing"

	"github.com/dewpaas/dew/firewall/netlink"
)

func tuple(e *netlink.Encoder, protocol uint8, more func()) {
	e.Nest(ctaTupleIP, func() {
		e.Data(ctaIPv4Src, "\x0a\xfe\x00\x02")
		e.Data(ctaIPv4Dst, "\x0a\x00\x00\x05")
	})
	e.Nest(ctaTupleProto, func() {
		e.U8(ctaProtoNum, protocol)
		more()
	})
}

func entry(protocol uint8, more func(*netlink.Encoder)) []byte {
	var e netlink.Encoder
	e.Nest(ctaTupleOrig, func() { tuple(&e, protocol, func() { more(&e) }) })
	e.U32(ctaID, 77)
	return e.Bytes()
}

func tcpEntry() []byte {
	return entry(6, func(e *netlink.Encoder) { e.U16(ctaSrcPort, 1000); e.U16(ctaDstPort, 5432) })
}

func TestEntries(t *testing.T) {
	f, ok, err := decode(tcpEntry())
	if err != nil || !ok || f.Src != netip.MustParseAddr("10.254.0.2") || f.Dst != netip.MustParseAddr("10.0.0.5") || f.Protocol != 6 || f.SrcPort != 1000 || f.DstPort != 5432 || f.id != "\x00\x00\x00\x4d" {
		t.Errorf("%+v, %v, %v", f, ok, err)
	}
	f, ok, err = decode(entry(1, func(e *netlink.Encoder) { e.U8(ctaICMPType, 8); e.U8(ctaICMPCode, 3) }))
	if err != nil || !ok || f.Kind != 0x803 {
		t.Errorf("%+v, %v, %v", f, ok, err)
	}
	if _, ok, err := decode(nil); ok || err != nil {
		t.Errorf("an entry without addresses: %v, %v", ok, err)
	}
}

// FuzzEntry: what is taken has IPv4 addresses, and the tuple that deletes it
// lies within the message.
func FuzzEntry(f *testing.F) {
	f.Add(tcpEntry())
	f.Add(tcpEntry()[:40])
	f.Fuzz(func(t *testing.T, b []byte) {
		flow, ok, err := decode(b)
		if err != nil || !ok {
			return
		}
		if !flow.Src.Is4() || !flow.Dst.Is4() || len(flow.tuple) > len(b) {
			t.Fatalf("%+v", flow)
		}
		again, ok, err := decode(reencode(flow))
		if err != nil || !ok || again != flow {
			t.Fatalf("%+v comes back as %+v, %v", flow, again, err)
		}
	})
}

func reencode(f Flow) []byte {
	var e netlink.Encoder
	e.Nest(ctaTupleOrig, func() { e.Raw(f.tuple) })
	if f.id != "" {
		e.Data(ctaID, f.id)
	}
	return e.Bytes()
}
