package resolver

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func record(t testing.TB, text string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

func TestCacheForgetsWhenTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := newCache(1<<16), question{"a.example.", dns.TypeA}
		c.put(q, &reply{answer: []dns.RR{record(t, "a.example. 30 IN A 198.51.100.1")}, ttl: 30 * time.Second})
		time.Sleep(10 * time.Second)
		found, age := c.get(q)
		if found == nil || age != 10*time.Second {
			t.Fatalf("after 10 s: %v, age %v", found, age)
		}
		m := asking("A.example.", dns.TypeA)
		cachedReply{found, uint32(age.Seconds())}.fill(m, q)
		if h := m.Answer[0].Header(); h.Ttl != 20 || h.Name != "A.example." {
			t.Errorf("after 10 s: %v", m.Answer)
		}
		if kept := found.answer[0].Header(); kept.Ttl != 30 || kept.Name != "a.example." {
			t.Errorf("the kept record was changed: %v", kept)
		}
		time.Sleep(20 * time.Second)
		if found, _ := c.get(q); found != nil {
			t.Error("after 30 s it is still there")
		}
		if c.used != 0 || c.recent.Len() != 0 {
			t.Errorf("an empty cache uses %d bytes in %d entries", c.used, c.recent.Len())
		}
	})
}

func TestCacheMakesRoomForTheNew(t *testing.T) {
	one := &reply{answer: []dns.RR{record(t, "x.example. 30 IN A 198.51.100.1")}, ttl: time.Minute}
	c := newCache(10 * one.size())
	at := func(i int) question { return question{fmt.Sprintf("%d.example.", i), dns.TypeA} }
	for i := range 10 {
		c.put(at(i), one)
	}
	c.get(at(0)) // now the most recently used
	c.put(at(10), one)
	for i, want := range map[int]bool{0: true, 1: false, 2: true, 10: true} {
		if found, _ := c.get(at(i)); (found != nil) != want {
			t.Errorf("entry %d is there: %v, want %v", i, found != nil, want)
		}
	}
	c.put(at(2), one) // replaces itself
	if c.used != 10*one.size() || len(c.entries) != 10 || c.recent.Len() != 10 {
		t.Errorf("%d bytes, %d and %d entries", c.used, len(c.entries), c.recent.Len())
	}
	c.resize(3 * one.size())
	if c.recent.Len() != 3 {
		t.Errorf("after the share shrank: %d entries", c.recent.Len())
	}
	c.put(at(20), &reply{answer: make([]dns.RR, 0), ttl: 0})
	if found, _ := c.get(at(20)); found != nil {
		t.Error("an answer without time to live was kept")
	}
	large := &reply{ttl: time.Minute}
	for range 100 {
		large.answer = append(large.answer, one.answer...)
	}
	c.put(at(21), large)
	if found, _ := c.get(at(21)); found != nil || c.recent.Len() != 3 {
		t.Error("an answer larger than the cache drove the others out")
	}
}

func TestCacheShare(t *testing.T) {
	for apps, want := range map[int]int{0: cacheMost, 1: cacheMost, 128: cacheMost, 1024: cacheTotal / 1024} {
		if got := cacheShare(apps); got != want {
			t.Errorf("of %d apps each gets %d bytes, want %d", apps, got, want)
		}
	}
}
