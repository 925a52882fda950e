package router

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
)

// Key names a route: a host, and the path below which it applies. Host may
// begin with "*." to stand for every host below a domain.
type Key struct {
	Host string
	Path string // "" or "/a/b": whole segments
}

// Protocol is what an app speaks.
type Protocol string

// The protocols of a destination.
const (
	HTTP1 Protocol = "http1"
	HTTP2 Protocol = "http2"
)

// Endpoint is one instance that can answer.
type Endpoint struct {
	Instance string // instance GUID: also the value of __VCAP_ID__
	Index    int
	App      string // app GUID
	Process  string // process GUID
	Address  string // host:port
	Protocol Protocol
	Weight   int // share of the requests; 0 means 1
}

// Balancing is the route option "loadbalancing".
type Balancing string

// The ways to choose among endpoints. The zero value is RoundRobin.
const (
	RoundRobin      Balancing = "round-robin"
	LeastConnection Balancing = "least-connection"
	Hash            Balancing = "hash" // of a header, which Route.Hash names
)

// Route is one row of the table.
type Route struct {
	Key
	LoadBalancing Balancing
	Hash          HashOptions
	Endpoints     []Endpoint
}

// HashOptions say how LoadBalancing Hash chooses.
type HashOptions struct {
	// Header's value decides. Requests without it go round-robin.
	Header string
	// Balance is how many times the average of requests under way an instance
	// may have before the next takes over; 0 means any number.
	Balance float64
}

// maxWeight bounds the length of a route's schedule.
const maxWeight = 100

// normal returns the key as the table stores it.
func (k Key) normal() Key {
	k.Host = strings.TrimSuffix(strings.ToLower(k.Host), ".")
	k.Path = strings.TrimRight(k.Path, "/")
	return k
}

// Check refuses what the table would refuse.
func (r *Route) Check() error {
	if _, err := netip.ParseAddr(r.Host); err == nil || r.Host == "" || strings.ContainsAny(r.Host, "/ :") || strings.LastIndexByte(r.Host, '*') > 0 {
		return fmt.Errorf("route %q: illegal host", r.Host)
	}
	if r.Path != "" && r.Path[0] != '/' || strings.ContainsAny(r.Path, "?# ") {
		return fmt.Errorf("route %s: illegal path %q", r.Host, r.Path)
	}
	switch r.LoadBalancing {
	case "", RoundRobin, LeastConnection:
	case Hash:
		if r.Hash.Header == "" || r.Hash.Balance < 0 || math.IsNaN(r.Hash.Balance) {
			return fmt.Errorf("route %s: loadbalancing by hash wants a header and a balance that is 0 or more", r.Host)
		}
	default:
		return fmt.Errorf("route %s: unknown loadbalancing %q: choose round-robin, least-connection or hash", r.Host, r.LoadBalancing)
	}
	for i := range r.Endpoints {
		e := &r.Endpoints[i]
		if _, _, err := net.SplitHostPort(e.Address); err != nil {
			return fmt.Errorf("route %s: endpoint %s: %w", r.Host, e.Instance, err)
		}
		if e.Protocol != "" && e.Protocol != HTTP1 && e.Protocol != HTTP2 {
			return fmt.Errorf("route %s: endpoint %s: unknown protocol %q", r.Host, e.Instance, e.Protocol)
		}
		if e.Weight < 0 || e.Weight > maxWeight {
			return fmt.Errorf("route %s: endpoint %s: weight %d is not within 0 and %d", r.Host, e.Instance, e.Weight, maxWeight)
		}
		if clean(e.Instance) != nil || clean(e.App) != nil || clean(e.Process) != nil {
			return fmt.Errorf("route %s: endpoint %q: identifiers go into headers and must be plain", r.Host, e.Instance)
		}
	}
	return nil
}

// clean refuses what would not survive in a header, a cookie or the log.
func clean(s string) error {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == ';' || c == ',' || c == '\\' {
			return fmt.Errorf("byte %#x", c)
		}
	}
	return nil
}
