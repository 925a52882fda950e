package logcache

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Version is that of the API: 2.0.0 and later have the paths below /api/v1.
const Version = "3.0.0"

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// Query asks for lines of one app.
type Query struct {
	From, To    int64 // nanoseconds since 1970; To is not included
	Limit       int
	NewestFirst bool
	Logs        bool // log lines are wanted
	Gauges      bool // measurements are wanted
}

var envelopeTypes = []string{"LOG", "COUNTER", "GAUGE", "TIMER", "EVENT", "ANY"}

// ParseQuery reads the parameters of a read. Times below zero, and the zero time
// of Go that has overflowed, are the beginning.
func ParseQuery(v url.Values) (Query, error) {
	q := Query{To: math.MaxInt64, Limit: defaultLimit}
	for name, values := range v {
		var err error
		switch value := values[len(values)-1]; name {
		case "start_time":
			q.From, err = parseTime(value)
		case "end_time":
			if q.To, err = parseTime(value); q.To <= 0 {
				q.To = math.MaxInt64
			}
		case "limit":
			q.Limit, err = strconv.Atoi(value)
			if err == nil && (q.Limit < 0 || q.Limit > maxLimit) {
				err = fmt.Errorf("must be at most %d", maxLimit)
			}
		case "descending":
			q.NewestFirst, err = strconv.ParseBool(value)
		case "envelope_types", "envelope_type": // its older name
			err = q.types(values)
		default:
			err = fmt.Errorf("is unknown")
		}
		if err != nil {
			return Query{}, fmt.Errorf("parameter %q: %w", name, err)
		}
	}
	if q.Limit == 0 {
		q.Limit = defaultLimit
	}
	if !v.Has("envelope_types") && !v.Has("envelope_type") {
		q.Logs, q.Gauges = true, true
	}
	return q, nil
}

func parseTime(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	return max(n, 0), err
}

func (q *Query) types(values []string) error {
	for _, list := range values {
		for _, kind := range strings.Split(list, ",") {
			if !slices.Contains(envelopeTypes, strings.ToUpper(kind)) {
				return fmt.Errorf("there is no type %q", kind)
			}
			any := strings.EqualFold(kind, "ANY")
			q.Logs = q.Logs || any || strings.EqualFold(kind, "LOG")
			q.Gauges = q.Gauges || any || strings.EqualFold(kind, "GAUGE")
		}
	}
	return nil
}

// Envelope is a line, or measurements, as readers get it. Readers refuse fields
// that they do not know.
type Envelope struct {
	Timestamp  string            `json:"timestamp"`
	SourceID   string            `json:"source_id"`
	InstanceID string            `json:"instance_id"`
	Deprecated struct{}          `json:"deprecated_tags"`
	Tags       map[string]string `json:"tags"`
	Log        *logBody          `json:"log,omitempty"`
	Gauge      *gaugeBody        `json:"gauge,omitempty"`
}

type logBody struct {
	Payload []byte `json:"payload"` // base64 in JSON
	Type    string `json:"type"`
}

type gaugeBody struct {
	Metrics map[string]Metric `json:"metrics"`
}

// Metric is one measurement.
type Metric struct {
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
}

// Gauge makes the envelope of what was measured of an instance.
func Gauge(app string, at time.Time, instance int, metrics map[string]Metric) Envelope {
	return Envelope{Timestamp: strconv.FormatInt(at.UnixNano(), 10), SourceID: app, InstanceID: strconv.Itoa(instance), Gauge: &gaugeBody{metrics}}
}

// Read answers a query with log lines.
func (c *Cache) Read(app string, q Query) []Envelope {
	out := []Envelope{}
	if !q.Logs {
		return out
	}
	c.mu.Lock()
	t := c.tails[app]
	if t == nil && c.files.has(app) {
		t = newTail(c.files.load(app), c.bounds)
		c.total.Add(int64(t.bytes))
		c.tails[app] = t
	}
	c.mu.Unlock()
	if t == nil {
		return out
	}
	for _, l := range t.read(q.From, q.To, q.Limit, q.NewestFirst) {
		kind := "OUT"
		if l.err {
			kind = "ERR"
		}
		out = append(out, Envelope{Timestamp: strconv.FormatInt(l.at, 10), SourceID: app, InstanceID: l.instance, Tags: map[string]string{"source_type": l.source, "origin": origin(l.source)},
			Log: &logBody{l.text, kind}})
	}
	return out
}

// origin names the part of Cloud Foundry that writes lines of a source.
func origin(source string) string {
	switch kind, _, _ := strings.Cut(source, "/"); kind {
	case "RTR":
		return "gorouter"
	case "API", "STG":
		return "cloud_controller"
	}
	return "rep"
}

// WriteEnvelopes answers a read: every envelope gets the tags that all have.
func WriteEnvelopes(w http.ResponseWriter, list []Envelope, tags map[string]string) error {
	for i := range list {
		if list[i].Tags == nil {
			list[i].Tags = map[string]string{}
		}
		for k, v := range tags {
			list[i].Tags[k] = v
		}
		if source := list[i].Tags["source_type"]; strings.HasPrefix(source, "APP/PROC/") {
			list[i].Tags["process_type"] = strings.ToLower(strings.TrimPrefix(source, "APP/PROC/"))
		}
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(map[string]any{"envelopes": map[string]any{"batch": list}})
}

// Meta is what the cache has of one app. Numbers of 64 bits are strings in JSON.
type Meta struct {
	Count   int64 `json:"count,string"`
	Expired int64 `json:"expired,string"`
	Oldest  int64 `json:"oldest_timestamp,string"`
	Newest  int64 `json:"newest_timestamp,string"`
}

// Meta tells what there is of the apps that see says may be told.
func (c *Cache) Meta(see func(app string) bool) map[string]Meta {
	c.mu.Lock()
	tails := make(map[string]*tail, len(c.tails))
	for app, t := range c.tails {
		tails[app] = t
	}
	c.mu.Unlock()
	out := map[string]Meta{}
	for app, t := range tails {
		if see(app) {
			s := t.stats()
			out[app] = Meta{int64(s.n), int64(s.expired), s.oldest, s.newest}
		}
	}
	return out
}
