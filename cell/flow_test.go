package cell

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall"
)

func newLines() *lines { return &lines{news: make(chan struct{})} }

// flowBetween is a denied connection of an app a.
func flowBetween(at time.Time, to *cf.Endpoint) firewall.Flow {
	return firewall.Flow{Time: at, From: &cf.Endpoint{GUID: "a-0", AppGUID: "a", AppName: "front", SpaceGUID: "mine"}, To: to, Src: netip.MustParseAddr("10.255.0.2"),
		Dst: netip.MustParseAddr("10.255.0.3"), Protocol: cf.TCP, SrcPort: 40000, DstPort: 5432, Rule: "default deny: no network policy from front to back allows tcp 5432"}
}

func TestFlowLogIsRateLimited(t *testing.T) {
	got := newLines()
	l := newFlowLog(got)
	at := time.Unix(1700000000, 0)
	for range 5 * flowRate {
		l.put(flowBetween(at, nil))
	}
	if n := len(got.all); n != flowRate+1 || !strings.HasPrefix(string(got.all[n-1].Text), "more than 10 connections") {
		t.Errorf("%d lines\n%s", n, got.text())
	}
	l.put(flowBetween(at.Add(time.Second), nil))
	if n := len(got.all); n != flowRate+2 || !strings.Contains(string(got.all[n-1].Text), `"message":"cfnetworking.iptables.egress-denied"`) {
		t.Errorf("in the next second: %s", got.text())
	}
}

// TestFlowLogIsDiscreet: the log of an app does not tell whose instances there
// are in other spaces.
func TestFlowLogIsDiscreet(t *testing.T) {
	at := time.Unix(1700000000, 0)
	back := func(space string) *cf.Endpoint {
		return &cf.Endpoint{GUID: "b-0", AppGUID: "b-guid", AppName: "back", SpaceGUID: space}
	}
	for name, c := range map[string]struct {
		flow      firewall.Flow
		app       string
		has, lack string
	}{
		"same space":  {flowBetween(at, back("mine")), "a", "from front to back allows", "egress"},
		"other space": {flowBetween(at, back("theirs")), "a", "no network policy allows it", "b-guid"},
		"lent place":  {flowBetween(at, &cf.Endpoint{GUID: lentPrefix + "x", AppGUID: "x"}), "", "", ""},
		"from outside": {firewall.Flow{Time: at, To: back("mine"), Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("10.255.0.3"), Protocol: cf.UDP}, "b-guid",
			"ingress-denied", "front"},
	} {
		t.Run(name, func(t *testing.T) {
			got := newLines()
			newFlowLog(got).put(c.flow)
			if c.app == "" {
				if len(got.all) > 0 {
					t.Errorf("logged: %s", got.text())
				}
				return
			}
			text := got.text()
			if len(got.all) != 1 || got.all[0].AppGUID != c.app || !strings.Contains(text, c.has) || strings.Contains(text, c.lack) {
				t.Errorf("%s", text)
			}
		})
	}
}

// TestFlowLogIgnoresStrangers: what has no instance at either end is nobody's.
func TestFlowLogIgnoresStrangers(t *testing.T) {
	got := newLines()
	newFlowLog(got).put(firewall.Flow{Time: time.Unix(1, 0)})
	if len(got.all) > 0 {
		t.Error(got.text())
	}
}
