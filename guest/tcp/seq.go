package tcp

// Seq is a sequence number; comparisons are modulo 2^32 (RFC 9293 section 3.4).
type Seq uint32

// Before tells whether a comes before b.
func (a Seq) Before(b Seq) bool { return int32(a-b) < 0 }

// AtMost tells whether a comes before b or is b.
func (a Seq) AtMost(b Seq) bool { return int32(a-b) <= 0 }

// Minus is how far a is ahead of b.
func (a Seq) Minus(b Seq) int { return int(int32(a - b)) }

func later(a, b Seq) Seq {
	if a.Before(b) {
		return b
	}
	return a
}
