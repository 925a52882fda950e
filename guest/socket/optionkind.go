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

// way is what reading and writing an option do.
type way int

const (
	own       way = iota // get and set of the row
	amount               // package inet keeps it, and its range too
	onOff                // likewise, on or off
	amountGet            // amount that can only be read
	amountSet            // amount that can only be set
	keep                 // an int that is kept for whoever asks, at first value
	constant             // always value
	refused              // known and not given, without a report: err
	want                 // asks for a control message of IP: bit
)

// option is one row of the table.
type option struct {
	optionKey
	text string // as headers spell it
	note string // what it does, when that is not what its manual page says
	way  way

	of    inet.Option
	value int
	err   syscall.Errno
	bit   uint32
	get   func(s *socket, value []byte) (int, syscall.Errno) // nil: it cannot be read
	set   func(s *socket, value []byte) syscall.Errno        // nil: it cannot be set

	typ     int            // the type of socket that has it; 0: both
	others  others         // what the other type does with it
	initial int            // of othersKeep
	allowed func(int) bool // which values; nil: all
}

// others is what a type of socket does with an option of the other.
type others int

const (
	othersLack others = iota // as a level that is not theirs (sock_no_setsockopt)
	othersKeep               // without effect
)

// readable and writable tell what a program can do with an option.
func (o *option) readable() bool {
	return o.way != refused && o.way != amountSet && (o.way != own || o.get != nil)
}

func (o *option) writable() bool {
	return o.way != refused && o.way != amountGet && o.way != constant && (o.way != own || o.set != nil)
}

// read is getsockopt(2).
func (o *option) read(s *socket, value []byte) (int, syscall.Errno) {
	if o.typ != 0 && s.typ != o.typ {
		if o.others == othersLack {
			return 0, syscall.EOPNOTSUPP
		}
		return putInt(value, s.keptOr(o.optionKey, o.initial)), 0
	}
	switch {
	case !o.readable():
		return 0, syscall.ENOPROTOOPT
	case o.way == own:
		return o.get(s, value)
	case o.way == keep:
		return putInt(value, s.keptOr(o.optionKey, o.value)), 0
	case o.way == constant:
		return putInt(value, o.value), 0
	case o.way == want:
		n := 0
		if s.wants.Load()&o.bit != 0 {
			n = 1
		}
		return putInt(value, n), 0
	}
	return s.getAmount(o.of, value)
}

func (s *socket) getAmount(o inet.Option, value []byte) (int, syscall.Errno) {
	n, err := s.Get(o)
	if err != 0 {
		return 0, err
	}
	return putInt(value, n), 0
}

// write is setsockopt(2).
func (o *option) write(s *socket, value []byte) syscall.Errno {
	other := o.typ != 0 && s.typ != o.typ
	switch {
	case other && o.others == othersLack:
		return syscall.ENOPROTOOPT
	case o.way == refused:
		return o.err
	case !o.writable():
		return syscall.ENOPROTOOPT
	case o.way == own:
		return o.set(s, value)
	}
	n, err := number(o.level, value)
	switch {
	case err != 0:
		return err
	case o.allowed != nil && !o.allowed(n):
		return syscall.EINVAL
	case other || o.way == keep:
		s.keep(o.optionKey, n)
		return 0
	case o.way == want:
		s.want(o.bit, n != 0)
		return 0
	case o.way == onOff && n != 0:
		n = 1
	}
	return s.Set(o.of, n)
}

func (s *socket) want(bit uint32, on bool) {
	if on {
		s.wants.Or(bit)
	} else {
		s.wants.And(^bit)
	}
}

func segmentRange(n int) bool { return n >= 0 && n <= 65535 }

func mustBeZero(n int) bool { return n == 0 }

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
func (s *socket) keptValue(key optionKey) int { return s.keptOr(key, 0) }

// keptOr is what was kept, or what is so at first.
func (s *socket) keptOr(key optionKey, initial int) int {
	if !s.keeps.Load() {
		return initial
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.kept[key]; ok {
		return n
	}
	return initial
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
