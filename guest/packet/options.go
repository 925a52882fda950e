package packet

// Block is a range of sequence numbers, its end not included.
type Block struct{ Start, End uint32 }

// MaxBlocks is how many SACK blocks fit into a header (RFC 2018 section 3).
const MaxBlocks = 4

// Options are those of TCP that we know.
type Options struct {
	MSS           uint16 // 0: none
	Scale         uint8  // at most 14 (RFC 7323 section 2.3)
	HasScale      bool
	SACKPermitted bool
	HasTime       bool
	Time, Echo    uint32 // TSval and TSecr
	Blocks        [MaxBlocks]Block
	NumBlocks     int
}

// Option kinds (IANA, TCP parameters).
const (
	optEnd           = 0
	optNop           = 1
	optMSS           = 2
	optScale         = 3
	optSACKPermitted = 4
	optSACK          = 5
	optTime          = 8
)

// Options reads the options. Those that run over the end, and all behind them,
// are left out; unknown ones are skipped (RFC 9293 section 3.1, MUST-6).
func (b TCP) Options(o *Options) {
	*o = Options{}
	p := b[TCPSize:b.HeaderLength()]
	// What nearly every segment of a connection carries (RFC 7323 appendix A).
	if len(p) == 12 && p[0] == optNop && p[1] == optNop && p[2] == optTime && p[3] == 10 {
		o.HasTime, o.Time, o.Echo = true, be32(p[4:]), be32(p[8:])
		return
	}
	for len(p) > 0 && p[0] != optEnd {
		if p[0] == optNop {
			p = p[1:]
			continue
		}
		if len(p) < 2 || p[1] < 2 || int(p[1]) > len(p) {
			return
		}
		o.read(p[0], p[2:p[1]])
		p = p[p[1]:]
	}
}

func (o *Options) read(kind uint8, v []byte) {
	switch {
	case kind == optMSS && len(v) == 2:
		o.MSS = be16(v)
	case kind == optScale && len(v) == 1:
		o.HasScale, o.Scale = true, min(v[0], 14)
	case kind == optSACKPermitted && len(v) == 0:
		o.SACKPermitted = true
	case kind == optTime && len(v) == 8:
		o.HasTime, o.Time, o.Echo = true, be32(v), be32(v[4:])
	case kind == optSACK && len(v)%8 == 0:
		for ; len(v) > 0 && o.NumBlocks < MaxBlocks; v = v[8:] {
			o.Blocks[o.NumBlocks] = Block{be32(v), be32(v[4:])}
			o.NumBlocks++
		}
	}
}

// put writes the options and returns how many bytes they take, padded to 4.
// Blocks that do not fit are left out.
func (o *Options) put(b []byte) int {
	n := 0
	add := func(v ...byte) { n += copy(b[n:], v) }
	if o.MSS > 0 {
		add(optMSS, 4, byte(o.MSS>>8), byte(o.MSS))
	}
	switch {
	case o.HasTime && o.SACKPermitted:
		add(optSACKPermitted, 2)
	case o.HasTime:
		add(optNop, optNop)
	case o.SACKPermitted:
		add(optNop, optNop, optSACKPermitted, 2)
	}
	if o.HasTime {
		b[n], b[n+1] = optTime, 10
		putBE32(b[n+2:], o.Time)
		putBE32(b[n+6:], o.Echo)
		n += 10
	}
	if o.HasScale {
		add(optNop, optScale, 3, o.Scale)
	}
	if k := min(o.NumBlocks, (len(b)-n-4)/8); k > 0 {
		add(optNop, optNop, optSACK, byte(2+8*k))
		for _, s := range o.Blocks[:k] {
			putBE32(b[n:], s.Start)
			putBE32(b[n+4:], s.End)
			n += 8
		}
	}
	return n
}
