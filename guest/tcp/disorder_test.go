package tcp

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/dewpaas/dew/guest/packet"
)

// checkDisorder asserts that the runs are in order, apart, not empty, and hold
// the right bytes; stream tells what byte belongs to a number.
func checkDisorder(t *testing.T, d *disorder, stream func(Seq) byte) {
	t.Helper()
	if len(d.runs) > maxRuns {
		t.Fatalf("%d runs", len(d.runs))
	}
	for i := range d.runs {
		r := &d.runs[i]
		if r.end.Minus(r.start) != r.data.size || r.data.size <= 0 {
			t.Fatalf("run %d-%d holds %d bytes", r.start, r.end, r.data.size)
		}
		if i > 0 && !d.runs[i-1].end.Before(r.start) {
			t.Fatalf("runs %d-%d and %d-%d touch", d.runs[i-1].start, d.runs[i-1].end, r.start, r.end)
		}
		got := make([]byte, r.data.size)
		r.data.peek(got)
		for j, b := range got {
			if b != stream(r.start+Seq(j)) {
				t.Fatalf("run %d-%d has a wrong byte at %d", r.start, r.end, r.start+Seq(j))
			}
		}
	}
}

// TestDisorder adds random pieces of a stream, over the wrap of the numbers.
func TestDisorder(t *testing.T) {
	stream := func(s Seq) byte { return byte(s*2654435761>>24) ^ byte(s) }
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 0))
		m := NewMemory(4 << 20)
		d := disorder{run: queue{reserved: true}}
		const base, span = Seq(1<<32 - 5000), 20000
		have := make([]bool, span)
		for range 200 {
			from := r.IntN(span - 1)
			n := 1 + r.IntN(min(span-from, []int{3, 100, 4000}[r.IntN(3)]))
			p := make([]byte, n)
			for i := range p {
				p[i] = stream(base + Seq(from+i))
				have[from+i] = true
			}
			before := len(d.runs)
			d.add(m, base+Seq(from), p)
			checkDisorder(t, &d, stream)
			if before == maxRuns {
				break // from here on something may have been dropped
			}
		}
		if len(d.runs) < maxRuns {
			covered := 0
			for i := range d.runs {
				covered += d.runs[i].data.size
			}
			want := 0
			for _, h := range have {
				if h {
					want++
				}
			}
			if covered != want {
				t.Errorf("seed %d: %d bytes are kept of %d", seed, covered, want)
			}
		}
		var o packet.Options
		d.blocks(&o, 4)
		for i := range o.NumBlocks {
			if !Seq(o.Blocks[i].Start).Before(Seq(o.Blocks[i].End)) {
				t.Errorf("block %+v", o.Blocks[i])
			}
		}
		if d.clear(m); m.Used() != 0 {
			t.Fatalf("seed %d: %d bytes are held by nobody", seed, m.Used())
		}
	}
}

// FuzzDisorder: as TestDisorder, with pieces from the fuzzer and little memory.
func FuzzDisorder(f *testing.F) {
	f.Add([]byte{0, 10, 20, 10, 10, 10, 5, 20})
	f.Add(bytes.Repeat([]byte{3, 1, 7, 1}, 300))
	f.Fuzz(func(t *testing.T, in []byte) {
		m := NewMemory(30_000)
		d := disorder{run: queue{reserved: true}}
		stream := func(s Seq) byte { return byte(s * 7) }
		for ; len(in) >= 2; in = in[2:] {
			from, p := Seq(in[0])*3, make([]byte, 1+int(in[1])*5)
			for i := range p {
				p[i] = stream(from + Seq(i))
			}
			d.add(m, from, p)
			if m.Used() > m.Limit() {
				t.Fatalf("%d of %d bytes", m.Used(), m.Limit())
			}
			checkDisorder(t, &d, stream)
		}
		if d.clear(m); m.Used() != 0 {
			t.Fatalf("%d bytes are held by nobody", m.Used())
		}
	})
}

// TestRecordsKeepTheirSums under random splits, marks and acknowledgements.
func TestRecordsKeepTheirSums(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 0))
		m := NewMemory(1 << 20)
		var rs records
		nxt := Seq(1<<32 - 3000)
		una := nxt
		for range 2000 {
			switch k := r.IntN(5); {
			case k == 0 && rs.makeRoom(m):
				end := nxt + 1 + Seq(r.IntN(3000))
				rs.add(nxt, end, 1)
				nxt = end
			case k == 1 && !rs.empty():
				i := r.IntN(len(rs.live()))
				e := rs.live()[i]
				if n := e.end.Minus(e.seq); n > 1 {
					rs.split(m, i, e.seq+1+Seq(r.IntN(n-1)))
				}
			case k == 2 && !rs.empty():
				e := &rs.live()[r.IntN(len(rs.live()))]
				rs.mark(e, []uint8{0, sacked, lost, resent, lost | resent}[r.IntN(5)])
			case k == 3 && r.IntN(4) == 0:
				una += Seq(r.IntN(nxt.Minus(una) + 1))
				rs.pop(una)
			}
			checkRecords(t, &rs, una, nxt)
		}
		if rs.clear(m); m.Used() != 0 {
			t.Fatalf("seed %d: %d bytes are held by nobody", seed, m.Used())
		}
	}
}

func checkRecords(t *testing.T, rs *records, una, nxt Seq) {
	t.Helper()
	var pipe, sack, gone int
	at := una
	for _, e := range rs.live() {
		if e.seq != at || !e.seq.Before(e.end) {
			t.Fatalf("record %d-%d after %d", e.seq, e.end, at)
		}
		at = e.end
		switch n := e.end.Minus(e.seq); {
		case e.flags&sacked != 0:
			sack += n
		case e.flags&lost != 0:
			gone += n
		default:
			pipe += n
		}
	}
	if at != nxt && len(rs.live()) > 0 || pipe != rs.pipe || sack != rs.sacked || gone != rs.lost || len(rs.live()) > maxRecords {
		t.Fatalf("sums %d %d %d, want %d %d %d; end %d, want %d", rs.pipe, rs.sacked, rs.lost, pipe, sack, gone, at, nxt)
	}
}
