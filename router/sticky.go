package router

import (
	"bytes"
	"cmp"

	"github.com/dewpaas/dew/router/http1"
)

// vcapID is the cookie in which the router keeps a session's instance.
const vcapID = "__VCAP_ID__"

// session is what a request and its answer say about stickiness.
type session struct {
	wanted  []byte // instance of the request's __VCAP_ID__, when a session cookie is there too
	renewed bool   // the answer sets a session cookie
	attrs   []byte // its attributes, for ours
}

// readSession looks for the pair of cookies.
func (x *exchange) readSession() {
	x.session.wanted, x.session.renewed = nil, false
	var id []byte
	found := false
	for i := range x.client.req.Fields {
		f := &x.client.req.Fields[i]
		if f.ID != http1.Cookie {
			continue
		}
		for rest := f.Value; len(rest) > 0; {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, []byte{';'})
			name, value, _ := bytes.Cut(bytes.TrimSpace(pair), []byte{'='})
			if string(name) == vcapID {
				id = value
			}
			found = found || x.client.srv.isSession(name)
		}
	}
	if found {
		x.session.wanted = id
	}
}

func (s *Server) isSession(name []byte) bool {
	for _, n := range s.cfg.SessionCookies {
		if string(name) == n {
			return true
		}
	}
	return false
}

// noteCookie looks at one Set-Cookie of an answer.
func (x *exchange) noteCookie(value []byte) {
	pair, attrs, _ := bytes.Cut(value, []byte{';'})
	name, _, _ := bytes.Cut(bytes.TrimSpace(pair), []byte{'='})
	if !x.session.renewed && x.client.srv.isSession(name) {
		x.session.renewed = true
		x.session.attrs = append(x.session.attrs[:0], attrs...)
	}
}

// appendStickyCookie sets our cookie when the app set its own, or when the
// session had to move to another instance. Ours lives exactly as long and as
// far as the app's.
func (x *exchange) appendStickyCookie(dst []byte) []byte {
	moved := len(x.session.wanted) > 0 && string(x.session.wanted) != x.up.endpoint.Instance
	if !x.session.renewed && !moved {
		return dst
	}
	var attrs []byte
	if x.session.renewed {
		attrs = x.session.attrs
	}
	return appendVcapCookie(dst, x.up.endpoint.Instance, x.pool.key.Path, attrs)
}

// appendVcapCookie sets the cookie for the path of the route, unless the app's own
// names another: apps below one host have sessions of their own, as with gorouter.
func appendVcapCookie(dst []byte, instance, route string, attrs []byte) []byte {
	dst = append(dst, "Set-Cookie: "+vcapID+"="...)
	dst = append(dst, instance...)
	path, secure := false, false
	for rest := attrs; len(rest) > 0; {
		var a []byte
		a, rest, _ = bytes.Cut(rest, []byte{';'})
		a = bytes.TrimSpace(a)
		name, _, _ := bytes.Cut(a, []byte{'='})
		switch {
		case http1.EqualFold(name, "path"):
			path = true
		case http1.EqualFold(name, "secure"):
			secure = true
			continue
		case http1.EqualFold(name, "expires"), http1.EqualFold(name, "max-age"),
			http1.EqualFold(name, "samesite"), http1.EqualFold(name, "partitioned"):
		default:
			continue // not Domain: the route's own host is right
		}
		dst = append(append(dst, "; "...), a...)
	}
	if !path {
		dst = append(append(dst, "; Path="...), cmp.Or(route, "/")...)
	}
	dst = append(dst, "; HttpOnly"...)
	if secure {
		dst = append(dst, "; Secure"...)
	}
	return append(dst, '\r', '\n')
}

// pin is a request for one certain instance.
type pin struct {
	guid    []byte
	index   int // -1: any
	process bool
}

// readPin reads X-Cf-App-Instance: GUID:INDEX and X-Cf-Process-Instance:
// GUID[:INDEX].
func readPin(q *http1.Request) (p pin, found, ok bool) {
	for i := range q.Fields {
		f := &q.Fields[i]
		if f.ID != http1.XCfAppInstance && f.ID != http1.XCfProcessInstance {
			continue
		}
		if found {
			return p, true, false
		}
		found = true
		p, ok = parsePin(f.Value, f.ID == http1.XCfProcessInstance)
	}
	return p, found, ok
}

func parsePin(v []byte, process bool) (pin, bool) {
	guid, index, both := bytes.Cut(v, []byte{':'})
	p := pin{guid: guid, index: -1, process: process}
	if len(guid) == 0 || !both && !process {
		return p, false
	}
	if !both {
		return p, true
	}
	if len(index) == 0 || len(index) > 6 {
		return p, false
	}
	p.index = 0
	for _, c := range index {
		if c < '0' || c > '9' {
			return p, false
		}
		p.index = p.index*10 + int(c-'0')
	}
	return p, true
}
