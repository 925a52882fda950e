package router

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func keyed(hosts ...string) (routes []Route) {
	for _, h := range hosts {
		host, path, _ := strings.Cut(h, "/")
		if path != "" {
			path = "/" + path
		}
		routes = append(routes, Route{Key: Key{Host: host, Path: path}})
	}
	return routes
}

func TestLookup(t *testing.T) {
	table := NewTable()
	if err := table.Apply(Change{Put: keyed("A.test", "a.test/x", "a.test/x/y", "*.test", "*.deep.test", "only.test/p")}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ host, target, want string }{
		{"a.test", "/", "a.test"},
		{"A.TEST:8080", "/?q=/x", "a.test"},
		{"a.test.", "/x", "a.test/x"},
		{"a.test", "/x?q", "a.test/x"},
		{"a.test", "/x/", "a.test/x"},
		{"a.test", "/xy", "a.test"},
		{"a.test", "/x/y/z", "a.test/x/y"},
		{"a.test", "/x/yz", "a.test/x"},
		{"a.test", "*", "a.test"},
		{"b.test", "/x", "*.test"},
		{"b.c.test", "/", "*.test"},
		{"b.deep.test", "/", "*.deep.test"},
		{"deep.test", "/", "*.test"},
		{"test", "/", ""},
		{"only.test", "/p/q", "only.test/p"},
		{"only.test", "/", "*.test"},
		{"[::1]:80", "/", ""},
		{"other", "/", ""},
	} {
		got := ""
		if p := table.lookup(hostKey(nil, []byte(tt.host)), []byte(tt.target)); p != nil {
			got = p.key.Host + p.key.Path
		}
		if got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.host, tt.target, got, tt.want)
		}
	}
}

func TestChangesOfTheTable(t *testing.T) {
	table := NewTable()
	names := func() string {
		var s []string
		for _, r := range table.Routes() {
			s = append(s, r.Host+r.Path)
		}
		return strings.Join(s, " ")
	}
	for _, tt := range []struct {
		change Change
		want   string
	}{
		{Change{Put: keyed("a", "b/x")}, "a b/x"},
		{Change{Put: keyed("c"), Drop: []Key{{Host: "B", Path: "/x/"}}}, "a c"},
		{Change{Full: true, Put: keyed("d")}, "d"},
		{Change{Full: true}, ""},
	} {
		if err := table.Apply(tt.change); err != nil || names() != tt.want {
			t.Errorf("%+v: %q %v", tt.change, names(), err)
		}
	}
}

func TestRefusedRoutes(t *testing.T) {
	table := NewTable()
	table.Apply(Change{Put: keyed("kept")})
	for _, r := range []Route{
		{},
		{Key: Key{Host: "a b"}},
		{Key: Key{Host: "a.*.b"}},
		{Key: Key{Host: "a", Path: "x"}},
		{Key: Key{Host: "a"}, LoadBalancing: "magic"},
		{Key: Key{Host: "a"}, Endpoints: []Endpoint{{Address: "no-port"}}},
		{Key: Key{Host: "a"}, Endpoints: []Endpoint{{Address: "h:1", Protocol: "spdy"}}},
		{Key: Key{Host: "a"}, Endpoints: []Endpoint{{Address: "h:1", Weight: -1}}},
		{Key: Key{Host: "a"}, Endpoints: []Endpoint{{Address: "h:1", Instance: "x\r\nSet-Cookie: y"}}},
	} {
		if table.Apply(Change{Full: true, Put: []Route{r}}) == nil {
			t.Errorf("accepted %+v", r)
		}
	}
	if len(table.Routes()) != 1 {
		t.Error("a refused change changed the table")
	}
}

func poolOf(t *testing.T, balancing Balancing, weights ...int) *pool {
	table := NewTable()
	r := Route{Key: Key{Host: "h"}, LoadBalancing: balancing}
	for i, w := range weights {
		r.Endpoints = append(r.Endpoints, Endpoint{Instance: fmt.Sprint(i), Address: fmt.Sprint("h:", i+1), Weight: w})
	}
	if err := table.Apply(Change{Put: []Route{r}}); err != nil {
		t.Fatal(err)
	}
	return table.lookup([]byte("h"), []byte("/"))
}

func picks(p *pool, n int, hold bool) string {
	count := make([]int, len(p.endpoints))
	for range n {
		e := p.pick(new(tried), time.Now(), 0)
		for i := range p.endpoints {
			if p.endpoints[i] == e {
				count[i]++
			}
		}
		if !hold {
			e.release()
		}
	}
	return fmt.Sprint(count)
}

func TestBalance(t *testing.T) {
	for _, tt := range []struct {
		balancing Balancing
		weights   []int
		hold      bool
		want      string
	}{
		{"", []int{0, 0, 0}, false, "[4 4 4]"},
		{RoundRobin, []int{1, 2, 3}, false, "[2 4 6]"},
		{LeastConnection, []int{0, 0, 0}, true, "[4 4 4]"},
		{LeastConnection, []int{1, 3}, true, "[3 9]"},
	} {
		if got := picks(poolOf(t, tt.balancing, tt.weights...), 12, tt.hold); got != tt.want {
			t.Errorf("%s %v: %s, want %s", tt.balancing, tt.weights, got, tt.want)
		}
	}
}

func TestPickAvoidsWhatFailed(t *testing.T) {
	p, now := poolOf(t, "", 1, 1, 1), time.Now()
	p.endpoints[0].fail(time.Minute)
	var failed tried
	failed.add(p.endpoints[1])
	for range 5 {
		if e := p.pick(&failed, now, 0); e != p.endpoints[2] {
			t.Fatalf("picked %s", e.Instance)
		}
	}
	failed.add(p.endpoints[2])
	if e := p.pick(&failed, now, 0); e != p.endpoints[0] {
		t.Error("a doubtful endpoint is better than one that failed this request")
	}
	if e := p.pick(&failed, now.Add(2*time.Minute), 0); e != p.endpoints[0] {
		t.Error("a time-out must end")
	}
}

// TestRetireLetsNobodyIn: whoever acquired before is waited for, nobody
// acquires after.
func TestRetireLetsNobodyIn(t *testing.T) {
	for range 200 {
		e := newEndpoint(Endpoint{})
		var in sync.WaitGroup
		for range 4 {
			in.Go(func() {
				for e.acquire() {
					select {
					case <-e.drained:
						t.Error("drained while in use")
					default:
					}
					e.release()
				}
			})
		}
		e.retire()
		in.Wait()
		<-e.drained
	}
}

// TestReadersSeeWholeTables: a reader never finds half of a change.
func TestReadersSeeWholeTables(t *testing.T) {
	table := NewTable()
	generation := func(n int) (c Change) {
		c.Full = true
		for _, h := range []string{"a", "b"} {
			c.Put = append(c.Put, Route{Key: Key{Host: h}, Endpoints: []Endpoint{{Instance: fmt.Sprint(n), Address: "h:1"}}})
		}
		return c
	}
	table.Apply(generation(0))
	stop := make(chan bool)
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				s := table.now.Load()
				a, b := s.exact["a"][0].endpoints[0], s.exact["b"][0].endpoints[0]
				if a != b {
					t.Errorf("generations %s and %s together", a.Instance, b.Instance)
					return
				}
			}
		})
	}
	for n := range 2000 {
		table.Apply(generation(n))
	}
	close(stop)
	readers.Wait()
}
