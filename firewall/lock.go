package firewall

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall/nft"
)

// Lock is where frames of guests are checked first.
type Lock uint8

// The locks. The best that the kernel has is found by Open.
const (
	// LockWildcard hooks every tap by the beginning of its name, also taps that
	// are made later: there is no moment without a lock. Linux 6.17.
	LockWildcard Lock = iota
	// LockDevice hooks each tap by name, after it was made and before it is up.
	LockDevice
	// LockRouting checks packets before they are routed, for kernels without
	// ingress hooks. What is not IP is not seen: the kernel has no use for it.
	LockRouting
)

func (l Lock) String() string {
	return []string{"ingress hook by wildcard", "ingress hook per tap", "before routing"}[min(l, 2)]
}

// Reason is why a frame was dropped.
type Reason uint8

// The reasons. The set is closed: append only, numbers are in the kernel's sets.
const (
	ReasonProtocol    Reason = iota + 1 // neither IPv4 nor ARP; VLAN tags too
	ReasonARP                           // ARP other than the question for the gateway, by itself
	ReasonDestination                   // not to the gateway's MAC
	ReasonHeader                        // IP options, another version
	ReasonSource                        // MAC or address of somebody else
	ReasonFragment                      // any fragment
	ReasonMulticast                     // multicast, broadcast and reserved destinations
	ReasonLength                        // lengths that contradict each other, or beyond the MTU
	ReasonFlood                         // more packets or bytes than the vNIC may send
	ReasonInvalid                       // belongs to no connection, and begins none
	ReasonNew                           // more new connections than the vNIC may begin
	ReasonOpen                          // keeps so many connections open that others run out of them
	ReasonDenied                        // no rule allows it
)

// reasonNames are the chains of the reasons, less "drop-".
var reasonNames = [...]string{"", "protocol", "arp", "destination", "header", "source", "fragment", "multicast", "length", "flood",
	"invalid", "new", "open", "denied"}

func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", r)
}

func reasonField(r Reason) nft.Field {
	return nft.Const(fmt.Sprintf("0x%08x", uint32(r)), nft.Mark(uint32(r)))
}

// dropsSet counts what was dropped, by vNIC and reason.
func dropsSet() *nft.Set {
	return &nft.Set{Name: "drops", Fields: types("ifname", "mark"), Flags: unix.NFT_SET_EVAL, Size: 65536}
}

// DefaultRates bound vNICs about which nothing else is said: 10 Gbit/s in
// large frames, and more connections than a server needs to begin.
func DefaultRates() cf.Rates {
	return cf.Rates{Packets: 250_000, PacketBurst: 50_000, Bytes: 1_250_000_000, ByteBurst: 64 << 20, Connections: 2000, ConnectionBurst: 4000}
}

// Bounds of the kernel's arithmetic (nft_limit.c): it counts in nanoseconds, in
// 64 bits. Beyond them a whole transaction would fail for one vNIC.
const (
	maxEvents = 1_000_000_000  // packets or connections a second
	maxBytes  = 10_000_000_000 // bytes a second, 80 Gbit/s
	maxBurst  = 1 << 31        // bytes
)

func ratesOf(e *cf.Endpoint) cf.Rates {
	r, d := e.Rates, DefaultRates()
	return cf.Rates{
		Packets: min(cmp.Or(r.Packets, d.Packets), maxEvents), PacketBurst: cmp.Or(r.PacketBurst, d.PacketBurst),
		Bytes: min(cmp.Or(r.Bytes, d.Bytes), maxBytes), ByteBurst: min(cmp.Or(r.ByteBurst, d.ByteBurst), maxBurst),
		Connections: min(cmp.Or(r.Connections, d.Connections), maxEvents), ConnectionBurst: cmp.Or(r.ConnectionBurst, d.ConnectionBurst)}
}

// defaultMTU bounds frames where no instance says anything.
const defaultMTU = 1500

