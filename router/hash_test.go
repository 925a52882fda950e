package router

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// hashPool is a route of n instances of one app, balanced by hash.
func hashPool(t *testing.T, balance float64, indexes ...int) *pool {
	t.Helper()
	table := NewTable()
	r := Route{Key: Key{Host: "h"}, LoadBalancing: Hash, Hash: HashOptions{Header: "Tenant", Balance: balance}}
	for _, i := range indexes {
		r.Endpoints = append(r.Endpoints, Endpoint{Instance: fmt.Sprint(time.Now().UnixNano(), "-", i), App: "app", Index: i, Address: fmt.Sprint("h:", i+1)})
	}
	if err := table.Apply(Change{Put: []Route{r}}); err != nil {
		t.Fatal(err)
	}
	return table.lookup([]byte("h"), []byte("/"))
}

func place(p *pool, key string, failed ...*endpoint) int {
	var t tried
	for _, e := range failed {
		t.add(e)
	}
	e := p.pick(&t, time.Now(), keyHash([]byte(key)))
	e.release()
	return e.Index
}

// TestHashSpreads: keys that differ little are shared out evenly.
func TestHashSpreads(t *testing.T) {
	const keys, n = 20_000, 10
	p := hashPool(t, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	var got [n]int
	for i := range keys {
		got[place(p, fmt.Sprint("tenant-", i))]++
	}
	for i, c := range got { // 2,000 each; the standard deviation is 42
		if c < keys/n*85/100 || c > keys/n*115/100 {
			t.Errorf("instance %d has %d of %d keys: %v", i, c, keys, got)
		}
	}
}

// TestHashIsStable: a key keeps its instance when others come and go, when
// its own is replaced, and in another router.
func TestHashIsStable(t *testing.T) {
	before, again, less := hashPool(t, 0, 0, 1, 2, 3, 4), hashPool(t, 0, 4, 3, 2, 1, 0), hashPool(t, 0, 0, 1, 2, 4)
	moved := 0
	for i := range 5000 {
		key := fmt.Sprint("tenant-", i)
		was := place(before, key)
		if got := place(again, key); got != was {
			t.Fatalf("%s: %d, and %d with new instances in another order", key, was, got)
		}
		if got := place(less, key); got != was {
			moved++
			if was != 3 {
				t.Fatalf("%s moved from %d to %d when 3 ended", key, was, got)
			}
		}
	}
	if moved < 800 || moved > 1200 {
		t.Errorf("%d of 5000 keys moved when one of five instances ended", moved)
	}
	// The second choice is the same every time, too.
	first := before.pick(new(tried), time.Now(), keyHash([]byte("x")))
	second := place(before, "x", first)
	for range 10 {
		if got := place(before, "x", first); got != second || got == first.Index {
			t.Errorf("second choice %d, then %d", second, got)
		}
	}
}

// TestHashBalance: a key that everybody uses does not overload its instance.
func TestHashBalance(t *testing.T) {
	for _, tt := range []struct {
		balance float64
		most    int64
	}{{0, 100}, {1.25, 31}, {2, 50}} {
		p := hashPool(t, tt.balance, 0, 1, 2, 3)
		first := p.pick(new(tried), time.Now(), keyHash([]byte("hot")))
		for range 99 {
			p.pick(new(tried), time.Now(), keyHash([]byte("hot")))
		}
		total := int64(0)
		for _, e := range p.endpoints {
			total += e.active.Load()
			if e.active.Load() > tt.most+1 {
				t.Errorf("balance %v: an instance has %d of 100", tt.balance, e.active.Load())
			}
		}
		if got := first.active.Load(); total != 100 || got < tt.most-1 {
			t.Errorf("balance %v: its own instance has %d of %d", tt.balance, got, total)
		}
	}
}

// TestHashOfAHeader asks through both ways of the router.
func TestHashOfAHeader(t *testing.T) {
	l := newLab(t)
	r := Route{Key: Key{Host: "app.test"}, LoadBalancing: Hash, Hash: HashOptions{Header: "X-Tenant"}}
	for i := range 4 {
		name := fmt.Sprint(i)
		r.Endpoints = append(r.Endpoints, Endpoint{Instance: name, App: "a", Index: i, Address: goApp(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) })})
	}
	l.apply(Change{Put: []Route{r}})
	two := l.browser()
	tr := two.Transport.(*http.Transport)
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetUnencryptedHTTP2(true)
	ask := func(tenant string) string {
		q, err := http.NewRequest("GET", "http://app.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if tenant != "" {
			q.Header.Set("X-Tenant", tenant)
		}
		p, err := two.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Body.Close()
		b, err := io.ReadAll(p.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	used := map[string]bool{}
	for i := range 40 {
		tenant := fmt.Sprint("t", i%20)
		_, one := l.do("GET / HTTP/1.1\r\nHost: app.test\r\nx-TENANT: " + tenant + "\r\n\r\n")
		if got := ask(tenant); got != one {
			t.Fatalf("%s: %s by HTTP/1.1, %s by HTTP/2", tenant, one, got)
		}
		used[one] = true
	}
	if len(used) != 4 {
		t.Errorf("20 tenants are at %v only", used)
	}
	clear(used)
	for range 8 { // without the header: in turns
		used[ask("")] = true
		_, one := l.do(get)
		used[one] = true
	}
	if len(used) != 4 {
		t.Errorf("requests without the header reach %v only", used)
	}
}
