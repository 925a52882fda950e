package tcp

import "math"

// congestion is the congestion window: slow start with HyStart++ (RFC 9406) and
// CUBIC (RFC 9438). Windows are in bytes.
type congestion struct {
	cwnd     int
	ssthresh int
	limited  bool // the window, not the program, held sending back
	maxOut   int  // most bytes in flight in this window's round
	roundEnd Seq  // of that round

	// CUBIC. Windows are in segments here.
	wMax    float64
	wEst    float64 // what Reno would have
	k       float64 // seconds until wMax is reached again
	epochAt int64   // start of the avoidance stage, 0: not begun
	epochW  float64
	part    float64 // growth below one byte

	hystart
}

const (
	cubicC    = 0.4 // RFC 9438 section 5.1
	cubicBeta = 0.7
	// A Reno flow that backs off by cubicBeta must grow by this much to be as
	// fast as one that halves (RFC 9438 section 4.3).
	renoAlpha = 3 * (1 - cubicBeta) / (1 + cubicBeta)
	unlimited = 1 << 30
	maxWindow = 1 << 28
)

func (g *congestion) init() { g.cwnd, g.ssthresh = unlimited, unlimited }

// begin sets the initial window (RFC 6928 section 2).
func (g *congestion) begin(mss int, una Seq) {
	g.cwnd = initialWindow(mss)
	g.roundEnd, g.windowEnd = una, una
}

func initialWindow(mss int) int { return min(10*mss, max(2*mss, 14600)) }

// slow tells whether the connection is in slow start.
func (g *congestion) slow() bool { return g.cwnd < g.ssthresh }

// sending notes how much is in flight after a transmission and what held the
// rest back (RFC 7661: a window that is not used must not grow).
func (g *congestion) sending(flight int, limited bool, una, nxt Seq) {
	if g.roundEnd.AtMost(una) || limited || !g.limited && flight > g.maxOut {
		g.maxOut, g.limited, g.roundEnd = flight, limited, nxt
	}
}

// used tells whether the window is what holds the connection back.
func (g *congestion) used() bool {
	return g.limited || g.slow() && g.cwnd < 2*g.maxOut
}

// acked grows the window for bytes that arrived.
func (g *congestion) acked(n, mss int, srtt, now int64) {
	if !g.used() {
		return
	}
	if g.slow() {
		n = g.slowStart(n, mss)
	}
	if n > 0 && g.cwnd >= g.ssthresh {
		g.cubic(n, mss, srtt, now)
	}
	g.cwnd = min(g.cwnd, maxWindow)
}

// slowStart returns what is left for congestion avoidance.
func (g *congestion) slowStart(n, mss int) int {
	if g.css > 0 {
		n /= cssGrowth
	}
	grow := min(n, g.ssthresh-g.cwnd)
	g.cwnd += grow
	return n - grow
}

// cubic grows the window by what RFC 9438 section 4 says for n acknowledged bytes.
func (g *congestion) cubic(n, mss int, srtt, now int64) {
	cwnd, acked := float64(g.cwnd)/float64(mss), float64(n)/float64(mss)
	if g.epochAt == 0 {
		g.epochAt, g.epochW, g.wEst = now, cwnd, cwnd
		if g.wMax <= cwnd {
			g.wMax, g.k = cwnd, 0
		} else {
			g.k = math.Cbrt((g.wMax - cwnd) / cubicC)
		}
	}
	alpha := renoAlpha
	if g.wEst >= g.wMax {
		alpha = 1
	}
	g.wEst += alpha * acked / cwnd
	t := float64(now-g.epochAt)/1e9 - g.k
	if w := g.wMax + cubicC*t*t*t; w < g.wEst { // section 4.3: no slower than Reno
		g.grow(max(g.wEst-cwnd, 0), mss)
		return
	}
	t += float64(srtt) / 1e9
	target := min(max(g.wMax+cubicC*t*t*t, cwnd), 1.5*cwnd)
	g.grow((target-cwnd)/cwnd*acked, mss)
}

func (g *congestion) grow(segments float64, mss int) {
	g.part += segments * float64(mss)
	whole := math.Floor(g.part)
	g.part -= whole
	g.cwnd += int(whole)
}

// reduce computes the threshold after a loss (RFC 9438 sections 4.6 and 4.7).
func (g *congestion) reduce(flight, mss int) {
	cwnd := float64(g.cwnd) / float64(mss)
	if cwnd < g.wMax {
		g.wMax = cwnd * (1 + cubicBeta) / 2 // leave room for a newcomer
	} else {
		g.wMax = cwnd
	}
	g.epochAt = 0
	// What was in flight counts, not a window that was not used.
	base := min(g.cwnd, max(flight, 2*mss))
	if g.limited {
		base = g.cwnd
	}
	g.ssthresh = max(int(float64(base)*cubicBeta), 2*mss)
}

// idle restarts after a pause longer than the RTO (RFC 5681 section 4.1).
func (g *congestion) idle(mss int) {
	g.ssthresh = max(g.ssthresh, g.cwnd/4*3)
	g.cwnd = min(g.cwnd, initialWindow(mss))
	g.epochAt = 0
}

// hystart leaves slow start before it overshoots, when round trips get longer.
type hystart struct {
	windowEnd         Seq
	lastRTT, roundRTT int64 // smallest of the last round and of this one
	samples           int
	css               int // rounds of conservative slow start that are left, 0: not in it
	cssBase           int64
}

const (
	hystartSamples = 8
	cssRounds      = 5
	cssGrowth      = 4
	minRTTThresh   = 4 * ms
	maxRTTThresh   = 16 * ms
)

// round takes a sample in slow start (RFC 9406 section 4.2).
func (g *congestion) round(d int64, ack, nxt Seq) {
	h := &g.hystart
	if !g.slow() {
		return
	}
	if h.windowEnd.AtMost(ack) {
		h.lastRTT, h.roundRTT, h.samples, h.windowEnd = h.roundRTT, 0, 0, nxt
		if h.css > 0 {
			if h.css--; h.css == 0 {
				g.ssthresh = g.cwnd
				return
			}
		}
	}
	if h.roundRTT == 0 || d < h.roundRTT {
		h.roundRTT = d
	}
	if h.samples++; h.samples < hystartSamples || h.lastRTT == 0 {
		return
	}
	thresh := min(max(h.lastRTT/8, minRTTThresh), maxRTTThresh)
	switch {
	case h.css > 0 && h.roundRTT < h.cssBase:
		h.css = 0 // it was a passing delay
	case h.css == 0 && h.roundRTT >= h.lastRTT+thresh:
		h.css, h.cssBase = cssRounds, h.roundRTT
	}
}
