package firewall

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall/nft"
)

// Simulated is what rules do with the first packet of a connection.
type Simulated struct {
	Allowed bool
	Logged  bool   // in the flow log, as allowed
	Chain   string // that decided
}

// Simulate sends the first packet of a connection through rules, without a
// kernel: those that Compile made, or those that Wall.Live read back. It knows
// the topology only for where packets are routed. It is an interpreter of the
// bytecode, so it checks Reach and Compile against each other.
func Simulate(rules *nft.Ruleset, t cf.Topology, q Question) (Simulated, error) {
	protocol, n, err := q.selector()
	if err != nil {
		return Simulated{}, err
	}
	from, to := locate(t, q.From), locate(t, q.To)
	p := &nft.Packet{IIF: from.device, OIF: to.device, Network: firstPacket(from.addr, to.addr, protocol, n), State: nft.NF_CT_STATE_NEW}
	if from.endpoint != nil && from.endpoint.VNIC != "" {
		p.Link = slices.Concat(t.GatewayMAC[:], from.endpoint.MAC[:], []byte{8, 0})
		out, err := rules.Hook(nft.NFPROTO_NETDEV, nft.NF_NETDEV_INGRESS, p)
		if err != nil || !out.Accepted() {
			return Simulated{Chain: out.Chain}, err
		}
	}
	return through(rules, p, from, to)
}

// through walks the hooks of a packet that is at least IP.
func through(rules *nft.Ruleset, p *nft.Packet, from, to place) (Simulated, error) {
	hooks := []uint32{nft.NF_INET_PRE_ROUTING, nft.NF_INET_FORWARD, nft.NF_INET_POST_ROUTING}
	switch {
	case from.cell:
		hooks, p.IIF = []uint32{nft.NF_INET_LOCAL_OUT, nft.NF_INET_POST_ROUTING}, ""
	case to.cell:
		hooks, p.OIF = []uint32{nft.NF_INET_PRE_ROUTING, nft.NF_INET_LOCAL_IN}, ""
	}
	s := Simulated{Allowed: true}
	for _, hook := range hooks {
		packet := *p
		if hook == nft.NF_INET_PRE_ROUTING {
			packet.OIF = ""
		}
		out, err := rules.Hook(nft.NFPROTO_IPV4, hook, &packet)
		if err != nil {
			return Simulated{}, err
		}
		s.Logged = s.Logged || slices.Contains(out.Logs, logAllow)
		if out.Chain != "" {
			s.Chain = out.Chain
		}
		if !out.Accepted() {
			return Simulated{Chain: out.Chain}, nil
		}
	}
	return s, nil
}

// place is where an end of a connection is, as packets are routed.
type place struct {
	endpoint *cf.Endpoint
	addr     uint32
	cell     bool
	device   string
}

// outside is the name that simulated packets give to every interface that is
// not a guest's.
const outside = Uplink

func locate(t cf.Topology, one Peer) place {
	e, a := one.Endpoint, one.Addr
	if e != nil {
		a = e.Addr
	}
	if !a.Is4() {
		return place{endpoint: e, device: outside}
	}
	p := place{endpoint: e, addr: number(a), device: outside, cell: a == t.Gateway}
	for i := range t.Endpoints {
		if t.Endpoints[i].Addr == a {
			p.endpoint = &t.Endpoints[i]
		}
	}
	if p.endpoint != nil && p.endpoint.VNIC != "" {
		p.device = p.endpoint.VNIC
	}
	return p
}

// firstPacket is as much of a packet as rules look at. Its checksums are wrong.
func firstPacket(src, dst uint32, protocol uint8, n uint32) []byte {
	p := make([]byte, 40)
	p[0], p[8], p[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	binary.BigEndian.PutUint32(p[12:], src)
	binary.BigEndian.PutUint32(p[16:], dst)
	if protocol == protoICMP {
		binary.BigEndian.PutUint16(p[20:], uint16(n))
		return p
	}
	binary.BigEndian.PutUint16(p[20:], 50000)
	binary.BigEndian.PutUint16(p[22:], uint16(n))
	p[32], p[33] = 0x50, 2 // SYN
	return p
}

func (s Simulated) String() string {
	word := "denied"
	if s.Allowed {
		word = "allowed"
	}
	return fmt.Sprintf("%s in chain %s", word, s.Chain)
}
