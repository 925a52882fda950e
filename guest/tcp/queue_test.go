package tcp

import (
	"bytes"
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"
)

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestQueueIsAStream compares a queue with a slice under random calls.
func TestQueueIsAStream(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 0))
		m := NewMemory(1 << 20)
		var q queue
		var want []byte
		for range 300 {
			switch r.IntN(5) {
			case 0, 1:
				p := randomBytes(r, r.IntN([]int{10, 3000, 90000}[r.IntN(3)]))
				n := q.push(m, p)
				want = append(want, p[:n]...)
			case 2:
				p := make([]byte, r.IntN(50000))
				n := q.read(m, p)
				if !bytes.Equal(p[:n], want[:n]) || n != min(len(p), len(want)) {
					t.Fatalf("seed %d: read other bytes", seed)
				}
				want = want[n:]
			case 3:
				n := r.IntN(q.size + 1)
				q.skip(m, n)
				want = want[n:]
			case 4:
				checkPieces(t, &q, want, r)
			}
			if q.size != len(want) || m.Used() > m.Limit() {
				t.Fatalf("seed %d: size %d, want %d, held %d", seed, q.size, len(want), m.Used())
			}
		}
		q.clear(m)
		if m.Used() != 0 {
			t.Fatalf("seed %d: %d bytes are held by nobody", seed, m.Used())
		}
	}
}

func checkPieces(t *testing.T, q *queue, want []byte, r *rand.Rand) {
	if len(want) == 0 {
		return
	}
	off := r.IntN(len(want))
	n := 1 + r.IntN(len(want)-off)
	var iov [5]syscall.Iovec
	count, size := q.pieces(off, n, iov[:])
	var got []byte
	for _, v := range iov[:count] {
		got = append(got, unsafe.Slice(v.Base, v.Len)...)
	}
	if !bytes.Equal(got, want[off:off+size]) || size != q.span(off, n, len(iov)) || size < n && count < len(iov) {
		t.Fatalf("pieces of %d bytes at %d: %d bytes in %d", n, off, size, count)
	}
}

// TestReserve: a queue goes on with one small chunk when all memory is taken.
func TestReserve(t *testing.T) {
	m := NewMemory(1000)
	var q queue
	for range 3 {
		if n := q.push(m, make([]byte, 9000)); n != smallChunk {
			t.Fatalf("took %d bytes", n)
		}
		if n := q.push(m, make([]byte, 9000)); n != 0 {
			t.Fatalf("took %d bytes more", n)
		}
		q.skip(m, smallChunk)
	}
	if m.Used() != 0 {
		t.Errorf("%d bytes are counted", m.Used())
	}
}

// TestIdleQueueHoldsNothing, and a short stream little.
func TestIdleQueueHoldsNothing(t *testing.T) {
	m := NewMemory(1 << 20)
	var q queue
	q.push(m, make([]byte, 500))
	if m.Used() != 0 {
		t.Errorf("%d bytes for a short one: the reserve is enough", m.Used())
	}
	q.push(m, make([]byte, 100_000))
	if q.skip(m, q.size); m.Used() != 0 || q.head != nil || q.tail != nil {
		t.Errorf("%d bytes are held by an empty queue", m.Used())
	}
}

func TestMemoryIsGivenBackOnce(t *testing.T) {
	m := NewMemory(100_000)
	if m.Take(100_001) || m.Used() != 0 {
		t.Error("took more than there is")
	}
	c := m.Buffer(3000)
	if c == nil || c.Cost() != mediumChunk+chunkOverhead || m.Used() != c.Cost() || len(c.Bytes()) != mediumChunk {
		t.Fatalf("%d bytes for 3000", m.Used())
	}
	if m.Buffer(LargeChunk) == nil || m.Buffer(LargeChunk) != nil || m.Buffer(LargeChunk+1) != nil {
		t.Error("not exactly one large chunk")
	}
	if !m.Tight() {
		t.Error("not tight")
	}
	m.Free(c)
	if m.Used() != LargeChunk+chunkOverhead {
		t.Errorf("%d bytes are held", m.Used())
	}
}
