package nft

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Field is something of a packet that rules compare or look up. load puts it
// into a register; need are the checks that nft adds in front where the
// protocol is not certain.
type Field struct {
	text string
	size int
	load func(Reg) Expr
	need []Expr
	swap bool // from the machine's byte order to that of the network
}

func payload(text string, base, offset, size uint32) Field {
	return Field{text: text, size: int(size), load: func(r Reg) Expr { return Payload{base, offset, size, r} }}
}

func meta(text string, key uint32, size int) Field {
	return Field{text: text, size: size, load: func(r Reg) Expr { return Meta{Key: key, Reg: r} }}
}

const (
	link      = unix.NFT_PAYLOAD_LL_HEADER
	network   = unix.NFT_PAYLOAD_NETWORK_HEADER
	transport = unix.NFT_PAYLOAD_TRANSPORT_HEADER
)

// The fields, named as in nft(8).
func IIFName() Field  { return meta("iifname", unix.NFT_META_IIFNAME, 16) }
func OIFName() Field  { return meta("oifname", unix.NFT_META_OIFNAME, 16) }
func L4Proto() Field  { return meta("meta l4proto", unix.NFT_META_L4PROTO, 1) }
func MetaMark() Field { return meta("meta mark", unix.NFT_META_MARK, 4) }
func Protocol() Field { return payload("ip protocol", network, 9, 1) }
func SAddr() Field    { return payload("ip saddr", network, 12, 4) }
func DAddr() Field    { return payload("ip daddr", network, 16, 4) }
func DPort() Field    { return payload("th dport", transport, 2, 2) }

// ICMPKind is type and code of an ICMP message as one number: they stand where
// TCP and UDP have the source port (RFC 792).
func ICMPKind() Field { return payload("th sport", transport, 0, 2) }

// EtherSAddr and the like are fields of the frame.
func EtherType() Field  { return payload("@ll,96,16", link, 12, 2) }
func EtherDAddr() Field { return payload("@ll,0,48", link, 0, 6) }
func EtherSAddr() Field { return payload("ether saddr", link, 6, 6) }

// RawDAddr is DAddr where nft need not be told that the packet is IP.
func RawDAddr() Field { return payload("@nh,128,32", network, 16, 4) }

// Ethernet is the value of the meta key iiftype for Ethernet.
func Ethernet() string { return string(binary.NativeEndian.AppendUint16(nil, unix.ARPHRD_ETHER)) }

// IsEtherType compares the type of the frame.
func IsEtherType(v uint16) Statement { return Is(EtherType(), "", "", be16(v)) }

// HeaderStart is version and header length of an IP packet.
func HeaderStart() Field { return payload("@nh,0,8", network, 0, 1) }

// Fragment is flags and offset of an IP packet.
func Fragment() Field { return payload("@nh,48,16", network, 6, 2) }

// ARPHead is the first 8 bytes of an ARP packet: hardware and protocol, their
// lengths, and the operation (RFC 826).
func ARPHead() Field { return payload("@nh,0,64", network, 0, 8) }

// ARPSender are hardware and protocol address of an ARP packet's sender,
// ARPTarget the protocol address that it asks for.
func ARPSenderMAC() Field { return payload("arp saddr ether", network, 8, 6) }
func ARPSender() Field    { return payload("arp saddr ip", network, 14, 4) }
func ARPTarget() Field    { return payload("@nh,192,32", network, 24, 4) }

// Const is a constant as part of a key.
func Const(text, data string) Field {
	return Field{text: text, size: len(data), load: func(r Reg) Expr { return Load{r, data} }}
}

// Ordered is the field with its highest byte first, as sets of ranges want it.
func (f Field) Ordered() Field {
	f.swap = true
	return f
}

// Needs says what nft checks on its own before it looks at f.
func (f Field) Needs(s ...Statement) Field {
	for _, one := range s {
		f.need = append(f.need, one.exprs...)
	}
	return f
}

// Statement is a part of a rule: text, and the instructions that nft makes of it.
type Statement struct {
	text  string
	exprs []Expr
}

// NewRule joins statements to a rule.
func NewRule(parts ...Statement) Rule {
	var r Rule
	texts := make([]string, 0, len(parts))
	for _, p := range parts {
		if p.text != "" {
			texts = append(texts, p.text)
		}
		r.Exprs = append(r.Exprs, p.exprs...)
	}
	r.Text = strings.Join(texts, " ")
	return r
}

