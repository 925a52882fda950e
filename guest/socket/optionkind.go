package socket

import (
	"syscall"

	"github.com/dewpaas/dew/guest/inet"
)

// number reads the value of an int option. Options of IP may be one byte
// (do_ip_setsockopt of net/ipv4/ip_sockglue.c).
func number(level int, value []byte) (int, syscall.Errno) {
	switch {
	case len(value) >= 4:
		return int(int32(get32(value))), 0
	case level == syscall.IPPROTO_IP && len(value) >= 1:
		return int(value[0]), 0
	case level == syscall.IPPROTO_IP:
		return 0, 0
	}
	return 0, syscall.EINVAL
}

func getEndpoint(o inet.Option) func(*socket, []byte) (int, syscall.Errno) {
	return func(s *socket, value []byte) (int, syscall.Errno) {
		n, err := s.Get(o)
		if err != 0 {
			return 0, err
		}
		return putInt(value, n), 0
	}
}

func setEndpoint(o inet.Option) func(*socket, []byte) syscall.Errno {
	return func(s *socket, value []byte) syscall.Errno {
		n, err := number(syscall.IPPROTO_IP, value)
		if err != 0 {
			return err
		}
		return s.Set(o, n)
	}
}

// row is an option with ways of its own; nil for a way that there is not.
func row(level, name int, text, note string, get func(*socket, []byte) (int, syscall.Errno), set func(*socket, []byte) syscall.Errno) option {
	return option{optionKey: optionKey{level, name}, text: text, note: note, get: get, set: set}
}

// endpointNumber is an option that package inet keeps, and its range too.
func endpointNumber(level, name int, text string, o inet.Option) option {
	return row(level, name, text, "", getEndpoint(o), func(s *socket, value []byte) syscall.Errno {
		n, err := number(level, value)
		if err != 0 {
			return err
		}
		return s.Set(o, n)
	})
}

// endpointFlag is endpointNumber for an option that is on or off.
func endpointFlag(level, name int, text string, o inet.Option) option {
	return row(level, name, text, "", getEndpoint(o), func(s *socket, value []byte) syscall.Errno {
		n, err := number(level, value)
		if err != 0 {
			return err
		}
		if n != 0 {
			n = 1
		}
		return s.Set(o, n)
	})
}

// only makes an option of one type of socket; the other type keeps it.
func (o option) only(typ, initial int, note string) option {
	other := kept(o.level, o.name, o.text, note, initial)
	get, set, keptGet, keptSet := o.get, o.set, other.get, other.set
	other.get = func(s *socket, value []byte) (int, syscall.Errno) {
		if s.typ == typ {
			return get(s, value)
		}
		return keptGet(s, value)
	}
	other.set = func(s *socket, value []byte) syscall.Errno {
		if s.typ == typ {
			return set(s, value)
		}
		return keptSet(s, value)
	}
	return other
}

// stream makes an option that datagram sockets do not have, as a level that is
// not theirs (sock_no_setsockopt).
func (o option) stream() option { return o.of(syscall.SOCK_STREAM, nil) }

// datagram is the counterpart of stream; allowed checks the value.
func (o option) datagram(allowed func(int) bool) option { return o.of(syscall.SOCK_DGRAM, allowed) }

func (o option) of(typ int, allowed func(int) bool) option {
	get, set := o.get, o.set
	o.get = func(s *socket, value []byte) (int, syscall.Errno) {
		if s.typ != typ {
			return 0, syscall.EOPNOTSUPP
		}
		return get(s, value)
	}
	o.set = func(s *socket, value []byte) syscall.Errno {
		if s.typ != typ {
			return syscall.ENOPROTOOPT
		}
		if n, err := number(o.level, value); err == 0 && allowed != nil && !allowed(n) {
			return syscall.EINVAL
		}
		return set(s, value)
	}
	return o
}

func segmentRange(n int) bool { return n >= 0 && n <= 65535 }

func mustBeZero(n int) bool { return n == 0 }

// kept is an int that is kept for whoever asks.
func kept(level, name int, text, note string, initial int) option {
	key := optionKey{level, name}
	return row(level, name, text, note,
		func(s *socket, value []byte) (int, syscall.Errno) {
			s.mu.Lock()
			n, ok := s.kept[key]
			s.mu.Unlock()
			if !ok {
				n = initial
			}
			return putInt(value, n), 0
		},
		func(s *socket, value []byte) syscall.Errno {
			n, err := number(level, value)
			if err == 0 {
				s.keep(key, n)
			}
			return err
		})
}

func (s *socket) keep(key optionKey, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		s.kept = map[optionKey]int{}
	}
	s.kept[key] = n
	s.keeps.Store(true)
}

// keptValue is what was kept, or 0.
func (s *socket) keptValue(key optionKey) int {
	if !s.keeps.Load() {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[key]
}

// inherit takes what a listener's options leave to its connections.
func (s *socket) inherit(from *socket) {
	s.receiveLimit.Store(from.receiveLimit.Load())
	s.sendLimit.Store(from.sendLimit.Load())
	if !from.keeps.Load() {
		return
	}
	from.mu.Lock()
	defer from.mu.Unlock()
	for k, n := range from.kept {
		s.keep(k, n)
	}
}

// constant is an option that can only be read.
func constant(level, name int, text, note string, n int) option {
	return row(level, name, text, note, func(_ *socket, value []byte) (int, syscall.Errno) { return putInt(value, n), 0 }, nil)
}

// refused is an option that is known and not given, without a report.
func refused(level, name int, text, note string, err syscall.Errno) option {
	o := row(level, name, text, note,
		func(*socket, []byte) (int, syscall.Errno) { return 0, syscall.ENOPROTOOPT },
		func(*socket, []byte) syscall.Errno { return err })
	o.refused = true
	return o
}

// wanted is an option of IP by which a program asks for a control message.
func wanted(name int, text string, bit uint32) option {
	return row(syscall.IPPROTO_IP, name, text, "",
		func(s *socket, value []byte) (int, syscall.Errno) {
			n := 0
			if s.wants.Load()&bit != 0 {
				n = 1
			}
			return putInt(value, n), 0
		},
		func(s *socket, value []byte) syscall.Errno {
			n, err := number(syscall.IPPROTO_IP, value)
			switch {
			case err != 0:
			case n != 0:
				s.wants.Or(bit)
			default:
				s.wants.And(^bit)
			}
			return err
		})
}
