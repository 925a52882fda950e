package tcp

import (
	"math"
	"testing"
)

const segment = 1448

// flow is a congestion window in use on a path of one round-trip time.
type flow struct {
	congestion
	now, rtt int64
	seq      Seq
}

func newFlow(rtt int64) *flow {
	f := &flow{now: second, rtt: rtt}
	f.init()
	f.begin(segment, 0)
	return f
}

// roundTrip acknowledges a whole window, segment by segment.
func (f *flow) roundTrip() {
	n := f.cwnd
	f.sending(n, true, f.seq, f.seq+Seq(n))
	f.seq += Seq(n)
	for range n / segment {
		f.acked(segment, segment, f.rtt, f.now)
		f.now += f.rtt / int64(n/segment)
	}
}

func TestSlowStartDoubles(t *testing.T) {
	f := newFlow(10 * ms)
	for want := 10; want < 2000; want *= 2 {
		if got := f.cwnd / segment; got != want {
			t.Fatalf("window %d, want %d", got, want)
		}
		f.roundTrip()
	}
}

// TestUnusedWindowDoesNotGrow: a program that sends little gets no credit for it.
func TestUnusedWindowDoesNotGrow(t *testing.T) {
	f := newFlow(10 * ms)
	for range 100 {
		f.sending(segment, false, f.seq, f.seq+segment)
		f.seq += segment
		f.acked(segment, segment, f.rtt, f.now)
	}
	if f.cwnd != 10*segment {
		t.Errorf("window %d", f.cwnd/segment)
	}
}

// TestCubic compares with the formula of RFC 9438 section 4.2 over a long path.
func TestCubic(t *testing.T) {
	f := newFlow(100 * ms)
	f.cwnd = 1000 * segment
	f.limited = true
	f.reduce(f.cwnd, segment)
	if got := f.ssthresh / segment; got < 699 || got > 700 {
		t.Fatalf("threshold %d segments after a loss at 1000", f.ssthresh/segment)
	}
	f.cwnd = f.ssthresh
	k := math.Cbrt(1000 * 0.3 / cubicC)
	start := f.now
	for range 150 {
		f.roundTrip()
		at := float64(f.now-start) / 1e9
		want := 1000 + cubicC*math.Pow(at-k, 3)
		if got := float64(f.cwnd) / segment; math.Abs(got-want) > 0.03*want {
			t.Fatalf("after %.1f s the window is %.0f, want %.0f", at, got, want)
		}
	}
	// Fast convergence: a loss below the last maximum leaves room.
	f.wMax = 2000
	before := float64(f.cwnd) / segment
	f.reduce(f.cwnd, segment)
	if math.Abs(f.wMax-before*0.85) > 1 {
		t.Errorf("maximum %.0f after a loss at %.0f", f.wMax, before)
	}
}

// TestRenoRegion: on a short path CUBIC is no slower than Reno (section 4.3).
func TestRenoRegion(t *testing.T) {
	f := newFlow(ms)
	f.cwnd, f.limited = 20*segment, true
	f.reduce(f.cwnd, segment)
	f.cwnd = f.ssthresh
	for range 100 {
		f.roundTrip()
	}
	// 100 round trips: alpha 0.53 each until 20 is reached again, then 1.
	if got := f.cwnd / segment; got < 60 || got > 110 {
		t.Errorf("window %d after 100 round trips of 1 ms", got)
	}
}

// TestHystart leaves slow start when the round trips get longer.
func TestHystart(t *testing.T) {
	f := newFlow(50 * ms)
	d := 50 * ms
	for round := range 20 {
		n := f.cwnd
		f.sending(n, true, f.seq, f.seq+Seq(n))
		end := f.seq + Seq(n)
		for f.seq.Before(end) {
			f.seq += segment
			f.round(d, f.seq, end+Seq(n))
			f.acked(segment, segment, d, f.now)
		}
		if round >= 4 {
			d += 10 * ms // a queue builds up
		}
		if !f.slow() {
			if round > 12 {
				t.Errorf("left after %d rounds", round)
			}
			return
		}
	}
	t.Errorf("never left slow start: %d segments", f.cwnd/segment)
}

func TestIdleRestarts(t *testing.T) {
	f := newFlow(10 * ms)
	f.cwnd, f.ssthresh = 400*segment, 200*segment
	f.idle(segment)
	if f.cwnd != 10*segment || f.ssthresh != 300*segment {
		t.Errorf("window %d, threshold %d", f.cwnd/segment, f.ssthresh/segment)
	}
}

func TestInitialWindow(t *testing.T) {
	for mss, want := range map[int]int{1448: 14480, 536: 5360, 8948: 17896, 65455: 130910} {
		if got := initialWindow(mss); got != want {
			t.Errorf("MSS %d: %d, want %d", mss, got, want)
		}
	}
}

func TestRTT(t *testing.T) {
	r := rtt{rto: firstRTO}
	if r.base() != second {
		t.Error("the first time-out is not a second")
	}
	r.sample(100*ms, second)
	if r.srtt != 100*ms || r.rttvar != 50*ms || r.rto != 300*ms {
		t.Errorf("%+v", r)
	}
	for i := range int64(100) {
		r.sample(100*ms, second+i)
	}
	if r.rto != 300*ms { // srtt and the lower bound of the variance's part
		t.Errorf("steady: %d ms", r.rto/ms)
	}
	for range 20 {
		r.backOff()
	}
	if r.rto != maxRTO {
		t.Errorf("backed off: %d ms", r.rto/ms)
	}
	r.sample(100*ms, 2*second)
	if r.rto > 301*ms {
		t.Errorf("a measurement takes the back-off back: %d ms", r.rto/ms)
	}
}

func TestMinimumForgets(t *testing.T) {
	var m minimum
	m.update(5, second)
	m.update(9, 2*second)
	if m.value() != 5 {
		t.Errorf("%d", m.value())
	}
	m.update(9, 12*second)
	m.update(9, 24*second)
	if m.value() != 9 {
		t.Errorf("a path that has become longer: %d", m.value())
	}
}

func TestSeq(t *testing.T) {
	a, b := Seq(1<<32-10), Seq(5)
	if !a.Before(b) || b.Before(a) || !a.AtMost(a) || b.Minus(a) != 15 || a.Minus(b) != -15 || later(a, b) != b {
		t.Error("comparison over the wrap")
	}
}
