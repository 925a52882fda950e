package http1

// class bits of one byte, RFC 9110 section 5.6.2 and 5.5, RFC 3986 section 3.2.2.
const (
	isToken  = 1 << iota // tchar
	isValue              // field-vchar, SP, HTAB
	isTarget             // what a request target may hold
	isHost               // what an authority may hold
)

// class is a table and not a chain of comparisons: every byte of every head
// passes here.
var class = makeClass()

func makeClass() (t [256]uint8) {
	for c := range 256 {
		b := byte(c)
		alnum := '0' <= b && b <= '9' || 'a' <= b|0x20 && b|0x20 <= 'z'
		if alnum || has("!#$%&'*+-.^_`|~", b) {
			t[c] |= isToken
		}
		if b == '\t' || b >= ' ' && b != 0x7f {
			t[c] |= isValue
		}
		// '#' never reaches a server: whoever sends it disagrees with somebody
		// about where the path ends.
		if b > ' ' && b != 0x7f && b != '#' {
			t[c] |= isTarget
		}
		if alnum || has("-._~%!$&'()*+,;=:[]", b) {
			t[c] |= isHost
		}
	}
	return t
}

func has(set string, b byte) bool {
	for i := range len(set) {
		if set[i] == b {
			return true
		}
	}
	return false
}

func all(b []byte, bit uint8) bool {
	for _, c := range b {
		if class[c]&bit == 0 {
			return false
		}
	}
	return true
}

// EqualFold reports whether b is the ASCII word lower, whatever its case.
// lower must be in lower case.
func EqualFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c != lower[i] && lowerByte(c) != lower[i] {
			return false
		}
	}
	return true
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// Element cuts the first element off a comma-separated list, RFC 9110 section 5.6.1.
func Element(list []byte) (element, rest []byte) {
	for i, c := range list {
		if c == ',' {
			return trim(list[:i]), list[i+1:]
		}
	}
	return trim(list), nil
}

// AppendLower appends b in lower case.
func AppendLower(dst, b []byte) []byte {
	for _, c := range b {
		dst = append(dst, lowerByte(c))
	}
	return dst
}
