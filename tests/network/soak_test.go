package network

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var soak = flag.Duration("soak", 5*time.Second, "how long the soak loads each guest")

// TestSoak loads a guest over a wire that loses, doubles and reorders packets,
// and wants every byte right and nothing leaked.
func TestSoak(t *testing.T) {
	for _, kind := range []string{"process", "microvm"} {
		t.Run(kind, func(t *testing.T) {
			g := start(t, kind, badWire)
			workers := map[string]int{"process": 16, "microvm": 6}[kind]
			if done := g.load(t, workers, *soak/4); done == 0 {
				t.Fatal("nothing was served")
			}
			before := g.settle(t, usage{Goroutines: 1 << 30})
			done := g.load(t, workers, *soak)
			after := g.settle(t, before)
			t.Logf("%d requests; before %+v, after %+v", done, before, after)
			if after.Goroutines > before.Goroutines || after.Descriptors > before.Descriptors {
				t.Errorf("leaked: before %+v, after %+v", before, after)
			}
			if after.Heap > before.Heap+heapSlack {
				t.Errorf("memory grew: before %+v, after %+v", before, after)
			}
		})
	}
}

// heapSlack is how much more live memory is no leak, in bytes: connections in
// TIME-WAIT, buffers that grew.
const heapSlack = 4 << 20

// usage is what the program's /stats tells.
type usage struct{ Goroutines, Descriptors, Heap, Stacks, Total uint64 }

// settle waits until what was going on is over: goroutines and descriptors are
// down to what they were, or do not become fewer any more. A client whose reset
// was lost is noticed by the guest's keep-alive, after 15 s and three probes.
func (g *guest) settle(t *testing.T, to usage) usage {
	g.client.CloseIdleConnections()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(150 * time.Second)
	var last usage
	for same := 0; ; {
		var u usage
		check(t, json.Unmarshal([]byte(g.get(t, "/stats")), &u))
		g.client.CloseIdleConnections()
		if same++; u.Goroutines != last.Goroutines || u.Descriptors != last.Descriptors {
			same = 0
		}
		if last = u; u.Goroutines <= to.Goroutines && u.Descriptors <= max(to.Descriptors, 64) && same >= 4 || time.Now().After(end) {
			return u
		}
		<-tick.C
	}
}

// load keeps the guest busy and returns how many requests went well.
func (g *guest) load(t *testing.T, workers int, length time.Duration) int64 {
	end := time.Now().Add(length)
	var done atomic.Int64
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 7))
			for time.Now().Before(end) && !t.Failed() {
				what := errands[r.IntN(len(errands))]
				if err := what.run(g, r); err != nil {
					t.Errorf("%s: %v", what.name, err)
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	return done.Load()
}

var errands = []struct {
	name string
	run  func(*guest, *rand.Rand) error
}{
	{"hello", func(g *guest, r *rand.Rand) error {
		return g.fetch("/hello", func(b io.Reader) error { _, err := io.Copy(io.Discard, b); return err })
	}},
	{"download", func(g *guest, r *rand.Rand) error {
		n := int64(r.IntN(400_000))
		return g.fetch(fmt.Sprint("/big?n=", n), func(b io.Reader) error { return same(b, n) })
	}},
	{"file", func(g *guest, r *rand.Rand) error {
		return g.fetch("/file", func(b io.Reader) error { return same(b, fileSize) })
	}},
	{"upload", uploadSome},
	{"half-close", closeHalf},
	{"new connection", newConnection},
	{"reset", resetMidway},
}

func (g *guest) fetch(path string, read func(io.Reader) error) error {
	resp, err := g.client.Get(url(path))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return read(resp.Body)
}

func uploadSome(g *guest, r *rand.Rand) error {
	n := int64(r.IntN(300_000))
	resp, err := g.client.Post(url("/sum"), "text/plain", &pattern{n: n})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	h := sha256.New()
	io.Copy(h, &pattern{n: n})
	if want := fmt.Sprintf("%d %s\n", n, hex.EncodeToString(h.Sum(nil))); err == nil && string(got) != want {
		err = fmt.Errorf("digest %s, want %s", got, want)
	}
	return err
}

func closeHalf(g *guest, r *rand.Rand) error {
	c, err := g.connect(7777)
	if err != nil {
		return err
	}
	defer c.Close()
	n := int64(r.IntN(100_000))
	if _, err := io.Copy(c, &pattern{n: n}); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	return same(c, n)
}

func newConnection(g *guest, r *rand.Rand) error {
	c := &http.Client{Timeout: g.client.Timeout, Transport: &http.Transport{DialContext: g.dial, DisableKeepAlives: true}}
	resp, err := c.Get(url("/big?n=1000"))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return same(resp.Body, 1000)
}

// resetMidway leaves a long answer after its beginning.
func resetMidway(g *guest, r *rand.Rand) error {
	c, err := g.connect(8080)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /big?n=10000000 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, make([]byte, 1000+r.IntN(50_000))); err != nil {
		return err
	}
	return c.SetLinger(0)
}

func (g *guest) connect(port uint16) (*net.TCPConn, error) {
	c, err := g.dial(context.Background(), "", netip.AddrPortFrom(vnic.Addr, port).String())
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil, errors.New("not TCP")
	}
	return tcp, tcp.SetDeadline(time.Now().Add(90 * time.Second))
}
