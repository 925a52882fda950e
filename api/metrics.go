package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dewpaas/dew/cf"
)

// metrics are the figures of this API in Prometheus's format. Those of apps are
// asked for when somebody scrapes.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
}

func (s *Server) newMetrics(more []prometheus.Collector) metrics {
	m := metrics{prometheus.NewRegistry(), prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "dew_api_request_seconds", Help: "Time from the head of a request to the end of its answer.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60},
	}, []string{"method", "code"})}
	m.registry.MustRegister(m.requests, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), figures{s})
	for _, c := range more {
		m.registry.MustRegister(c)
	}
	return m
}

// watch measures every request.
func (m metrics) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		seen := &observed{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(seen, r)
		m.requests.WithLabelValues(known(r.Method), strconv.Itoa(seen.status)).Observe(time.Since(begun).Seconds())
	})
}

// known keeps what clients may invent out of the labels.
func known(method string) string {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead:
		return method
	}
	return "other"
}

type observed struct {
	http.ResponseWriter
	status int
}

func (o *observed) WriteHeader(status int) {
	o.status = status
	o.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (o *observed) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// Metrics answers with the figures, to whoever asks.
func (s *Server) Metrics() http.Handler {
	return promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{})
}

// serveMetrics is for those who see everything: figures name all tenants' apps.
func (c *call) serveMetrics(w http.ResponseWriter) error {
	if !c.auditor() {
		return forbidden()
	}
	c.Metrics().ServeHTTP(w, c.r)
	return nil
}

// figures collects what the ledger, the runtime and the log cache know.
type figures struct{ *Server }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("dew_"+name, help, labels, nil)
}

var (
	ofInstance   = []string{"organization", "space", "app", "app_guid", "process", "index"}
	appsDesc     = describe("apps", "Apps by wanted state.", "state")
	wantedDesc   = describe("app_instances_wanted", "Instances that should run.", "organization", "space", "app", "app_guid", "process")
	stateDesc    = describe("app_instance_state", "1 for the state that an instance is in.", append(ofInstance, "state")...)
	cpuDesc      = describe("app_cpu_cores", "Cores that an instance uses.", ofInstance...)
	memoryDesc   = describe("app_memory_bytes", "Memory that an instance uses.", ofInstance...)
	limitDesc    = describe("app_memory_limit_bytes", "Memory that an instance may use.", ofInstance...)
	diskDesc     = describe("app_disk_bytes", "Files that an instance has written.", ofInstance...)
	linesDesc    = describe("log_lines_total", "Log lines: received, over a limit of their app, not delivered to a syslog drain.", "what")
	logBytesDesc = describe("log_bytes", "Bytes of log lines in memory.")
	buildsDesc   = describe("builds", "Builds by state.", "state")
	tasksDesc    = describe("tasks", "Tasks by state.", "state")
)

// Describe sends all descriptions.
func (figures) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{appsDesc, wantedDesc, stateDesc, cpuDesc, memoryDesc, limitDesc, diskDesc, linesDesc, logBytesDesc, buildsDesc, tasksDesc} {
		ch <- d
	}
}

// scraped is a process with the names of where it is.
type scraped struct {
	labels  []string
	process *cf.Process
	app     *cf.App
}

// Collect sends what there is now.
func (f figures) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	logs := f.logs.Figures()
	lines := map[string]uint64{"received": logs.Received, "undelivered": logs.Undelivered}
	if f.limited != nil {
		lines["limited"] = f.limited()
	}
	for what, n := range lines {
		ch <- prometheus.MustNewConstMetric(linesDesc, prometheus.CounterValue, float64(n), what)
	}
	gauge(logBytesDesc, float64(logs.Bytes))
	counts, list, err := f.scrape(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(appsDesc, err)
		return
	}
	for d, states := range counts {
		for state, n := range states {
			gauge(d, float64(n), state)
		}
	}
	for _, s := range list {
		gauge(wantedDesc, float64(s.process.Instances), s.labels...)
		f.collectInstances(ctx, gauge, s)
	}
}

func (f figures) collectInstances(ctx context.Context, gauge func(*prometheus.Desc, float64, ...string), s scraped) {
	instances, err := (&call{Server: f.Server, ctx: ctx}).instances(s.process, s.app)
	if err != nil {
		f.log.Warn("instances cannot be measured", "process", s.process.GUID, "err", err)
		return
	}
	for _, i := range instances {
		labels := append(append([]string{}, s.labels...), strconv.Itoa(i.Index))
		gauge(stateDesc, 1, append(labels, i.State)...)
		gauge(cpuDesc, i.CPU, labels...)
		gauge(memoryDesc, float64(i.MemoryBytes), labels...)
		gauge(limitDesc, float64(int64(s.process.Launch.MemoryMB)<<20), labels...)
		gauge(diskDesc, float64(i.DiskBytes), labels...)
	}
}

// scrape reads the ledger in one transaction.
func (f figures) scrape(ctx context.Context) (counts map[*prometheus.Desc]map[string]int, list []scraped, err error) {
	err = f.store.View(ctx, func(tx cf.Tx) error {
		list, counts = nil, map[*prometheus.Desc]map[string]int{}
		for _, c := range []struct {
			desc   *prometheus.Desc
			noun   cf.Record
			states []string
		}{
			{appsDesc, new(cf.App), []string{cf.Started, cf.Stopped}},
			{buildsDesc, new(cf.Build), []string{"STAGING", "STAGED", "FAILED"}},
			{tasksDesc, new(cf.Task), []string{cf.TaskPending, cf.TaskRunning, cf.TaskCanceling, cf.TaskSucceeded, cf.TaskFailed}},
		} {
			counts[c.desc] = map[string]int{}
			for _, state := range c.states {
				n, err := tx.Count(c.noun, cf.Query{Where: []cf.Cond{cf.Is("state", state)}})
				if err != nil {
					return err
				}
				counts[c.desc][state] = n
			}
		}
		apps, err := cf.List[cf.App](tx, cf.Query{Where: []cf.Cond{cf.Is("state", cf.Started)}})
		for _, a := range apps {
			w, err := cf.PlaceOf(tx, f.url, a)
			if err != nil {
				return err
			}
			processes, err := cf.List[cf.Process](tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", a.GUID), {Key: "deployment_guid", Op: cf.Absent}}})
			if err != nil {
				return err
			}
			for _, p := range processes {
				list = append(list, scraped{[]string{w.Org.Name, w.Space.Name, a.Name, a.GUID, p.Type}, p, a})
			}
		}
		return err
	})
	return counts, list, err
}
