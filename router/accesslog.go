package router

import (
	"strconv"
	"time"

	"github.com/dewpaas/dew/router/http1"
)

// AccessLog takes one line per request, without a newline, in the format of
// Cloud Foundry's RTR lines. line is valid during the call only; the call is
// on the request's path and must not block. app is empty when no route matched.
type AccessLog interface {
	Request(app string, index int, at time.Time, line []byte)
}

// entry is what a line tells.
type entry struct {
	host, method, target []byte
	minor                string
	status               int
	received, sent       int64
	referer, agent       []byte
	remote               string
	forwardedFor         []byte
	forwardedProto       string
	id                   []byte
	took, gorouter       time.Duration
	at                   time.Time
	endpoint             *endpoint
	routerError          string
}

func (x *exchange) log() {
	c, q := x.client, &x.client.req
	e := entry{
		host: q.Host, method: q.Method, target: q.Target, minor: "HTTP/1." + strconv.Itoa(q.Minor), status: x.status,
		received: x.sending.moved + int64(len(x.whole)), sent: x.answer.moved,
		remote: c.remote, forwardedFor: x.forwardedFor, forwardedProto: c.proto, id: x.id[:],
		took: x.end.Sub(x.start), at: x.start, routerError: x.routerError,
	}
	e.gorouter = max(e.took-x.appTime, 0)
	for i := range q.Fields {
		switch f := &q.Fields[i]; f.ID {
		case http1.Referer:
			e.referer = f.Value
		case http1.UserAgent:
			e.agent = f.Value
		}
	}
	if x.up != nil {
		e.endpoint = x.up.endpoint
	}
	x.line = e.append(x.line[:0])
	app, index := "", 0
	if e.endpoint != nil {
		app, index = e.endpoint.App, e.endpoint.Index
	}
	c.srv.cfg.AccessLog.Request(app, index, x.start, x.line)
}

func (e *entry) append(b []byte) []byte {
	b = appendBare(b, e.host)
	b = append(b, " - ["...)
	b = e.at.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000000Z")
	b = append(b, `] "`...)
	b = appendEscaped(b, e.method)
	b = append(b, ' ')
	b = appendEscaped(b, e.target)
	b = append(append(b, ' '), e.minor...)
	b = append(b, `" `...)
	b = strconv.AppendInt(b, int64(e.status), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, e.received, 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, e.sent, 10)
	b = appendQuoted(append(b, ' '), e.referer)
	b = appendQuoted(append(b, ' '), e.agent)
	b = append(append(append(b, ` "`...), e.remote...), `" "`...)
	app, index, instance, address := "-", "-", "-", "-"
	if p := e.endpoint; p != nil {
		app, index, instance, address = p.App, p.index, p.Instance, p.Address
	}
	b = append(append(b, address...), `" x_forwarded_for:`...)
	b = appendQuoted(b, e.forwardedFor)
	b = append(append(b, ` x_forwarded_proto:"`...), e.forwardedProto...)
	b = append(b, `" vcap_request_id:`...)
	b = appendQuoted(b, e.id)
	b = append(b, " response_time:"...)
	b = strconv.AppendFloat(b, e.took.Seconds(), 'f', 6, 64)
	b = append(b, " gorouter_time:"...)
	b = strconv.AppendFloat(b, e.gorouter.Seconds(), 'f', 6, 64)
	b = append(append(b, ` app_id:"`...), app...)
	b = append(append(b, `" app_index:"`...), index...)
	b = append(append(b, `" instance_id:"`...), instance...)
	b = append(b, `" x_cf_routererror:"`...)
	if e.routerError == "" {
		b = append(b, '-')
	}
	return append(append(b, e.routerError...), '"')
}

func appendBare(b, v []byte) []byte {
	if len(v) == 0 {
		return append(b, '-')
	}
	return appendEscaped(b, v)
}

func appendQuoted(b, v []byte) []byte {
	return append(appendBare(append(b, '"'), v), '"')
}

// appendEscaped keeps a client from writing lines or fields of its own.
func appendEscaped(b, v []byte) []byte {
	for _, c := range v {
		if c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			b = append(b, '\\', 'x', hexDigits[c>>4], hexDigits[c&0xf])
		} else {
			b = append(b, c)
		}
	}
	return b
}
