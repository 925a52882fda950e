package tcp

// Retransmission time-outs in ns. The lower bound is Linux's; RFC 6298 would
// have a second.
const (
	firstRTO = second
	minRTO   = 200 * ms
	maxRTO   = 120 * second
)

// rtt estimates the round-trip time (RFC 6298).
type rtt struct {
	srtt, rttvar int64 // 0: no sample yet
	rto          int64 // back-off included
	minRTT       minimum
}

// sample takes a measurement, of segments that were sent once (Karn).
func (r *rtt) sample(d, now int64) {
	d = max(d, 1)
	r.minRTT.update(d, now)
	if r.srtt == 0 {
		r.srtt, r.rttvar = d, d/2
	} else {
		r.rttvar += (abs(r.srtt-d) - r.rttvar) / 4
		r.srtt += (d - r.srtt) / 8
	}
	r.rto = r.base()
}

// base is the time-out without back-off. As on Linux, the bound is on the
// variance's part, so that a long path keeps its distance.
func (r *rtt) base() int64 {
	if r.srtt == 0 {
		return firstRTO
	}
	return min(r.srtt+max(4*r.rttvar, minRTO), maxRTO)
}

func (r *rtt) backOff() { r.rto = min(2*r.rto, maxRTO) }

func abs(n int64) int64 { return max(n, -n) }

// minimum is the smallest of the last ten to twenty seconds.
type minimum struct {
	old, cur int64 // of the window before and of this one, 0: none
	since    int64
}

func (m *minimum) update(d, now int64) {
	const window = 10 * second
	if now-m.since > window {
		m.old, m.cur, m.since = m.cur, d, now
	}
	if m.cur == 0 || d < m.cur {
		m.cur = d
	}
}

func (m *minimum) value() int64 {
	if m.old == 0 || m.cur < m.old {
		return m.cur
	}
	return m.old
}
