package inet

// paths remembers what smaller MTU a path has told (RFC 1191), for a while and
// for a few destinations; the stack's mutex guards it. Connections know their own.
type paths struct {
	list [32]path
	next int
}

type path struct {
	to    [4]byte
	mtu   int
	until int64
}

// pathLife is how long a smaller MTU is believed (net.ipv4.route.mtu_expires).
const pathLife = 10 * 60 * 1e9

func (p *paths) set(to [4]byte, mtu int, now int64) {
	for i := range p.list {
		if p.list[i].to == to && p.list[i].until > now {
			p.list[i].mtu = min(p.list[i].mtu, mtu)
			return
		}
	}
	p.list[p.next] = path{to, mtu, now + pathLife}
	p.next = (p.next + 1) % len(p.list)
}

func (p *paths) get(to [4]byte, mtu int, now int64) int {
	for i := range p.list {
		if p.list[i].to == to && p.list[i].until > now {
			return min(mtu, p.list[i].mtu)
		}
	}
	return mtu
}

// pathMTU is the MTU of the way to dst as far as it is known.
func (s *Stack) pathMTU(dst [4]byte, now int64) int {
	mtu := s.mtu(dst)
	if s.isLocal(dst) {
		return mtu
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paths.get(dst, mtu, now)
}
