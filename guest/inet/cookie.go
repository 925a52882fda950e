package inet

import (
	"github.com/dewpaas/dew/guest/packet"
	"github.com/dewpaas/dew/guest/tcp"
)

// SYN cookies (RFC 4987 section 3.6): a listener that has begun too many
// connections puts what it must know into its sequence number and, of the
// options, into the low bits of its timestamp, and keeps nothing.
//
//	sequence number: | minute, 5 bits | MSS, 3 bits | hash, 24 bits |
//	timestamp:       | clock          | SACK, 1 bit | scale, 4 bits |
//
// The minute (64 s) makes a cookie worthless after two of them.
const (
	cookieLife   = 64 * 1e9
	noScale      = 15
	cookieLow    = 1<<5 - 1
	cookieAccept = 2 * cookieLife
)

// cookieMSS are the sizes that fit into three bits.
var cookieMSS = [8]int{216, 536, 966, 1220, 1360, 1440, 1460, 8960}

func (s *Stack) cookieHash(f flow, peer tcp.Seq, minute uint32, mss int) uint32 {
	a, b := f.words()
	return uint32(s.keys.cookie.sum(a, b|uint64(peer)<<32, uint64(minute)<<8|uint64(mss))) & (1<<24 - 1)
}

// sendCookie answers a SYN.
func (s *Stack) sendCookie(g *tcp.Segment, f flow, now int64) {
	mss := 0
	for i, size := range cookieMSS {
		if int(g.Options.MSS) >= size {
			mss = i
		}
	}
	minute := uint32(now/cookieLife) & 31
	seq := minute<<27 | uint32(mss)<<24 | s.cookieHash(f, g.Seq, minute, mss)
	o := packet.Options{MSS: uint16(s.mtu(f.peer) - packet.IPv4Size - packet.TCPSize)}
	if g.Options.HasTime {
		o.HasTime, o.Echo = true, g.Options.Time
		o.Time = s.cookieStamp(f, g, now)
		o.SACKPermitted, o.HasScale, o.Scale = g.Options.SACKPermitted, g.Options.HasScale, tcp.Scale
	}
	s.Counters.CookiesOut.Add(1)
	s.bare(f, &packet.TCPFields{Seq: seq, Ack: uint32(g.Seq) + 1, Flags: packet.SYN | packet.ACK, Window: 0xffff}, &o)
}

// cookieStamp is our timestamp with the peer's options in its low bits, not
// later than the clock: timestamps must not go back.
func (s *Stack) cookieStamp(f flow, g *tcp.Segment, now int64) uint32 {
	clock := uint32(now/1e6) + s.keys.stampOffset(f)
	low := uint32(noScale)
	if g.Options.HasScale {
		low = uint32(min(g.Options.Scale, 14))
	}
	if g.Options.SACKPermitted {
		low |= 1 << 4
	}
	stamp := clock&^cookieLow | low
	if int32(stamp-clock) > 0 {
		stamp -= cookieLow + 1
	}
	return stamp
}

// resume takes an acknowledgement that no connection expects: of a cookie, if
// we have sent some lately.
func (l *listener) resume(r *receiver, f flow) bool {
	s, g := l.stack, &r.segment
	l.mu.Lock()
	lately := l.cookieAt != 0 && r.now-l.cookieAt < cookieAccept
	full := len(l.ready) > l.backlog
	l.mu.Unlock()
	if !lately {
		return false
	}
	mss, ok := s.cookieValid(g, f, r.now)
	if !ok {
		s.Counters.CookiesBad.Add(1)
		return false
	}
	s.Counters.CookiesIn.Add(1)
	if full {
		return true
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	t := l.child()
	l.mu.Unlock()
	if t == nil || !t.born(f, r.now) {
		return true
	}
	low := g.Options.Echo & cookieLow
	scaled := g.Options.HasTime && low&noScale != noScale
	t.conn.Resume(g, mss, g.Options.HasTime && low>>4 != 0, uint8(low&noScale), scaled, r.now)
	t.conn.Input(g, r.now)
	t.unlock(r.now)
	return true
}

// cookieValid checks that the acknowledgement answers a cookie and returns the
// peer's MSS.
func (s *Stack) cookieValid(g *tcp.Segment, f flow, now int64) (mss int, ok bool) {
	seq := uint32(g.Ack) - 1
	minute, i := seq>>27, int(seq>>24&7)
	age := (uint32(now/cookieLife) - minute) & 31
	if age > 1 || seq&(1<<24-1) != s.cookieHash(f, g.Seq-1, minute, i) {
		return 0, false
	}
	return cookieMSS[i], true
}