// Implied is a statement that nft adds without being asked.
func Implied(s Statement) Statement { return Statement{exprs: s.exprs} }

// IsMeta compares a meta key: `meta protocol ip` and the like.
func IsMeta(text string, key uint32, value string) Statement {
	return Statement{text, []Expr{Meta{Key: key}, Cmp{unix.NFT_CMP_EQ, 0, value}}}
}

// Is compares a field with bytes. The operator is empty or one of != < <= > >=.
func Is(f Field, operator, text, value string) Statement {
	op, known := map[string]uint32{"": unix.NFT_CMP_EQ, "!=": unix.NFT_CMP_NEQ, "<": unix.NFT_CMP_LT, "<=": unix.NFT_CMP_LTE,
		">": unix.NFT_CMP_GT, ">=": unix.NFT_CMP_GTE}[operator]
	if !known {
		panic("nft: no operator " + operator)
	}
	return Statement{joined(f.text, operator, text), with(f.need, f.load(0), Cmp{op, 0, value})}
}

func with(need []Expr, more ...Expr) []Expr { return append(append([]Expr(nil), need...), more...) }

func joined(parts ...string) string {
	return strings.Join(strings.Fields(strings.Join(parts, " ")), " ")
}

// IsProto compares the transport protocol. It holds only for packets whose
// headers the kernel found sound.
func IsProto(operator, name string, number uint8) Statement {
	return Is(L4Proto(), operator, name, string([]byte{number}))
}

// IsAddr compares an address field.
func IsAddr(f Field, operator string, text string, a [4]byte) Statement {
	return Is(f, operator, text, string(a[:]))
}

// Hits tells whether any of the bits is set in a field of 2 bytes.
func Hits(f Field, bits uint16) Statement {
	return Statement{fmt.Sprintf("%s & %d != 0", f.text, bits), with(f.need, f.load(0), Bitwise{0, be16(bits), be16(0)}, Cmp{unix.NFT_CMP_NEQ, 0, be16(0)})}
}

// Longer compares the length of the packet from its IP header on, in bytes.
func Longer(n uint32) Statement {
	return Statement{fmt.Sprintf("meta length > %d", n), []Expr{Meta{Key: unix.NFT_META_LEN}, HostToNet{}, Cmp{unix.NFT_CMP_GT, 0, be32(n)}}}
}

// Prefixed compares the beginning of an interface name.
func Prefixed(f Field, prefix string) Statement {
	return Statement{fmt.Sprintf("%s %q", f.text, prefix+"*"), []Expr{f.load(0), Cmp{unix.NFT_CMP_EQ, 0, prefix}}}
}

// NotPrefixed is the contrary.
func NotPrefixed(f Field, prefix string) Statement {
	return Statement{fmt.Sprintf("%s != %q", f.text, prefix+"*"), []Expr{f.load(0), Cmp{unix.NFT_CMP_NEQ, 0, prefix}}}
}

// Called compares an interface name.
func Called(f Field, name string) Statement {
	return Statement{fmt.Sprintf("%s %q", f.text, name), []Expr{f.load(0), Cmp{unix.NFT_CMP_EQ, 0, Name(name)}}}
}

// State tells whether connection tracking has the packet in one of the states.
func State(text string, bits uint32) Statement {
	return Statement{"ct state " + text, []Expr{CT{Key: unix.NFT_CT_STATE}, Bitwise{0, native32(bits), native32(0)},
		Cmp{unix.NFT_CMP_NEQ, 0, native32(0)}}}
}

// Confirmed tells whether the packet belongs to a connection of which an earlier
// one passed all rules.
func Confirmed() Statement { return status("confirmed", IPS_CONFIRMED) }

// Redirected tells whether the connection's destination was changed by a rule.
func Redirected() Statement { return status("dnat", IPS_DST_NAT) }

func status(text string, bit uint32) Statement {
	return Statement{"ct status " + text, []Expr{CT{Key: unix.NFT_CT_STATUS}, Bitwise{0, native32(bit), native32(0)},
		Cmp{unix.NFT_CMP_NEQ, 0, native32(0)}}}
}

// key loads fields side by side, and writes them as nft does.
func key(fields []Field) (string, []Expr) {
	var need, loads []Expr
	var texts []string
	reg := Reg(0)
	for _, f := range fields {
		need = append(need, f.need...)
		loads = append(loads, f.load(reg))
		if f.swap {
			loads = append(loads, HostToNet{reg})
		}
		texts = append(texts, f.text)
		reg += Reg(padded(f.size) / 4)
	}
	return strings.Join(texts, " . "), append(need, loads...)
}