func (p *plan) mtu() uint32 {
	mtu := 0
	for _, e := range p.byAddr {
		mtu = max(mtu, e.MTU)
	}
	return uint32(cmp.Or(mtu, defaultMTU))
}

// Priorities of the hooks: before the reassembly of fragments
// (NF_IP_PRI_CONNTRACK_DEFRAG is -400), so that no fragment gets that far.
const lockPriority = -450

// lock adds the checks of frames, in the family that the kernel allows.
func (b *builder) lock(r *nft.Ruleset, l Lock) {
	if l == LockRouting {
		b.lockSets(b.table)
		if !b.scope.hasFrame() {
			return
		}
		b.lockChain(b.table, nil)
		b.base("prerouting", nft.NF_INET_PRE_ROUTING, lockPriority, rule(fromGuest(), nft.Goto("lock")))
		b.table.Chain("prerouting").Base.Drop = false // what comes from elsewhere has its own chains
		six := &nft.Table{Family: nft.NFPROTO_IPV6, Name: Table}
		six.Chains = []*nft.Chain{{Name: "prerouting", Base: &nft.Base{Hook: nft.NF_INET_PRE_ROUTING, Priority: lockPriority},
			Rules: []nft.Rule{rule(fromGuest(), nft.Drop())}}}
		r.Tables = append(r.Tables, six)
		return
	}
	t := &nft.Table{Family: nft.NFPROTO_NETDEV, Name: Table}
	r.Tables = append(r.Tables, t)
	b.lockSets(t)
	if b.scope.hasFrame() {
		t.Sets = append(t.Sets, dropsSet())
		b.lockChain(t, arpRules(b.gateway()))
	}
	hook := func(name, device string) {
		t.Chains = append(t.Chains, &nft.Chain{Name: name, Base: &nft.Base{Hook: nft.NF_NETDEV_INGRESS, Priority: lockPriority, Drop: true, Device: device},
			Rules: []nft.Rule{rule(nft.Goto("lock"))}})
	}
	if l == LockWildcard {
		if b.scope.hasFrame() {
			hook("ingress", Prefix+"*")
		}
		return
	}
	for n, e := range b.byAddr {
		if e.VNIC != "" && b.scope.hasAddr(n) {
			hook("ingress-"+e.VNIC, e.VNIC)
		}
	}
}

func (b *builder) gateway() (a [4]byte) {
	if b.topology.Gateway.Is4() {
		a = b.topology.Gateway.As4()
	}
	return a
}

// lockSets say which vNIC may send as whom, and how much.
func (b *builder) lockSets(t *nft.Table) {
	vnics := &nft.Set{Name: "vnics", Fields: types("ifname", "ether_addr", "ipv4_addr")}
	rate := &nft.Set{Name: "rate", Fields: types("ifname"), Flags: unix.NFT_SET_EVAL}
	for n, e := range b.byAddr {
		if e.VNIC == "" || !b.scope.hasAddr(n) {
			continue
		}
		r := ratesOf(e.Endpoint)
		vnics.Elements = append(vnics.Elements, nft.Element{Key: nft.Key(nft.Name(e.VNIC), string(e.MAC[:]), bytes4(n))})
		rate.Elements = append(rate.Elements, nft.Rated(nft.Name(e.VNIC), nft.Limit{Rate: uint64(r.Packets), Burst: r.PacketBurst},
			nft.Limit{Rate: r.Bytes, Burst: uint32(r.ByteBurst), Bytes: true}))
	}
	t.Sets = append(t.Sets, vnics, rate)
}

