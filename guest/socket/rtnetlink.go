package socket

import "syscall"

// answerNetlink answers the requests in b, which are a program's bytes, from
// the socket with a port. It is their one door. Each answer is a message, or
// the many of one dump, that is received as one.
func answerNetlink(n *network, port uint32, b []byte) [][]byte {
	var answers [][]byte
	for len(b) >= syscall.NLMSG_HDRLEN {
		size := int(get32(b))
		if size < syscall.NLMSG_HDRLEN || size > len(b) {
			break // as Linux: what cannot be told apart is not answered (netlink_rcv_skb)
		}
		r := netlinkRequest{
			kind: get16(b[4:]), flags: get16(b[6:]), seq: get32(b[8:]), port: port,
			header: b[:syscall.NLMSG_HDRLEN], body: b[syscall.NLMSG_HDRLEN:size],
		}
		if a := r.answer(n); a != nil {
			answers = append(answers, a)
		}
		b = b[min(align4(size), len(b)):]
	}
	return answers
}

// netlinkRequest is struct nlmsghdr and what follows it.
type netlinkRequest struct {
	kind, flags  uint16
	seq, port    uint32
	header, body []byte
}

const netlinkDump = syscall.NLM_F_ROOT | syscall.NLM_F_MATCH

// answer returns nil for messages that are not answered.
func (r *netlinkRequest) answer(n *network) []byte {
	if r.flags&syscall.NLM_F_REQUEST == 0 || r.kind < syscall.NLMSG_MIN_TYPE {
		if r.flags&syscall.NLM_F_ACK != 0 {
			return r.status(0)
		}
		return nil
	}
	w := &netlinkWriter{request: r}
	err := syscall.EPERM // to change something
	switch r.kind {
	case syscall.RTM_GETLINK:
		err = w.getLink(n)
	case syscall.RTM_GETADDR:
		err = w.getAddr(n)
	case syscall.RTM_GETROUTE:
		err = w.getRoute(n)
	case syscall.RTM_GETNEIGH:
		err = w.getNeighbour(n)
	case syscall.RTM_GETRULE, rtmGetQdisc, rtmGetClass, rtmGetFilter:
		err = w.needsDump() // there are none
	default:
		if r.kind&3 == 2 { // a question: rtnetlink(7) numbers types in fours, NEW DEL GET SET
			err = syscall.EOPNOTSUPP
		}
	}
	switch {
	case err != 0:
		return r.status(err)
	case r.dump():
		w.begin(syscall.NLMSG_DONE)
		w.b = append32(w.b, 0)
		w.end()
	case r.flags&syscall.NLM_F_ACK != 0:
		w.b = append(w.b, r.status(0)...)
	}
	return w.b
}

func (r *netlinkRequest) dump() bool { return r.flags&netlinkDump == netlinkDump }

// family is the first byte of every body.
func (r *netlinkRequest) family() byte {
	if len(r.body) == 0 {
		return syscall.AF_UNSPEC
	}
	return r.body[0]
}

// asks tells whether a dump is for a family, or for all.
func (r *netlinkRequest) asks(family byte) bool {
	return r.family() == syscall.AF_UNSPEC || r.family() == family
}

// attribute finds one behind the fixed part of the body.
func (r *netlinkRequest) attribute(fixed int, kind uint16) ([]byte, bool) {
	if len(r.body) < fixed {
		return nil, false
	}
	for b := r.body[fixed:]; len(b) >= syscall.SizeofRtAttr; {
		size := int(get16(b))
		if size < syscall.SizeofRtAttr || size > len(b) {
			return nil, false
		}
		if get16(b[2:])&^nlaFlags == kind {
			return b[syscall.SizeofRtAttr:size], true
		}
		b = b[min(align4(size), len(b)):]
	}
	return nil, false
}

// status is an NLMSG_ERROR, which with 0 says that all is well.
func (r *netlinkRequest) status(err syscall.Errno) []byte {
	w := &netlinkWriter{request: r}
	w.begin(syscall.NLMSG_ERROR)
	w.b = append32(w.b, uint32(-int32(err)))
	w.b = append(w.b, r.header...)
	if err != 0 {
		w.b = append(w.b, r.body...)
	}
	w.end()
	return w.b
}

// netlinkWriter writes messages in answer to one request.
type netlinkWriter struct {
	request *netlinkRequest
	b       []byte
	start   int // of the message that is being written
}

