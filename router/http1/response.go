package http1

// Response is a response head. Its slices point into the parsed buffer.
type Response struct {
	Status int
	Reason []byte
	message
}

// Parse reads a head that HeadEnd has measured.
func (r *Response) Parse(head []byte) error {
	r.reset()
	l, rest := line(head)
	if len(l) < 12 || l[8] != ' ' || !r.parseVersion(l[:8]) {
		return ErrStatusLine
	}
	n, ok := decimal(l[9:12])
	if !ok || n < 100 || n > 999 {
		return ErrStatusLine
	}
	r.Status, r.Reason = int(n), nil
	if len(l) > 12 { // many servers leave out the space when there is no reason
		if l[12] != ' ' || !all(l[13:], isValue) {
			return ErrStatusLine
		}
		r.Reason = l[13:]
	}
	return r.parseFields(rest)
}

// Interim reports whether another head follows.
func (r *Response) Interim() bool {
	return r.Status < 200 && r.Status != 101
}

// Bodiless reports whether the answer to such a request ends with its head,
// whatever its fields say: RFC 9112 section 6.3, rules 1 and 2.
func (r *Response) Bodiless(toHead bool) bool {
	return toHead || r.Status < 200 || r.Status == 204 || r.Status == 304
}

// Body returns the framing of the response's body.
func (r *Response) Body(toHead bool) Body {
	switch {
	case r.Bodiless(toHead), r.ContentLength == 0:
		return Body{kind: empty}
	case r.Chunked:
		return Body{kind: chunked}
	case r.ContentLength > 0:
		return Body{kind: length, left: r.ContentLength}
	}
	return Body{kind: untilClose}
}

// Persistent reports whether the app keeps the connection open.
func (r *Response) Persistent() bool {
	return !r.Close && (r.Minor == 1 || r.KeepAlive)
}
