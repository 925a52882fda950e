package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall"
	"github.com/dewpaas/dew/firewall/nft"
	"github.com/dewpaas/dew/vnet"
)

// frame measures the CPU time that one frame from guest to guest costs. Writing
// to a tap does all of the way at once, in the writer's thread, so the thread's
// clock says it, also on a busy machine.
type frame struct {
	Rounds int `default:"120" help:"of 500 frames; at most 125, so that each is another connection"`
}

const batch = 500

// Run prints nanoseconds a frame.
func (f *frame) Run() error {
	runtime.LockOSThread()
	few, many := world(10), world(1000)
	cases := []struct {
		name             string
		top              *cf.Topology
		guarded, tracked bool
	}{{"no firewall", nil, false, false}, {"connection tracking alone", nil, false, true}, {"10 instances", &few, false, false},
		{"1000 instances, 10,000 rules", f.add(&many), false, false}, {"the same, and offloads guarded", &many, true, false}}
	fmt.Printf("CPU ns a frame, median of %d rounds of %d frames\n%-32s %12s %12s %12s\n", f.Rounds, batch, "", "established", "allowed new", "spoofed")
	for _, c := range cases {
		var row []float64
		for _, what := range []string{"datagrams", "connections", "spoofed"} {
			n, err := f.measure(c.top, c.guarded, c.tracked, what)
			if err != nil {
				return err
			}
			row = append(row, n)
		}
		fmt.Printf("%-32s %12.0f %12.0f %12.0f\n", c.name, row[0], row[1], row[2])
	}
	return nil
}

// add puts ten thousand rules where the flooder's app is.
func (f *frame) add(t *cf.Topology) *cf.Topology {
	big := walled(10000, outside)
	t.Groups, t.Bindings = big.Groups, big.Bindings
	return t
}

func (f *frame) measure(top *cf.Topology, guarded, tracked bool, what string) (float64, error) {
	n, err := vnet.New()
	if err != nil {
		return 0, err
	}
	defer n.Close()
	if guarded {
		if err := n.GuardOffloads(); err != nil {
			return 0, err
		}
	}
	if top != nil {
		w, err := firewall.Open(n.Within)
		if err != nil {
			return 0, err
		}
		defer w.Close()
		if _, err := w.Apply(noisy(*top)); err != nil {
			return 0, err
		}
	} else if err := n.Within(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }); err != nil {
		return 0, err
	}
	if tracked {
		if err := track(n); err != nil {
			return 0, err
		}
	}
	from, err := plug(n, 5, 1)
	if err != nil {
		return 0, err
	}
	defer from.Close()
	to, err := plug(n, 0, 0)
	if err != nil {
		return 0, err
	}
	defer to.Close()
	return f.pump(int(from.Fd()), int(to.Fd()), noise(what, 5, batch*f.Rounds))
}

// noisy lets the flooder reach its victim, and takes rates out of the way.
func noisy(t cf.Topology) cf.Topology {
	t.Policies = append(slices.Clone(t.Policies), cf.NetworkPolicy{SourceGUID: appGUID(1), DestinationGUID: appGUID(0), Protocol: "udp", StartPort: requestPort, EndPort: requestPort},
		cf.NetworkPolicy{SourceGUID: appGUID(1), DestinationGUID: appGUID(0), Protocol: "tcp", StartPort: requestPort, EndPort: requestPort})
	t.Endpoints = slices.Clone(t.Endpoints)
	for i := range t.Endpoints {
		t.Endpoints[i].Rates = cf.Rates{Packets: 1 << 30, PacketBurst: 1 << 30, Bytes: 1 << 40, ByteBurst: 1 << 40, Connections: 1 << 29, ConnectionBurst: 1 << 29}
	}
	return t
}

// track makes the kernel follow connections, and nothing else.
func track(n *vnet.Network) error {
	c, err := nft.Open(n.Within)
	if err != nil {
		return err
	}
	defer c.Close()
	t := &nft.Table{Family: nft.NFPROTO_IPV4, Name: "bench", Chains: []*nft.Chain{{Name: "forward", Base: &nft.Base{Hook: nft.NF_INET_FORWARD},
		Rules: []nft.Rule{nft.NewRule(nft.State("established", nft.NF_CT_STATE_ESTABLISHED), nft.Accept())}}}}
	_, err = c.Commit(nft.Diff(&nft.Ruleset{}, &nft.Ruleset{Tables: []*nft.Table{t}}), 0)
	return err
}

func plug(n *vnet.Network, i, app int) (*os.File, error) {
	e := endpoint(i, app)
	return n.AddTap(vnet.VNIC{Name: e.VNIC, Addr: e.Addr, MAC: e.MAC, MTU: e.MTU})
}

func (f *frame) pump(from, to int, frames [][]byte) (float64, error) {
	sink := make([]byte, abi.VNetHeaderSize+abi.MaxFrame)
	var took []float64
	at := 0
	for range f.Rounds {
		start := threadTime()
		for range batch {
			unix.Write(from, frames[at%len(frames)])
			at++
		}
		took = append(took, float64(threadTime()-start)/batch)
		for {
			if _, err := unix.Read(to, sink); err != nil {
				break
			}
		}
	}
	return median(took), nil
}

func threadTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