func (w *netlinkWriter) begin(kind uint16) {
	flags := uint16(0)
	if w.request.dump() {
		flags = syscall.NLM_F_MULTI
	}
	w.start = len(w.b)
	w.b = append32(w.b, 0)
	w.b = append16(append16(w.b, kind), flags)
	w.b = append32(append32(w.b, w.request.seq), w.request.port)
}

func (w *netlinkWriter) end() {
	put32(w.b[w.start:], uint32(len(w.b)-w.start))
	w.pad()
}

func (w *netlinkWriter) pad() {
	for len(w.b)%4 != 0 {
		w.b = append(w.b, 0)
	}
}

// attribute adds a struct rtattr.
func (w *netlinkWriter) attribute(kind uint16, value ...byte) {
	w.pad()
	w.b = append16(append16(w.b, uint16(syscall.SizeofRtAttr+len(value))), kind)
	w.b = append(w.b, value...)
}

func (w *netlinkWriter) number(kind uint16, n uint32) { w.attribute(kind, append32(nil, n)...) }

func (w *netlinkWriter) text(kind uint16, s string) { w.attribute(kind, append([]byte(s), 0)...) }

// needsDump refuses to look for one thing where only lists are kept.
func (w *netlinkWriter) needsDump() syscall.Errno {
	if !w.request.dump() {
		return syscall.EOPNOTSUPP
	}
	return 0
}

func (w *netlinkWriter) getLink(n *network) syscall.Errno {
	r := w.request
	if r.dump() {
		if r.asks(syscall.AF_PACKET) {
			for i := range n.links {
				w.link(&n.links[i])
			}
		}
		return 0
	}
	if len(r.body) < syscall.SizeofIfInfomsg {
		return syscall.EINVAL
	}
	l := n.byIndex(int32(get32(r.body[4:])))
	for _, kind := range []uint16{syscall.IFLA_IFNAME, iflaAltName} {
		if name, ok := r.attribute(syscall.SizeofIfInfomsg, kind); ok && l == nil {
			l = n.byName(cString(name))
		}
	}
	if l == nil {
		return syscall.ENODEV
	}
	w.link(l)
	return 0
}

func (w *netlinkWriter) link(l *link) {
	w.begin(syscall.RTM_NEWLINK)
	w.b = append16(append(w.b, syscall.AF_UNSPEC, 0), l.kind)
	w.b = append32(append32(append32(w.b, uint32(l.index)), l.flags|iffLowerUp), 0)
	w.text(syscall.IFLA_IFNAME, l.name)
	w.number(syscall.IFLA_TXQLEN, 1000)
	w.attribute(iflaOperState, operState(l))
	w.number(syscall.IFLA_MTU, l.mtu)
	w.attribute(syscall.IFLA_ADDRESS, l.mac[:]...)
	w.attribute(syscall.IFLA_BROADCAST, linkBroadcast(l)...)
	w.text(syscall.IFLA_QDISC, "noqueue")
	w.end()
}

// operState is RFC 2863's, of which a loopback has none.
func operState(l *link) byte {
	if l.flags&syscall.IFF_LOOPBACK != 0 {
		return ifOperUnknown
	}
	return ifOperUp
}

func linkBroadcast(l *link) []byte {
	if l.flags&syscall.IFF_LOOPBACK != 0 {
		return make([]byte, 6)
	}
	return []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
}

func (w *netlinkWriter) getAddr(n *network) syscall.Errno {
	if err := w.needsDump(); err != 0 || !w.request.asks(syscall.AF_INET) {
		return err
	}
	only := uint32(0) // with NETLINK_GET_STRICT_CHK the index filters
	if len(w.request.body) >= syscall.SizeofIfAddrmsg {
		only = get32(w.request.body[4:])
	}
	for _, l := range n.links {
		if only != 0 && only != uint32(l.index) {
			continue
		}
		scope := byte(syscall.RT_SCOPE_UNIVERSE)
		if l.flags&syscall.IFF_LOOPBACK != 0 {
			scope = syscall.RT_SCOPE_HOST
		}
		w.begin(syscall.RTM_NEWADDR)
		w.b = append32(append(w.b, syscall.AF_INET, l.bits, ifaPermanent, scope), uint32(l.index))
		w.attribute(syscall.IFA_ADDRESS, l.addr[:]...)
		w.attribute(syscall.IFA_LOCAL, l.addr[:]...)
		w.text(syscall.IFA_LABEL, l.name)
		w.number(ifaFlags, ifaPermanent)
		w.end()
	}
	return 0
}

