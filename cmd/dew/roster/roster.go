package roster

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Roster is the APIs of a foundation, the preferred one first.
type Roster struct {
	hosts []string

	mu   sync.Mutex // guards down
	down map[string]time.Time
}

// Parse checks the addresses of APIs.
func Parse(list []string) (*Roster, error) {
	r := &Roster{down: map[string]time.Time{}}
	for _, text := range list {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("%q is no address of an API: want https://HOST:PORT, that of its --private", text)
		}
		r.hosts = append(r.hosts, u.Host)
	}
	return r, nil
}

// avoid is how long an API that did not answer is asked last.
const avoid = 5 * time.Second

// Order is all hosts (HOST:PORT), those first that were not found down of late.
func (r *Roster) Order() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var bad []string
	for _, host := range r.hosts {
		if at, ok := r.down[host]; ok && time.Since(at) < avoid {
			bad = append(bad, host)
		} else {
			list = append(list, host)
		}
	}
	return append(list, bad...)
}

// Down notes that a host did not answer.
func (r *Roster) Down(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down[host] = time.Now()
}

// Transport is for requests to APIs. Connections are shared and given up soon after
// the other end is silent.
func Transport(config *tls.Config) *http.Transport {
	return &http.Transport{TLSClientConfig: config, DialContext: (&net.Dialer{Timeout: 3 * time.Second}).DialContext, TLSHandshakeTimeout: 5 * time.Second,
		MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, DisableCompression: true, ForceAttemptHTTP2: true,
		HTTP2: &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second}}
}
