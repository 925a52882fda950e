package router

import (
	"errors"
	"io"
	"strconv"

	"github.com/dewpaas/dew/router/http1"
)

// refuse answers a request that the parser refused. Where it ends is unknown,
// so the connection ends too.
func (x *exchange) refuse(err error) next {
	x.mustClose = true
	if errors.Is(err, http1.ErrNoHost) {
		return x.fail(400, "empty_host", "400 Bad Request: Request had empty Host header.")
	}
	var refusal *http1.Error
	if !errors.As(err, &refusal) {
		return thenNothing
	}
	x.client.srv.metrics.refused.Add(1)
	return x.fail(refusal.Status, "", strconv.Itoa(refusal.Status)+" "+statusText(refusal.Status)+": "+refusal.Reason+".")
}

func (x *exchange) unknownRoute() next {
	return x.fail(404, "unknown_route", "404 Not Found: Requested route ('"+string(x.host)+"') does not exist.")
}

// refuseHead ends a connection whose next head could not be read.
func (c *client) refuseHead(err error) {
	var refusal *http1.Error
	switch {
	case errors.As(err, &refusal):
	case timedOut(err) && c.w > c.r:
		refusal = &http1.Error{Status: 408, Reason: "request head took too long"}
	default:
		return // idle for too long, or the client ended it
	}
	x := c.srv.exchanges.Get().(*exchange)
	x.begin(c)
	c.req = http1.Request{}
	x.refuse(refusal)
	x.finish()
	c.srv.exchanges.Put(x)
	c.linger()
}

// fail answers in the router's own name. routerError explains it to
// machines, X-Cf-Routererror.
func (x *exchange) fail(status int, routerError, text string) next {
	c := x.client
	x.status, x.routerError = status, routerError
	closing := x.mustClose || !c.req.Persistent() || !x.body.Empty() && !x.streamed || c.srv.draining.Load()
	if text != "" {
		text += "\n"
	}
	a := &x.answer
	a.to, a.idle = &c.guard, c.srv.cfg.BodyIdle
	out := appendStatus(a.out[:0], status, []byte(statusText(status)))
	if routerError != "" {
		out = appendHeader(out, "X-Cf-Routererror", routerError)
	}
	out = append(out, "Cache-Control: no-cache, no-store\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"...)
	out = appendField(out, []byte("X-Vcap-Request-Id"), x.id[:])
	out = appendHeader(out, "Content-Length", strconv.Itoa(len(text)))
	out = append(out, "Date: "...)
	out = x.start.UTC().AppendFormat(out, httpTime)
	out = append(out, '\r', '\n')
	switch {
	case closing:
		out = append(out, "Connection: close\r\n"...)
	case c.req.Minor == 0:
		out = append(out, "Connection: keep-alive\r\n"...)
	}
	out = append(out, '\r', '\n')
	if string(c.req.Method) != "HEAD" {
		out = append(out, text...)
	}
	a.out = out
	switch err := a.flush(); {
	case err != nil && !errors.Is(err, io.EOF):
		return thenNothing
	case closing:
		return thenClose
	}
	return thenNext
}

func statusText(status int) string {
	switch status {
	case 200:
		return "OK"
	case 400:
		return "Bad Request"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 408:
		return "Request Timeout"
	case 417:
		return "Expectation Failed"
	case 431:
		return "Request Header Fields Too Large"
	case 501:
		return "Not Implemented"
	case 502:
		return "Bad Gateway"
	case 503:
		return "Service Unavailable"
	case 504:
		return "Gateway Timeout"
	case 505:
		return "HTTP Version Not Supported"
	}
	return "Error"
}
