package main

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// parts are the figures of what this process has besides an API.
type parts struct{ *platform }

// Describe says nothing in advance: parts are opened after the API.
func (parts) Describe(chan<- *prometheus.Desc) {}

// Collect tells the figures to Prometheus.
func (p parts) Collect(ch chan<- prometheus.Metric) {
	if p.router != nil {
		p.router.Collect(ch)
	}
	if p.cell != nil {
		limited := prometheus.NewDesc("dew_cell_log_lines_limited_total", "Log lines of this cell's instances that were over a limit.", nil, nil)
		ch <- prometheus.MustNewConstMetric(limited, prometheus.CounterValue, float64(p.cell.LinesLimited()))
		instances := prometheus.NewDesc("dew_cell_instances", "Instances that run in this cell.", nil, nil)
		ch <- prometheus.MustNewConstMetric(instances, prometheus.GaugeValue, float64(len(p.cell.Usage())))
	}
}

// limited is how many log lines were over a limit, in all cells.
func (f *platform) limited() (n uint64) {
	if f.cell != nil {
		n = f.cell.LinesLimited()
	}
	if f.usage != nil {
		n += f.usage.total()
	}
	return n
}

func (u *usage) total() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.limited
}

// openFigures tells the figures of this process, and an API's, to whoever asks at
// an address that the operator has chosen.
func (f *platform) openFigures(context.Context) error {
	var h http.Handler
	if f.plane != nil {
		h = f.plane.api.Metrics()
	} else {
		r := prometheus.NewRegistry()
		r.MustRegister(parts{f}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
		h = promhttp.HandlerFor(r, promhttp.HandlerOpts{})
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", h)
	f.doors.http(f.doors.figures, mux)
	return nil
}
