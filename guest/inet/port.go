package inet

import (
	"slices"
	"syscall"
)

// Ephemeral ports (net.ipv4.ip_local_port_range of Linux).
const (
	firstPort = 32768
	lastPort  = 60999
)

// user of a local address: what bind(2) has to know of an endpoint.
type user interface {
	bound() *binding
}

// binding is a local address in use. The stack's mutex guards it.
type binding struct {
	Addr
	reuseAddr, reusePort bool
	listening            bool
}

func (b *binding) bound() *binding { return b }

// ports are the users of each port of one protocol.
type ports map[uint16][]user

// free tells whether b may have its address (socket(7): SO_REUSEADDR,
// SO_REUSEPORT). Datagram endpoints share with SO_REUSEADDR what streams only
// share while nobody listens.
func (p ports) free(b *binding, datagrams bool) bool {
	for _, u := range p[b.Port] {
		o := u.bound()
		if o == b {
			continue
		}
		if o.IP != b.IP && o.IP != anyIP && b.IP != anyIP {
			continue
		}
		if o.reusePort && b.reusePort || o.reuseAddr && b.reuseAddr && (datagrams || !o.listening) {
			continue
		}
		return false
	}
	return true
}

func (p ports) add(u user) { p[u.bound().Port] = append(p[u.bound().Port], u) }

func (p ports) remove(u user) {
	port := u.bound().Port
	list := p[port]
	if i := slices.Index(list, u); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		delete(p, port)
		return
	}
	p[port] = list
}

// claim gives b an address: the port it names, or a free one at random.
func (s *Stack) claim(p ports, b *binding, datagrams bool) syscall.Errno {
	if b.Port != 0 {
		if !p.free(b, datagrams) {
			return syscall.EADDRINUSE
		}
		return 0
	}
	const n = lastPort - firstPort + 1
	start := s.random()
	for i := range uint64(n) {
		b.Port = firstPort + uint16((start+i)%n)
		if len(p[b.Port]) == 0 {
			return 0
		}
	}
	for i := range uint64(n) {
		b.Port = firstPort + uint16((start+i)%n)
		if p.free(b, datagrams) {
			return 0
		}
	}
	b.Port = 0
	return syscall.EADDRINUSE
}

// ephemeral finds a port for a connection to f's peer: a start that only we
// know for each peer, and from there the first whose flow is free (RFC 6056
// section 3.3.4).
func (s *Stack) ephemeral(f *flow) bool {
	const n = lastPort - firstPort + 1
	a, b := flow{local: f.local, peer: f.peer, peerPort: f.peerPort}.words()
	hash := s.keys.port.sum(a, b, 0)
	bucket := &s.portSteps[hash>>32%uint64(len(s.portSteps))]
	*bucket += 1 + s.random()%7
	for i := range uint64(n) {
		f.localPort = firstPort + uint16((hash+*bucket+i)%n)
		if len(s.tcpPorts[f.localPort]) > 0 || s.conns[*f] != nil || s.waits.find(*f) != nil {
			continue
		}
		return true
	}
	f.localPort = 0
	return false
}

// random is not secret; it spreads.
func (s *Stack) random() uint64 {
	n := s.randomState.Add(1)
	return s.keys.choice.sum(n, 0, 0)
}