// route is struct rtmsg and the attributes that count.
type route struct {
	bits     uint8
	table    uint8
	scope    uint8
	kind     uint8
	protocol uint8
	to       [4]byte
	gateway  [4]byte
	from     [4]byte
	via      int32
}

func (n *network) routes() []route {
	var all []route
	if nic := n.nic(); nic != nil {
		all = append(all,
			route{table: syscall.RT_TABLE_MAIN, scope: syscall.RT_SCOPE_UNIVERSE, kind: syscall.RTN_UNICAST, protocol: syscall.RTPROT_BOOT, gateway: n.gateway, from: nic.addr, via: nic.index},
			route{bits: 32, table: syscall.RT_TABLE_MAIN, scope: syscall.RT_SCOPE_LINK, kind: syscall.RTN_UNICAST, protocol: syscall.RTPROT_KERNEL, to: n.gateway, from: nic.addr, via: nic.index},
			route{bits: 32, table: syscall.RT_TABLE_LOCAL, scope: syscall.RT_SCOPE_HOST, kind: syscall.RTN_LOCAL, protocol: syscall.RTPROT_KERNEL, to: nic.addr, from: nic.addr, via: nic.index})
	}
	lo := &n.links[0]
	return append(all, route{bits: 8, table: syscall.RT_TABLE_LOCAL, scope: syscall.RT_SCOPE_HOST, kind: syscall.RTN_LOCAL,
		protocol: syscall.RTPROT_KERNEL, to: [4]byte{127}, from: lo.addr, via: lo.index})
}

func (w *netlinkWriter) getRoute(n *network) syscall.Errno {
	if w.request.dump() {
		if w.request.asks(syscall.AF_INET) {
			for _, r := range n.routes() {
				w.route(r)
			}
		}
		return 0
	}
	to, ok := w.request.attribute(syscall.SizeofRtMsg, syscall.RTA_DST)
	switch {
	case w.request.family() != syscall.AF_INET:
		return syscall.EOPNOTSUPP
	case !ok || len(to) != 4:
		return syscall.EINVAL
	}
	found, ok := n.routeTo([4]byte(to))
	if !ok {
		return syscall.ENETUNREACH
	}
	w.route(found)
	return 0
}

// routeTo is the way that packets to an address take.
func (n *network) routeTo(to [4]byte) (route, bool) {
	if n.local(to) {
		return route{bits: 32, table: syscall.RT_TABLE_LOCAL, kind: syscall.RTN_LOCAL, to: to, from: to, via: loIndex}, true
	}
	nic := n.nic()
	if nic == nil {
		return route{}, false
	}
	r := route{bits: 32, table: syscall.RT_TABLE_MAIN, kind: syscall.RTN_UNICAST, to: to, gateway: n.gateway, from: nic.addr, via: nic.index}
	if to == n.gateway {
		r.gateway = [4]byte{}
	}
	return r, true
}

func (w *netlinkWriter) route(r route) {
	w.begin(syscall.RTM_NEWROUTE)
	w.b = append(w.b, syscall.AF_INET, r.bits, 0, 0, r.table, r.protocol, r.scope, r.kind)
	w.b = append32(w.b, 0)
	w.number(syscall.RTA_TABLE, uint32(r.table))
	if r.bits > 0 {
		w.attribute(syscall.RTA_DST, r.to[:]...)
	}
	if r.gateway != [4]byte{} {
		w.attribute(syscall.RTA_GATEWAY, r.gateway[:]...)
	}
	w.attribute(syscall.RTA_PREFSRC, r.from[:]...)
	w.number(syscall.RTA_OIF, uint32(r.via))
	w.end()
}

// getNeighbour tells the one neighbour that the tender gave.
func (w *netlinkWriter) getNeighbour(n *network) syscall.Errno {
	if err := w.needsDump(); err != 0 || !w.request.asks(syscall.AF_INET) || n.nic() == nil {
		return err
	}
	w.begin(syscall.RTM_NEWNEIGH)
	w.b = append32(append(w.b, syscall.AF_INET, 0, 0, 0), nicIndex)
	w.b = append(append16(w.b, nudPermanent), 0, syscall.RTN_UNICAST)
	w.attribute(ndaDst, n.gateway[:]...)
	w.attribute(ndaLinkAddress, n.gatewayMAC[:]...)
	w.end()
	return 0
}
