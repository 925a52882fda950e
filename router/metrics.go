package router

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// bounds of the response time histogram, in seconds.
var bounds = [...]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60}

// metrics count what the router does. All are plain atomics: a request costs
// five additions.
type metrics struct {
	byStatus [6]atomic.Int64 // by hundreds; 0: others
	buckets  [len(bounds) + 1]atomic.Int64
	nanos    atomic.Int64
	out, in  atomic.Int64

	active, conns, tunnels                         atomic.Int64
	dialErrors, retries, refused, cutShort, turned atomic.Int64
}

func (m *metrics) observe(status int, took time.Duration, out, in int64) {
	if status == 0 {
		return
	}
	class := status / 100
	if class > 5 {
		class = 0
	}
	m.byStatus[class].Add(1)
	seconds, i := took.Seconds(), 0
	for i < len(bounds) && seconds > bounds[i] {
		i++
	}
	m.buckets[i].Add(1)
	m.nanos.Add(int64(took))
	m.out.Add(out)
	m.in.Add(in)
}

// WriteMetrics writes the figures in Prometheus' text format 0.0.4.
func (s *Server) WriteMetrics(w io.Writer) error {
	m, p := &s.metrics, printer{w: w}
	p.head("dew_router_requests_total", "counter", "Requests answered, by class of status.")
	for class, name := range []string{"other", "1xx", "2xx", "3xx", "4xx", "5xx"} {
		p.printf("dew_router_requests_total{status=%q} %d\n", name, m.byStatus[class].Load())
	}
	p.head("dew_router_response_seconds", "histogram", "Time from a request's head to the end of its answer.")
	total := int64(0)
	for i := range m.buckets {
		le := "+Inf"
		if i < len(bounds) {
			le = fmt.Sprint(bounds[i])
		}
		total += m.buckets[i].Load()
		p.printf("dew_router_response_seconds_bucket{le=%q} %d\n", le, total)
	}
	p.printf("dew_router_response_seconds_sum %g\n", time.Duration(m.nanos.Load()).Seconds())
	p.printf("dew_router_response_seconds_count %d\n", total)
	for _, f := range []struct {
		name, kind, help string
		v                *atomic.Int64
	}{
		{"sent_bytes_total", "counter", "Bytes sent to clients.", &m.out},
		{"received_bytes_total", "counter", "Bytes of request bodies.", &m.in},
		{"requests_active", "gauge", "Requests under way.", &m.active},
		{"connections", "gauge", "Client connections.", &m.conns},
		{"tunnels", "gauge", "Upgraded connections.", &m.tunnels},
		{"dial_errors_total", "counter", "Connections to instances that failed.", &m.dialErrors},
		{"retries_total", "counter", "Requests sent again.", &m.retries},
		{"refused_requests_total", "counter", "Requests that broke HTTP's rules.", &m.refused},
		{"cut_short_total", "counter", "Answers that an instance did not finish.", &m.cutShort},
		{"turned_away_total", "counter", "Connections above the limit.", &m.turned},
	} {
		p.head("dew_router_"+f.name, f.kind, f.help)
		p.printf("dew_router_%s %d\n", f.name, f.v.Load())
	}
	return p.err
}

type printer struct {
	w   io.Writer
	err error
}

func (p *printer) head(name, kind, help string) {
	p.printf("# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (p *printer) printf(format string, a ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, a...)
	}
}