// lockChain checks a frame from the outside in, the cheapest first. arp is nil
// where frames that are not IP do not come by.
func (b *builder) lockChain(t *nft.Table, arp []nft.Rule) {
	var rules []nft.Rule
	ether := nft.Implied(nft.IsMeta("", unix.NFT_META_IIFTYPE, nft.Ethernet()))
	src := nft.EtherSAddr().Needs(ether)
	if arp != nil {
		rules = append(rules,
			rule(nft.Is(nft.EtherType(), "", "0x0806", "\x08\x06"), nft.Goto("ask")),
			rule(nft.Is(nft.EtherType(), "!=", "0x0800", "\x08\x00"), nft.Goto("drop-protocol")))
		src = src.Needs(nft.Implied(nft.IsEtherType(0x0800)))
		t.Chains = append(t.Chains, &nft.Chain{Name: "ask", Rules: arp})
	}
	mac := b.topology.GatewayMAC
	mtu := b.mtu()
	rules = append(rules,
		rule(nft.Is(nft.EtherDAddr(), "!=", fmt.Sprintf("0x%x", mac[:]), string(mac[:])), nft.Goto("drop-destination")),
		rule(nft.Is(nft.HeaderStart(), "!=", "0x45", "\x45"), nft.Goto("drop-header")),
		rule(nft.NotInSet("vnics", nft.IIFName(), src, nft.SAddr()), nft.Goto("drop-source")),
		rule(nft.Hits(nft.Fragment(), 0xbfff), nft.Goto("drop-fragment")),
		rule(nft.Is(nft.RawDAddr(), ">=", "0xe0000000", "\xe0\x00\x00\x00"), nft.Goto("drop-multicast")),
		// Segmentation of TCP is left to the kernel; nothing else is longer than the MTU.
		rule(nft.IsProto("!=", "tcp", protoTCP), nft.Longer(mtu), nft.Goto("drop-length")),
		// The protocol is known only where all lengths fit; 255 is reserved.
		rule(nft.IsProto("!=", "255", 255), nft.Goto("bounded")),
		rule(nft.Goto("drop-length")))
	t.Chains = append(t.Chains, &nft.Chain{Name: "lock", Rules: rules},
		&nft.Chain{Name: "bounded", Rules: []nft.Rule{rule(nft.InSet("rate", nft.IIFName()), nft.Accept()), rule(nft.Goto("drop-flood"))}})
	reasons := []Reason{ReasonDestination, ReasonHeader, ReasonSource, ReasonFragment, ReasonMulticast, ReasonLength, ReasonFlood}
	if arp != nil {
		reasons = append(reasons, ReasonProtocol, ReasonARP)
	}
	b.endChains(t, reasons)
}

func deniedChains() []Reason { return []Reason{ReasonInvalid, ReasonNew, ReasonOpen} }

// endChains count and drop. In two rules: a set that is full ends its rule.
func (b *builder) endChains(t *nft.Table, reasons []Reason) {
	for _, r := range reasons {
		t.Chains = append(t.Chains, &nft.Chain{Name: "drop-" + r.String(), Rules: []nft.Rule{
			rule(nft.Count("drops", nft.IIFName(), reasonField(r))), rule(nft.Drop())}})
	}
}

// arpRules let a guest ask for the gateway, in its own name.
func arpRules(gateway [4]byte) []nft.Rule {
	ether := nft.Implied(nft.IsMeta("", unix.NFT_META_IIFTYPE, nft.Ethernet()))
	arp := nft.Implied(nft.IsEtherType(0x0806))
	// One rule that says what is right: one that says what is wrong does not hold
	// for a packet too short to be looked at.
	return []nft.Rule{
		rule(nft.Is(nft.ARPHead(), "", "0x0001080006040001", "\x00\x01\x08\x00\x06\x04\x00\x01"),
			nft.Is(nft.ARPTarget(), "", fmt.Sprintf("0x%x", gateway[:]), string(gateway[:])),
			nft.InSet("vnics", nft.IIFName(), nft.EtherSAddr().Needs(ether, arp), nft.ARPSender()),
			nft.InSet("vnics", nft.IIFName(), nft.ARPSenderMAC(), nft.ARPSender()),
			nft.Goto("bounded")),
		rule(nft.Goto("drop-arp")),
	}
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}
