package api

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dewpaas/dew/api/egress"
	"github.com/dewpaas/dew/api/logcache"
	"github.com/dewpaas/dew/api/logcache/draintest"
	"github.com/dewpaas/dew/cf"
)

// TestOneOfSeveralAPIsDrains: both have every line, the drain gets each once; when
// the one that sends is gone, the other goes on where it has stopped.
func TestOneOfSeveralAPIsDrains(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 100)
	go draintest.Accept(l, got)
	guard := egress.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	var caches []*logcache.Cache
	kept := func(holder string, store cf.Store) func(*Config) {
		return func(c *Config) {
			logs := logcache.New(logcache.DefaultBounds())
			t.Cleanup(func() { logs.Close() })
			c.Holder, c.Logs, c.Egress = holder, logs, guard
			caches = append(caches, logs)
			if store != nil {
				c.Store = store
			}
		}
	}
	a := foundationWith(t, kept("a", nil))
	b := foundationWith(t, kept("b", a.store))
	token, _, space, app := a.tenant(a.login("admin", "pw"), "ann")
	drain := guid(a.do(201, token, "POST", "/v3/service_instances", `{"type":"user-provided","name":"drain","syslog_drain_url":"syslog://`+l.Addr().String()+`","relationships":{`+to("space", space)+`}}`))
	a.do(201, token, "POST", "/v3/service_credential_bindings", `{"type":"app","relationships":{`+to("app", app)+`,`+to("service_instance", drain)+`}}`)
	now := time.Now()
	turn := func(s *Server, at time.Duration) {
		t.Helper()
		if err := s.watchDrains(t.Context(), now.Add(at)); err != nil {
			t.Fatal(err)
		}
	}
	say := func(text string) {
		for _, c := range caches {
			c.Log(cf.LogLine{AppGUID: app, Time: time.Now(), Source: "APP/PROC/WEB", Instance: "0", Text: []byte(text)})
		}
	}
	want := func(text string) {
		t.Helper()
		select {
		case m := <-got:
			if !strings.HasSuffix(m, " "+text+"\n") {
				t.Errorf("%q, want %q", m, text)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%q never came", text)
		}
	}
	turn(a.api, 0)
	turn(b.api, 0)
	say("one")
	want("one")
	turn(b.api, drainsPatience-1) // not yet
	turn(a.api, drainsPatience-1)
	turn(b.api, drainsPatience+1) // a lives
	say("two")
	want("two")
	caches[0].Close() // a is gone, and what comes now has no drain
	say("three")
	turn(b.api, 2*drainsPatience+2)
	for m := ""; !strings.HasSuffix(m, " three\n"); { // some come twice
		m = <-got
	}
	say("four")
	want("four")
	turn(a.api, 2*drainsPatience+3) // back, but late
	say("five")
	want("five")
	if err := b.api.yieldDrains(t.Context()); err != nil {
		t.Fatal(err)
	}
	turn(a.api, 2*drainsPatience+4) // at once
	say("six")
	for m := ""; !strings.HasSuffix(m, " six\n"); {
		m = <-got
	}
}
