package router

import (
	"bytes"
	"strconv"

	"github.com/dewpaas/dew/router/http1"
)

// via is the router's name in Via, RFC 9110 section 7.6.3.
const via = "1.1 dew"

// appendRequest writes the head that the app gets. Everything that frames or
// routes is written anew from what was understood, never copied.
func (x *exchange) appendRequest(dst []byte, e *endpoint) []byte {
	c, q := x.client, &x.client.req
	dst = append(dst, q.Method...)
	dst = append(dst, ' ')
	dst = append(dst, q.Target...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, q.Host...)
	dst = append(dst, '\r', '\n')
	trusted := c.trusted
	var proto, started bool
	for i := range q.Fields {
		f := &q.Fields[i]
		if f.Hop {
			continue
		}
		switch f.ID {
		case http1.Host, http1.ContentLength, http1.XForwardedFor, http1.XVcapRequestID,
			http1.XCfApplicationID, http1.XCfInstanceID, http1.XCfInstanceIndex, http1.XCfRouterError:
			continue
		case http1.XForwardedClientCert:
			if !trusted {
				continue
			}
		case http1.XForwardedProto:
			if !trusted || proto {
				continue
			}
			proto = true
		case http1.XRequestStart:
			started = true
		case http1.Trailer:
			if !q.Chunked {
				continue
			}
		}
		dst = appendField(dst, f.Name, f.Value)
	}
	dst = x.appendForwardedFor(dst)
	if !proto {
		dst = appendHeader(dst, "X-Forwarded-Proto", c.proto)
	}
	dst = appendField(dst, []byte("X-Vcap-Request-Id"), x.id[:])
	if !started {
		dst = append(dst, "X-Request-Start: "...)
		dst = strconv.AppendInt(dst, x.start.UnixMilli(), 10)
		dst = append(dst, '\r', '\n')
	}
	dst = appendHeader(dst, "X-Cf-Applicationid", e.App)
	dst = appendHeader(dst, "X-Cf-Instanceid", e.Instance)
	dst = appendHeader(dst, "X-Cf-Instanceindex", e.index)
	dst = appendHeader(dst, "Via", via)
	return x.appendFraming(dst)
}

// appendFraming ends the app's head.
func (x *exchange) appendFraming(dst []byte) []byte {
	q := &x.client.req
	switch {
	case q.Chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case q.ContentLength >= 0:
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, q.ContentLength, 10)
		dst = append(dst, '\r', '\n')
	}
	switch {
	case x.upgrade:
		dst = append(dst, "Connection: Upgrade\r\n"...)
		dst = appendField(dst, []byte("Upgrade"), q.Upgrade)
	case q.TETrailers:
		dst = append(dst, "Connection: TE\r\nTE: trailers\r\n"...)
	}
	return append(dst, '\r', '\n')
}

// appendForwardedFor joins all lines into one: an app that reads only the
// first must not read what the client made up.
func (x *exchange) appendForwardedFor(dst []byte) []byte {
	dst = append(dst, "X-Forwarded-For: "...)
	from := len(dst)
	for i := range x.client.req.Fields {
		f := &x.client.req.Fields[i]
		if f.ID == http1.XForwardedFor && !f.Hop && len(f.Value) > 0 {
			dst = append(dst, f.Value...)
			dst = append(dst, ',', ' ')
		}
	}
	dst = append(dst, x.client.ip...)
	if x.logged {
		x.forwardedFor = append(x.forwardedFor[:0], dst[from:]...)
	}
	return append(dst, '\r', '\n')
}

// mayUpgrade: never to h2c, which would carry requests past this door.
func mayUpgrade(q *http1.Request) bool {
	body := q.Body()
	return len(q.Upgrade) > 0 && q.Minor == 1 && body.Empty() &&
		!bytes.Contains(bytes.ToLower(q.Upgrade), []byte("h2c"))
}

// appendResponse writes the head that the client gets.
func (x *exchange) appendResponse(dst []byte, p *http1.Response, f framing) []byte {
	dst = appendStatus(dst, p.Status, p.Reason)
	dated := false
	for i := range p.Fields {
		h := &p.Fields[i]
		if h.Hop {
			continue
		}
		switch h.ID {
		case http1.ContentLength:
			if f.noLength {
				continue
			}
		case http1.XVcapRequestID, http1.XCfRouterError:
			continue // the router's words
		case http1.Date:
			dated = true
		case http1.SetCookie:
			x.noteCookie(h.Value)
		case http1.Trailer:
			if !f.chunk {
				continue
			}
		}
		dst = appendField(dst, h.Name, h.Value)
	}
	if p.Interim() {
		return append(dst, '\r', '\n')
	}
	dst = append(dst, "X-Vcap-Request-Id: "...)
	dst = append(dst, x.id[:]...)
	dst = append(dst, '\r', '\n')
	dst = x.appendStickyCookie(dst)
	if !dated {
		dst = append(dst, "Date: "...)
		dst = x.start.UTC().AppendFormat(dst, httpTime)
		dst = append(dst, '\r', '\n')
	}
	return x.appendConnection(dst, p, f)
}

// framing is how the client learns where the answer ends.
type framing struct {
	chunk    bool // Transfer-Encoding: chunked
	close    bool // the connection ends behind this answer
	noLength bool // drop Content-Length
}

// httpTime is IMF-fixdate, RFC 9110 section 5.6.7.
const httpTime = "Mon, 02 Jan 2006 15:04:05 GMT"

func (x *exchange) appendConnection(dst []byte, p *http1.Response, f framing) []byte {
	if f.chunk {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	switch {
	case p.Status == 101 || p.Status == 426 && p.Upgrade != nil:
		dst = append(dst, "Connection: Upgrade"...)
		if f.close && p.Status != 101 {
			dst = append(dst, ", close"...)
		}
		dst = append(dst, '\r', '\n')
		dst = appendField(dst, []byte("Upgrade"), p.Upgrade)
	case f.close:
		dst = append(dst, "Connection: close\r\n"...)
	case x.client.req.Minor == 0:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	return append(dst, '\r', '\n')
}

func appendStatus(dst []byte, status int, reason []byte) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, reason...)
	return append(dst, '\r', '\n')
}
