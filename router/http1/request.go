package http1

import "bytes"

// Request is a request head. Its slices point into the parsed buffer.
type Request struct {
	Method []byte
	Target []byte // origin-form, or "*" for OPTIONS
	Host   []byte // authority, as sent
	message
	Expect     bool // Expect: 100-continue
	TETrailers bool // TE: trailers
	slashed    []byte
}

// Parse reads a head that HeadEnd has measured.
func (r *Request) Parse(head []byte) error {
	r.reset()
	r.Host, r.Expect, r.TETrailers = nil, false, false
	l, rest := line(head)
	if err := r.requestLine(l); err != nil {
		return err
	}
	absolute := r.Host
	if err := r.parseFields(rest); err != nil {
		return err
	}
	if err := r.noteRequest(); err != nil {
		return err
	}
	if absolute != nil { // RFC 9112 section 3.2.2: the target wins over Host
		r.Host = absolute
	}
	if len(r.Host) == 0 {
		return ErrNoHost
	}
	if !validHost(r.Host) {
		return ErrHost
	}
	return nil
}

// requestLine reads method SP request-target SP HTTP-version with single spaces.
func (r *Request) requestLine(l []byte) error {
	sp := bytes.IndexByte(l, ' ')
	if sp <= 0 || !all(l[:sp], isToken) {
		return ErrRequestLine
	}
	r.Method, l = l[:sp:sp], l[sp+1:]
	sp = bytes.IndexByte(l, ' ')
	if sp <= 0 {
		return ErrRequestLine
	}
	target, version := l[:sp:sp], l[sp+1:]
	if !r.parseVersion(version) {
		if len(version) == 8 && string(version[:5]) == "HTTP/" {
			return ErrVersion
		}
		return ErrRequestLine
	}
	if !all(target, isTarget) {
		return ErrTarget
	}
	return r.target(target)
}

// target sorts the four forms of RFC 9112 section 3.2. CONNECT's authority is
// refused: the router is no tunnel.
func (r *Request) target(t []byte) error {
	switch {
	case t[0] == '/':
		r.Target = t
	case len(t) == 1 && t[0] == '*' && string(r.Method) == "OPTIONS":
		r.Target = t
	case len(t) > 7 && EqualFold(t[:7], "http://"):
		return r.absolute(t[7:])
	case len(t) > 8 && EqualFold(t[:8], "https://"):
		return r.absolute(t[8:])
	default:
		return ErrTarget
	}
	return nil
}

func (r *Request) absolute(t []byte) error {
	end := bytes.IndexAny(t, "/?")
	if end < 0 {
		end = len(t)
	}
	r.Host = t[:end:end]
	if len(r.Host) == 0 || !validHost(r.Host) {
		return ErrTarget
	}
	r.Target = t[end:]
	if len(r.Target) == 0 || r.Target[0] == '?' {
		r.slashed = append(append(r.slashed[:0], '/'), r.Target...)
		r.Target = r.slashed
	}
	return nil
}

func (r *Request) noteRequest() error {
	hosts := 0
	for i := range r.Fields {
		f := &r.Fields[i]
		switch f.ID {
		case Host:
			if hosts++; hosts > 1 || len(f.Value) > 0 && !validHost(f.Value) {
				return ErrHost
			}
			if r.Host == nil {
				r.Host = f.Value
			}
		case Expect:
			if !EqualFold(f.Value, "100-continue") {
				return ErrExpect
			}
			// RFC 9110 section 10.1.1: ignored from a 1.0 client.
			r.Expect = r.Minor == 1
			f.Hop = f.Hop || r.Minor == 0
		case TE:
			r.TETrailers = r.TETrailers || offersTrailers(f.Value)
		}
	}
	if r.Minor == 1 && hosts == 0 {
		return ErrNoHost // RFC 9112 section 3.2
	}
	return nil
}

func offersTrailers(list []byte) bool {
	for e, rest := Element(list); ; e, rest = Element(rest) {
		if EqualFold(e, "trailers") {
			return true
		}
		if rest == nil {
			return false
		}
	}
}

// validHost accepts name, name:port and [address]:port.
func validHost(h []byte) bool {
	if !all(h, isHost) {
		return false
	}
	port := []byte(nil)
	if h[0] == '[' {
		end := bytes.IndexByte(h, ']')
		if end < 2 {
			return false
		}
		h, port = h[1:end], h[end+1:]
		if len(port) > 0 && port[0] != ':' {
			return false
		}
		if bytes.IndexByte(h, '[') >= 0 {
			return false
		}
	} else if i := bytes.IndexByte(h, ':'); i >= 0 {
		h, port = h[:i], h[i:]
	}
	if len(h) == 0 || bytes.IndexByte(port, ']') >= 0 || len(port) > 6 {
		return false
	}
	if len(port) > 0 {
		for _, c := range port[1:] {
			if c < '0' || c > '9' {
				return false
			}
		}
	}
	return true
}

// Persistent reports whether the client expects the connection to stay open:
// RFC 9112 section 9.3.
func (r *Request) Persistent() bool {
	return !r.Close && (r.Minor == 1 || r.KeepAlive)
}

// Body returns the framing of the request's body: RFC 9112 section 6.3.
func (r *Request) Body() Body {
	switch {
	case r.Chunked:
		return Body{kind: chunked}
	case r.ContentLength > 0:
		return Body{kind: length, left: r.ContentLength}
	}
	return Body{kind: empty}
}

// Idempotent reports whether a second execution is harmless: RFC 9110 section 9.2.2.
func (r *Request) Idempotent() bool {
	switch string(r.Method) {
	case "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE":
		return true
	}
	return false
}