// InSet tells whether a set has the fields as its key.
func InSet(set string, fields ...Field) Statement {
	text, exprs := key(fields)
	return Statement{text + " @" + set, append(exprs, Lookup{Set: set})}
}

// NotInSet is the contrary.
func NotInSet(set string, fields ...Field) Statement {
	text, exprs := key(fields)
	return Statement{text + " != @" + set, append(exprs, Lookup{Set: set, Not: true})}
}

// VMap lets a verdict map decide.
func VMap(set string, fields ...Field) Statement {
	text, exprs := key(fields)
	return Statement{text + " vmap @" + set, append(exprs, Lookup{Set: set, Decide: true})}
}

// MarkFrom sets the packet's mark to what a map says of a field.
func MarkFrom(set string, f Field) Statement {
	return Statement{"meta mark set " + f.text + " map @" + set,
		with(f.need, f.load(0), Lookup{Set: set, Map: true}, Meta{Key: unix.NFT_META_MARK, Set: true})}
}

// Count counts packets per key in a set that grows as they come.
func Count(set string, fields ...Field) Statement {
	text, exprs := key(fields)
	return Statement{fmt.Sprintf("update @%s { %s counter }", set, text), append(exprs, Remember{Set: set, Update: true, With: Counter{}})}
}

// Slower tells whether a key is within its rate of packets a second.
func Slower(set string, f Field, rate uint64, burst uint32) Statement {
	l := Limit{Rate: rate, Burst: burst}
	return Statement{fmt.Sprintf("update @%s { %s %s }", set, f.text, l.text()), with(f.need, f.load(0), Remember{Set: set, Update: true, With: l})}
}

func (l Limit) text() string {
	over := ""
	if l.Over {
		over = "over "
	}
	if l.Bytes {
		return fmt.Sprintf("limit rate %s%d bytes/second burst %d bytes", over, l.Rate, l.Burst)
	}
	return fmt.Sprintf("limit rate %s%d/second burst %d packets", over, l.Rate, l.Burst)
}

// Faster tells whether packets come at more than a rate a second.
func Faster(rate uint64, burst uint32) Statement {
	l := Limit{Rate: rate, Burst: burst, Over: true}
	return Statement{l.text(), []Expr{l}}
}

// LogTo logs the first bytes of the packet to a netlink group.
func LogTo(group uint16, prefix string, snaplen uint32) Statement {
	return Statement{fmt.Sprintf("log prefix %q group %d snaplen %d", prefix, group, snaplen), []Expr{Log{group, snaplen, prefix}}}
}

// The ends of rules.
func Accept() Statement { return Statement{"accept", []Expr{Decide{accept()}}} }
func Drop() Statement   { return Statement{"drop", []Expr{Decide{Verdict{}}}} }

// Jump continues in a chain and comes back when it does not decide.
func Jump(chain string) Statement {
	return Statement{"jump " + chain, []Expr{Decide{Verdict{unix.NFT_JUMP, chain}}}}
}

// Goto continues in a chain.
func Goto(chain string) Statement {
	return Statement{"goto " + chain, []Expr{Decide{GotoVerdict(chain)}}}
}

// Reset refuses a TCP segment as a port does on which nobody listens.
func Reset() Statement {
	return Statement{"reject with tcp reset", []Expr{Reject{Type: unix.NFT_REJECT_TCP_RST}}}
}

// Prohibit refuses a packet in the words of RFC 1812 section 5.2.7.1.
func Prohibit() Statement {
	return Statement{"reject with icmp admin-prohibited", []Expr{Reject{unix.NFT_REJECT_ICMP_UNREACH, ICMP_ADMIN_PROHIBITED_CODE}}}
}

// Masquerade ends a rule of a NAT chain.
func Masquerade() Statement { return Statement{"masquerade", []Expr{Masquerading{}}} }

// Rated is an element whose finding is bounded: it is not found while one of
// the buckets is empty.
func Rated(key string, limits ...Limit) Element {
	var x []Expr
	var texts []string
	for _, l := range limits {
		x = append(x, l)
		texts = append(texts, l.text())
	}
	return Element{Key: key, Exprs: expressions(x), Text: strings.Join(texts, " ")}
}
