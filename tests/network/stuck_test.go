package network

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	question "github.com/dewpaas/dew/abi/control"
	"github.com/dewpaas/dew/tender"
)

// end waits for the program's end and returns what it said after "ready".
func (g *guest) end(t *testing.T) (tender.Exit, string) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	e, err := g.instance.Wait(ctx)
	if err != nil {
		t.Fatalf("it does not end: %v", err)
	}
	<-g.stopped
	return e, g.said.String()
}

// TestStuckProgramEnds: as a process does, and although the library OS goes on
// to wait for packets. A thread that went to wait for them while somebody wanted
// some looks around when the next one comes, so now and then one comes.
func TestStuckProgramEnds(t *testing.T) {
	for _, kind := range []string{"process", "microvm"} {
		t.Run(kind, func(t *testing.T) {
			g := start(t, kind, nil, "stuck")
			c, l, err := g.network.ListenGateway(5000)
			check(t, err)
			defer c.Close()
			defer l.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go knock(ctx, c)
			e, said := g.end(t)
			if e.Reason != tender.Exited || e.Status != 2 || !strings.HasPrefix(said, "fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1 [chan receive]:\n") ||
				strings.Contains(said, "goroutine 2") {
				t.Errorf("%v, it says\n%s", e, said)
			}
		})
	}
}

// knock sends a packet each second.
func knock(ctx context.Context, c net.PacketConn) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.WriteTo([]byte("anybody there?"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(vnic.Addr, 9999)))
		}
	}
}

// TestProgramThatWaitsInACallIsNotStuck: what comes later wakes it.
func TestProgramThatWaitsInACallIsNotStuck(t *testing.T) {
	for _, kind := range []string{"process", "microvm"} {
		for story, want := range map[string]string{"call": "awake <nil>\n", "epoll": "1 <nil> <nil>\n"} {
			t.Run(kind+" "+story, func(t *testing.T) {
				g := start(t, kind, nil, story)
				for stacks := ""; !strings.Contains(stacks, "goroutine 1 [select"); { // it waits
					b, err := g.instance.Link().Ask(t.Context(), question.Stacks, nil)
					check(t, err)
					stacks = string(b)
				}
				c, l, err := g.network.ListenGateway(5000)
				check(t, err)
				defer c.Close()
				defer l.Close()
				_, err = c.WriteTo([]byte("awake"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(vnic.Addr, 9999)))
				check(t, err)
				if e, said := g.end(t); e.Code() != 0 || said != want {
					t.Errorf("%v, it says\n%s", e, said)
				}
			})
		}
	}
}
