package router

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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

// classes are the classes of status, by hundreds.
var classes = [6]string{"other", "1xx", "2xx", "3xx", "4xx", "5xx"}

func classOf(status int) int {
	if class := status / 100; class < len(classes) {
		return class
	}
	return 0
}

func (m *metrics) observe(status int, took time.Duration, out, in int64) {
	if status == 0 {
		return
	}
	m.byStatus[classOf(status)].Add(1)
	seconds, i := took.Seconds(), 0
	for i < len(bounds) && seconds > bounds[i] {
		i++
	}
	m.buckets[i].Add(1)
	m.nanos.Add(int64(took))
	m.out.Add(out)
	m.in.Add(in)
}

// Describe says nothing in advance: the figures are few and always the same.
func (s *Server) Describe(chan<- *prometheus.Desc) {}

// Collect tells the figures to Prometheus.
func (s *Server) Collect(ch chan<- prometheus.Metric) {
	m := &s.metrics
	requests := prometheus.NewDesc("dew_router_requests_total", "Requests answered, by class of status.", []string{"status"}, nil)
	for class, name := range classes {
		ch <- prometheus.MustNewConstMetric(requests, prometheus.CounterValue, float64(m.byStatus[class].Load()), name)
	}
	buckets, total := map[float64]uint64{}, uint64(0)
	for i := range m.buckets {
		if total += uint64(m.buckets[i].Load()); i < len(bounds) {
			buckets[bounds[i]] = total
		}
	}
	took := prometheus.NewDesc("dew_router_response_seconds", "Time from a request's head to the end of its answer.", nil, nil)
	ch <- prometheus.MustNewConstHistogram(took, total, time.Duration(m.nanos.Load()).Seconds(), buckets)
	for _, f := range []struct {
		name string
		kind prometheus.ValueType
		help string
		v    *atomic.Int64
	}{
		{"sent_bytes_total", prometheus.CounterValue, "Bytes sent to clients.", &m.out},
		{"received_bytes_total", prometheus.CounterValue, "Bytes of request bodies.", &m.in},
		{"requests_active", prometheus.GaugeValue, "Requests under way.", &m.active},
		{"connections", prometheus.GaugeValue, "Client connections.", &m.conns},
		{"tunnels", prometheus.GaugeValue, "Upgraded connections.", &m.tunnels},
		{"dial_errors_total", prometheus.CounterValue, "Connections to instances that failed.", &m.dialErrors},
		{"retries_total", prometheus.CounterValue, "Requests sent again.", &m.retries},
		{"refused_requests_total", prometheus.CounterValue, "Requests that broke HTTP's rules.", &m.refused},
		{"cut_short_total", prometheus.CounterValue, "Answers that an instance did not finish.", &m.cutShort},
		{"turned_away_total", prometheus.CounterValue, "Connections above the limit.", &m.turned},
	} {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("dew_router_"+f.name, f.help, nil, nil), f.kind, float64(f.v.Load()))
	}
	s.collectApps(ch)
}

// collectApps tells of each instance that has a route what it was asked.
func (s *Server) collectApps(ch chan<- prometheus.Metric) {
	requests := prometheus.NewDesc("dew_app_requests_total", "Requests that an instance was given, by class of status.", []string{"app_guid", "index", "instance", "status"}, nil)
	type row struct {
		*endpoint
		byStatus [len(classes)]int64
	}
	rows := map[string]*row{} // by instance: it may have several ports
	for _, e := range s.table.endpoints() {
		r := rows[e.Instance]
		if r == nil {
			r = &row{endpoint: e}
			rows[e.Instance] = r
		}
		for class := range classes {
			r.byStatus[class] += e.byStatus[class].Load()
		}
	}
	for _, r := range rows {
		for class, name := range classes {
			if n := r.byStatus[class]; n > 0 {
				ch <- prometheus.MustNewConstMetric(requests, prometheus.CounterValue, float64(n), r.App, r.index, r.Instance, name)
			}
		}
	}
}
