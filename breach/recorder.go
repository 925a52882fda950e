package breach

import (
	"io"
	"sync"

	"github.com/dewpaas/dew/abi/control"
)

// recorder reads what a guest says on its control channel as a caretaker
// would that believes everything: it is what the bounds of tender.Link are
// good for. It keeps numbers only.
type recorder struct {
	mu     sync.Mutex // guards all below
	head   []byte     // of a frame that has begun
	skip   uint64     // bytes of its payload that are still to come
	kind   control.Kind
	keeps  map[control.Kind]int // frames of a kind
	bytes  uint64               // of all payloads
	asked  uint64               // the largest payload announced
	escape bool                 // a report has control characters
	future bool                 // a mark is from after the year 2200
	first  []byte               // of the payload, up to 8 bytes
}

// Write implements io.Writer.
func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(b)
	for len(b) > 0 {
		if r.skip > 0 {
			b = r.payload(b)
			continue
		}
		take := min(len(b), control.HeaderSize-len(r.head))
		r.head = append(r.head, b[:take]...)
		b = b[take:]
		if len(r.head) == control.HeaderSize {
			r.begin()
		}
	}
	return n, nil
}

func (r *recorder) begin() {
	if r.keeps == nil {
		r.keeps = map[control.Kind]int{}
	}
	r.kind = control.Kind(uint16(r.head[0]) | uint16(r.head[1])<<8)
	r.skip = uint64(control.U32(r.head[8:]))
	r.asked = max(r.asked, r.skip)
	r.keeps[r.kind]++
	r.head, r.first = r.head[:0], r.first[:0]
}

func (r *recorder) payload(b []byte) []byte {
	n := min(uint64(len(b)), r.skip)
	part := b[:n]
	r.skip -= n
	r.bytes += n
	if r.kind == control.Report {
		for _, c := range part {
			r.escape = r.escape || c == 0x1b
		}
	}
	r.first = append(r.first, part[:min(len(part), 8-len(r.first))]...)
	if r.kind == control.Mark && len(r.first) == 8 {
		r.future = r.future || r.first[7] >= 0x60 // ns, signed, little endian
	}
	return b[n:]
}

// drain reads everything.
func (r *recorder) drain(from io.Reader) { io.Copy(r, from) }

// count of frames of a kind.
func (r *recorder) count(k control.Kind) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keeps[k]
}

// credulous is what a caretaker without bounds would have suffered.
type credulous struct {
	bytes, asked   uint64
	replies        int
	escape, future bool
}

func (r *recorder) suffered() credulous {
	r.mu.Lock()
	defer r.mu.Unlock()
	return credulous{r.bytes, r.asked, r.keeps[control.Reply], r.escape, r.future}
}
