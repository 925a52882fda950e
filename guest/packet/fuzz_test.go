package packet

import (
	"bytes"
	"testing"
)

// FuzzOpen: whatever passes the door has lengths that hold, so that every
// accessor works, and options that are written again are read the same.
func FuzzOpen(f *testing.F) {
	f.Add(frame())
	gso := frame()
	VNet(gso).Set(EthernetSize+IPv4Size, TCPSumOffset, 66, 3)
	f.Add(gso)
	f.Add(withOption(frame(), 7, 4, 4, 0))
	udp := frame()
	udp[LinkSize+9] = ProtoUDP
	f.Add(udp)
	icmp := frame()
	icmp[LinkSize+9] = ProtoICMP
	f.Add(icmp)
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		var p Packet
		if !Open(b, &p) {
			return
		}
		if len(p.IP) < IPv4Size || len(p.IP)+len(p.Payload)+LinkSize > len(b) || p.IP.TotalLength() != len(p.IP)+len(p.Payload) {
			t.Fatalf("header %d, payload %d of %d bytes", len(p.IP), len(p.Payload), len(b))
		}
		if p.IP.FragmentOffset() > 0 && p.IP.FragmentOffset()+len(p.Payload) > 0xffff {
			t.Fatal("a fragment ends beyond the largest packet")
		}
		for _, summed := range []bool{p.Summed, true} {
			p.Summed = summed
			checkTCP(t, &p)
			if u := ParseUDP(&p); u != nil && len(u.Payload()) != u.Length()-UDPSize {
				t.Fatal("UDP length")
			}
		}
		if m := ParseICMP(&p); m != nil {
			var q Quoted
			if m.Quoted(&q) && len(q.IP) < IPv4Size {
				t.Fatal("quoted header")
			}
		}
		if !bytes.Equal(b, before) {
			t.Fatal("reading has changed the frame")
		}
	})
}

func checkTCP(t *testing.T, p *Packet) {
	seg := ParseTCP(p)
	if seg == nil {
		return
	}
	if len(seg.Payload())+seg.HeaderLength() != len(p.Payload) {
		t.Fatal("TCP lengths")
	}
	var o, again Options
	seg.Options(&o)
	if o.Scale > 14 || o.NumBlocks > MaxBlocks {
		t.Fatalf("%+v", o)
	}
	if o.NumBlocks > 2 && (o.MSS > 0 || o.HasScale || o.SACKPermitted) {
		return // more than fits into a header of ours
	}
	c := TCP(make([]byte, MaxTCPSize))
	c.Set(&TCPFields{})
	c.SetOptions(&o)
	if c.Options(&again); again != o && o.NumBlocks < 4 {
		t.Fatalf("%+v became %+v", o, again)
	}
}
