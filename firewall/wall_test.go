package firewall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall/conntrack"
	"github.com/dewpaas/dew/firewall/nft"
	"github.com/dewpaas/dew/vnet"
)

// only is the one frame that waits at a tap, or a failure.
func (t *tap) only(what string) seen {
	t.t.Helper()
	frames := t.drain()
	if len(frames) != 1 {
		t.t.Fatalf("%s: %d frames, want one", what, len(frames))
	}
	s, ok := look(frames[0])
	if !ok {
		t.t.Fatalf("%s: %x", what, frames[0])
	}
	return s
}

func (t *tap) nothing(what string) {
	t.t.Helper()
	for _, f := range t.drain() {
		s, _ := look(f)
		t.t.Errorf("%s: got %v", what, s)
	}
}

// handshake opens a TCP connection between two guests and checks that data
// passes both ways.
func handshake(a, b *tap, from, to uint16) {
	a.send(tcpSegment(a.addr, b.addr, from, to, syn, 100, 0, nil))
	b.only("SYN")
	b.send(tcpSegment(b.addr, a.addr, to, from, syn|ack, 500, 101, nil))
	a.only("SYN and ACK")
	a.send(tcpSegment(a.addr, b.addr, from, to, ack, 101, 501, []byte("hello")))
	b.only("data")
	b.send(tcpSegment(b.addr, a.addr, to, from, ack, 501, 106, []byte("hello")))
	a.only("answer")
}

// TestConnectionsAreCut: when a policy goes, both ends of a connection that it
// allowed are told by a reset with their next packet; other connections live.
func TestConnectionsAreCut(t *testing.T) {
	top := pairTopology()
	top.Policies = append(top.Policies, cf.NetworkPolicy{SourceGUID: "ann", DestinationGUID: "bob", Protocol: "tcp", StartPort: 9000, EndPort: 9000})
	l := newLab(t, top, true)
	ann, bob := l.taps["dew2"], l.taps["dew3"]
	handshake(ann, bob, 1000, 8080)
	handshake(ann, bob, 1001, 9000)
	without := top
	without.Policies = top.Policies[1:] // udp 8080 and tcp 9000 stay
	if done := l.apply(without); done.Cut != 1 || done.Removed != 1 || done.Added != 0 || done.Chains != 0 {
		t.Errorf("%+v, want one element less and one connection cut", done)
	}
	ann.send(tcpSegment(annAddr, bobAddr, 1000, 8080, ack, 106, 506, []byte("more")))
	bob.nothing("data of a connection that was cut")
	if s := ann.only("answer to it"); s.flags&rst == 0 || s.src != bobAddr {
		t.Errorf("%v, want a reset", s)
	}
	bob.send(tcpSegment(bobAddr, annAddr, 8080, 1000, ack, 506, 106, []byte("more")))
	ann.nothing("answer of a connection that was cut")
	if s := bob.only("answer to that"); s.flags&rst == 0 {
		t.Errorf("%v, want a reset", s)
	}
	ann.send(tcpSegment(annAddr, bobAddr, 1001, 9000, ack, 106, 506, []byte("more")))
	bob.only("data of the other connection")
}

// TestAnAddressHasNoPast: an instance that gets the address of another does not
// inherit its connections, not even those that it may have.
func TestAnAddressHasNoPast(t *testing.T) {
	top := pairTopology()
	l := newLab(t, top, true)
	handshake(l.taps["dew2"], l.taps["dew3"], 1000, 8080)
	next := pairTopology()
	next.Endpoints[1].GUID = "bob-again"
	if done := l.apply(next); done.Cut != 1 {
		t.Errorf("%+v, want the connection of the old instance cut", done)
	}
	handshake(l.taps["dew2"], l.taps["dew3"], 1001, 8080)
	gone := pairTopology()
	gone.Endpoints = gone.Endpoints[:1]
	if done := l.apply(gone); done.Cut != 0 {
		t.Errorf("%+v: what nobody has can wait", done)
	}
	if done := l.apply(next); done.Cut != 1 {
		t.Errorf("%+v, want the old connection cut before the address is somebody's", done)
	}
	l.apply(gone)
	l.taps["dew2"].send(tcpSegment(annAddr, bobAddr, 1002, 8080, syn, 1, 0, nil))
	if s := l.taps["dew2"].only("answer for an instance that is gone"); s.flags&rst == 0 {
		t.Errorf("%v, want a reset", s)
	}
}

// TestMinimalChanges: what changes in the topology is what changes in the kernel.
func TestMinimalChanges(t *testing.T) {
	l := newLab(t, sample(), true)
	for _, c := range []struct {
		name                   string
		change                 func(*cf.Topology)
		added, removed, chains int
	}{
		{"nothing", func(*cf.Topology) {}, 0, 0, 0},
		{"one policy more", func(t *cf.Topology) {
			t.Policies = append(t.Policies, cf.NetworkPolicy{SourceGUID: "stock", DestinationGUID: "shop", Protocol: "tcp", StartPort: 1, EndPort: 1})
		}, 3, 0, 0}, // two instances of shop, and stock is now among those who may ask
		{"one route less", func(t *cf.Topology) { t.Routes = t.Routes[1:] }, 0, 2, 0},
		{"one address more in a group", func(t *cf.Topology) {
			g := t.Groups[2]
			g.Rules = []cf.Rule{{Protocol: "tcp", Destination: "10.0.0.5,10.0.0.6,10.0.0.9", Ports: "5432,6000-6010", Log: true}, g.Rules[1]}
			t.Groups = append(t.Groups[:2:2], g)
		}, 3, 1, 0}, // a span is split in two, around the new address
		{"one rule to log less", func(t *cf.Topology) {
			g := t.Groups[2]
			g.Rules = []cf.Rule{{Protocol: "tcp", Destination: "10.0.0.5,10.0.0.6", Ports: "5432,6000-6010"}, g.Rules[1]}
			t.Groups = append(t.Groups[:2:2], g)
		}, 4, 1, 2}, // one span, and another map of three ports; the old one goes as a whole
	} {
		t.Run(c.name, func(t *testing.T) {
			l.apply(sample())
			top := sample()
			c.change(&top)
			done := l.apply(top)
			if done.Added != c.added || done.Removed != c.removed || done.Chains != c.chains {
				t.Errorf("%+v, want +%d -%d, %d chains", done, c.added, c.removed, c.chains)
			}
		})
	}
}

func runNft(t *testing.T, n *vnet.Network, args ...string) {
	t.Helper()
	binary, err := exec.LookPath("nft")
	if err != nil {
		t.Skip("needs nft: apt-get install nftables")
	}
	if err := n.Within(func() error {
		out, err := exec.Command(binary, args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w", out, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// edits are what an administrator, or somebody who got that far, may do to the
// tables.
func edits() []string {
	return []string{
		"flush chain ip dew forward",
		"insert rule ip dew forward accept",
		"insert rule ip dew deny counter accept",
		"add rule ip dew peers accept",
		"delete element ip dew policies { 0x%08x . 10.254.0.3 . 6 . 8080 }",
		"add element ip dew policies { 0x%08x . 10.254.0.3 . 6 . 22 }",
		"add element ip dew served { 10.254.0.3 . 22 }",
		"add chain ip dew extra",
		"add chain ip dew early { type filter hook prerouting priority -500; policy accept; }",
		"add set ip dew more { type ipv4_addr; elements = { 1.2.3.4 } }",
		"add counter ip dew c",
		"chain ip dew forward { policy accept; }",
		"add table ip dew { flags dormant; }",
		"delete table netdev dew",
		"delete table ip dew",
		"flush ruleset",
		"insert rule netdev dew lock accept",
		"add element netdev dew vnics { \"dew2\" . 02:de:77:01:00:02 . 10.254.0.9 }",
		"delete element netdev dew rate { \"dew2\" limit rate 250000/second burst 50000 packets limit rate 1250000000 bytes/second burst 67108864 bytes }",
	}
}

// TestDriftIsRepaired: every edit of the tables is seen, and undone.
func TestDriftIsRepaired(t *testing.T) {
	top := pairTopology()
	l := newLab(t, top, true)
	ann := newPlan(&top, nil).ids["ann"]
	want, _ := Compile(top, l.wall.Kernel())
	for _, edit := range edits() {
		if strings.Contains(edit, "%") {
			edit = fmt.Sprintf(edit, ann)
		}
		runNft(t, l.net, strings.Fields(edit)...)
		before, err := l.wall.Live()
		if err != nil {
			t.Fatal(err)
		}
		if d := nft.Diff(before, want); d.Empty() {
			t.Errorf("%s: is not seen", edit)
		}
		done, err := l.wall.Drift()
		if err != nil || !done.Repaired {
			t.Fatalf("%s: %+v, %v", edit, done, err)
		}
		after, err := l.wall.Live()
		if err != nil {
			t.Fatal(err)
		}
		if d := nft.Diff(after, want); !d.Empty() {
			t.Errorf("%s: %d differences are left", edit, len(d.Messages))
		}
		if again, err := l.wall.Drift(); err != nil || again.Repaired {
			t.Errorf("%s: repaired twice: %v", edit, err)
		}
	}
	l.taps["dew2"].send(good())
	l.taps["dew3"].only("a lawful packet")
}

// TestApplyOverDrift: a change that comes after somebody's edit still ends with
// the right tables, and says that it repaired.
func TestApplyOverDrift(t *testing.T) {
	l := newLab(t, pairTopology(), true)
	runNft(t, l.net, "delete", "table", "ip", "dew")
	top := pairTopology()
	top.Policies = nil
	if done := l.apply(top); !done.Repaired {
		t.Errorf("%+v, want a repair", done)
	}
	live, err := l.wall.Live()
	if err != nil {
		t.Fatal(err)
	}
	want, _ := Compile(top, l.wall.Kernel())
	if d := nft.Diff(live, want); !d.Empty() {
		t.Errorf("%d differences", len(d.Messages))
	}
}

// TestWatchRepairsAtOnce: nobody has to ask.
func TestWatchRepairsAtOnce(t *testing.T) {
	l := newLab(t, pairTopology(), true)
	ctx, stop := context.WithCancel(t.Context())
	repaired, ended := make(chan Applied, 10), make(chan error, 1)
	go func() { ended <- l.wall.Watch(ctx, func(a Applied) { repaired <- a }) }()
	runNft(t, l.net, "insert", "rule", "ip", "dew", "forward", "accept")
	<-repaired
	runNft(t, l.net, "flush", "ruleset")
	<-repaired
	top := pairTopology()
	top.Policies = nil
	l.apply(top) // our own change is none of its business
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(repaired) > 0 {
		t.Errorf("repaired once more: %+v", <-repaired)
	}
}

// TestASecondWallTakesOver: a restarted cell finds the rules of the one before,
// changes only what differs, and connections live on.
func TestASecondWallTakesOver(t *testing.T) {
	l := newLab(t, pairTopology(), true)
	ann, bob := l.taps["dew2"], l.taps["dew3"]
	handshake(ann, bob, 1000, 8080)
	l.openWall()
	if done := l.apply(pairTopology()); done.Added+done.Removed+done.Chains+done.Cut != 0 || done.Repaired {
		t.Errorf("%+v, want nothing", done)
	}
	ann.send(tcpSegment(annAddr, bobAddr, 1000, 8080, ack, 106, 506, []byte("more")))
	bob.only("data")
}

// TestNoMomentWithoutALock: a tap that is up before anybody said whose it is
// passes nothing, in either direction.
func TestNoMomentWithoutALock(t *testing.T) {
	for _, lock := range []Lock{LockWildcard, LockRouting} {
		top := pairTopology()
		l := &lab{t: t, net: newNetwork(t), taps: map[string]*tap{}}
		l.openWall()
		if l.wall.kernel.Lock > lock {
			continue
		}
		l.wall.kernel.Lock = lock
		l.apply(top)
		bob := l.plug(top.Endpoints[1])
		eve := endpoint(9, "eve")
		tap := l.plug(eve)
		tap.send(udpDatagram(eve.Addr, bobAddr, 1, 8080, nil))
		tap.send(udpDatagram(annAddr, bobAddr, 1, 8080, nil)) // not even as somebody who may
		bob.nothing("from a tap without an owner")
		bob.send(udpDatagram(bobAddr, eve.Addr, 1, 8080, nil))
		tap.nothing("to a tap without an owner")
	}
}

// TestARPForTheGateway: the one question that may be asked is answered, where
// the tap answers at all.
func TestARPForTheGateway(t *testing.T) {
	l := newLab(t, pairTopology(), true)
	ann := l.taps["dew2"]
	runIn(t, l, "ip", "link", "set", "dew2", "arp", "on")
	if err := ann.frame(ether([6]byte{255, 255, 255, 255, 255, 255}, annMAC, unix.ETH_P_ARP, arp(1, annMAC, annAddr, [6]byte{}, vnet.Gateway))); err != nil {
		t.Fatal(err)
	}
	frames := ann.drain()
	if len(frames) != 1 || string(frames[0][12:22]) != "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x02" || [6]byte(frames[0][22:28]) != vnet.GatewayMAC {
		t.Fatalf("%x", frames)
	}
}

func runIn(t *testing.T, l *lab, args ...string) {
	t.Helper()
	if err := l.net.Within(func() error {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if errors.Is(err, exec.ErrNotFound) {
			t.Skipf("needs %s: apt-get install iproute2", args[0])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", out, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestFlowLog: denied connections, and those that a rule wants logged, come with
// who, where to and why; so many and no more.
func TestFlowLog(t *testing.T) {
	top := pairTopology()
	top.Groups = []cf.SecurityGroup{{Meta: cf.Meta{GUID: "g"}, Name: "db", Running: true, Rules: []cf.Rule{
		{Protocol: "tcp", Destination: "10.0.0.5", Ports: "5432", Log: true}, {Protocol: "tcp", Destination: "10.0.0.6", Ports: "5432"}}}}
	l := newLab(t, top, true)
	ctx, stop := context.WithCancel(t.Context())
	flows, ended := make(chan Flow, 1000), make(chan error, 1)
	listening := make(chan bool)
	go func() {
		l, err := l.wall.listen()
		close(listening)
		if err == nil {
			err = l.run(ctx, func(f Flow) { flows <- f })
		}
		ended <- err
	}()
	<-listening
	ann := l.taps["dew2"]
	db, other := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.6")
	ann.send(tcpSegment(annAddr, other, 1000, 5432, syn, 1, 0, nil)) // allowed, not logged
	ann.send(tcpSegment(annAddr, db, 1000, 5432, syn, 1, 0, nil))
	ann.send(tcpSegment(annAddr, bobAddr, 1000, 22, syn, 1, 0, nil))
	ann.send(icmpMessage(annAddr, netip.MustParseAddr("8.8.8.8"), 8, 0, 0, 1))
	for _, want := range []string{
		"allowed tcp from 10.254.0.2 to 10.0.0.5:5432: security group db rule 1",
		"denied tcp from 10.254.0.2 to 10.254.0.3:22 (bob): default deny: no network policy from ann to bob allows tcp 22",
		"denied icmp from 10.254.0.2 to 8.8.8.8 type 8 code 0: default deny: none of the security groups db allows it",
	} {
		f := <-flows
		if f.String() != want || f.From == nil || f.From.AppGUID != "ann" {
			t.Errorf("got  %v\nwant %v", f, want)
		}
		var line map[string]any
		if err := json.Unmarshal([]byte(f.JSON()), &line); err != nil || !strings.HasPrefix(line["message"].(string), "cfnetworking.iptables.") {
			t.Errorf("%s: %v", f.JSON(), err)
		}
	}
	for i := range uint16(500) {
		ann.send(tcpSegment(annAddr, bobAddr, 2000+i, 22, syn, 1, 0, nil))
	}
	l.taps["dew3"].send(tcpSegment(bobAddr, annAddr, 1000, 22, syn, 1, 0, nil)) // another guest's is not lost in it
	n := 0
	for f := range flows {
		if f.From.AppGUID == "bob" {
			break
		}
		n++
	}
	if n < 5 || n > 100 {
		t.Errorf("%d of 500 were logged", n)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestFloodsAreBounded: a guest sends what its buckets hold and no more; its
// neighbours' are their own.
func TestFloodsAreBounded(t *testing.T) {
	top := pairTopology()
	top.Endpoints = append(top.Endpoints, endpoint(4, "ann"))
	top.Endpoints[0].Rates = cf.Rates{Packets: 1, PacketBurst: 100}
	top.Endpoints[2].Rates = cf.Rates{Connections: 1, ConnectionBurst: 10}
	l := newLab(t, top, true)
	ann, bob, other := l.taps["dew2"], l.taps["dew3"], l.taps["dew4"]
	for range 300 {
		ann.send(good())
	}
	if n := len(bob.drain()); n < 100 || n > 150 {
		t.Errorf("%d of 300 packets passed a bucket of 100", n)
	}
	if n := l.drops("dew2", ReasonFlood); n < 150 {
		t.Errorf("%d counted as a flood", n)
	}
	for i := range uint16(50) {
		other.send(udpDatagram(other.addr, bobAddr, 1000+i, 8080, nil))
	}
	if n := len(bob.drain()); n < 10 || n > 20 {
		t.Errorf("%d of 50 connections passed a bucket of 10", n)
	}
	if n := l.drops("dew4", ReasonNew); n < 30 {
		t.Errorf("%d counted as new", n)
	}
	for range 50 {
		other.send(udpDatagram(other.addr, bobAddr, 1000, 8080, nil))
	}
	if n := len(bob.drain()); n != 50 {
		t.Errorf("%d of 50 packets of an old connection passed: they are not new", n)
	}
	gone := pairTopology()
	l.apply(gone)
	l.apply(top)
	if n := l.drops("dew4", ReasonNew); n != 0 {
		t.Errorf("a new vNIC begins with %d", n)
	}
}

// TestCrowdsAreRelieved: a guest that fills the table of connections begins no
// others for a while; those that it has go on, and its neighbours do not notice.
func TestCrowdsAreRelieved(t *testing.T) {
	top := pairTopology()
	top.Policies = append(top.Policies, cf.NetworkPolicy{SourceGUID: "bob", DestinationGUID: "ann", Protocol: "udp", StartPort: 8080, EndPort: 8080})
	l := newLab(t, top, true)
	ann, bob := l.taps["dew2"], l.taps["dew3"]
	for i := range uint16(100) {
		ann.send(udpDatagram(annAddr, bobAddr, 1000+i, 8080, nil))
	}
	bob.send(udpDatagram(bobAddr, annAddr, 7, 8080, nil))
	bob.drain()
	ann.drain()
	if n, err := l.wall.relieve(101, 1000); n != 0 || err != nil {
		t.Errorf("%d, %v: there is room", n, err)
	}
	used, room, err := l.wall.tableUse()
	if err != nil || used < 101 || room < used {
		t.Errorf("%d of %d are used, %v", used, room, err)
	}
	if n, err := l.wall.relieve(101, 120); n != 1 || err != nil {
		t.Fatalf("%d guests crowd, %v", n, err)
	}
	ann.send(udpDatagram(annAddr, bobAddr, 2000, 8080, nil))
	bob.nothing("a new connection of who has too many")
	if n := l.drops("dew2", ReasonOpen); n != 1 {
		t.Errorf("%d counted", n)
	}
	ann.send(udpDatagram(annAddr, bobAddr, 1000, 8080, nil))
	bob.only("an old connection")
	bob.send(udpDatagram(bobAddr, annAddr, 8, 8080, nil))
	ann.only("a new connection of the other")
	if done, err := l.wall.Drift(); err != nil || done.Repaired {
		t.Errorf("%+v, %v: that was ours", done, err)
	}
}

// TestAnyRatesAreTaken: numbers that the kernel cannot count with do not keep
// the rest from being applied.
func TestAnyRatesAreTaken(t *testing.T) {
	top := pairTopology()
	top.Endpoints[0].Rates = cf.Rates{Packets: 1<<32 - 1, PacketBurst: 1<<32 - 1, Bytes: 1<<64 - 1, ByteBurst: 1<<64 - 1, Connections: 1<<32 - 1, ConnectionBurst: 1<<32 - 1}
	top.Endpoints[1].Rates = cf.Rates{Packets: 1, PacketBurst: 1, Bytes: 1, ByteBurst: 1, Connections: 1, ConnectionBurst: 1}
	l := newLab(t, top, true)
	for range 10 {
		l.taps["dew2"].send(good())
	}
	if n := len(l.taps["dew3"].drain()); n != 10 {
		t.Errorf("%d of 10 packets passed", n)
	}
}

// TestProblemsDenyTheirPart: what cannot be enforced is named, and the rest holds.
func TestProblemsDenyTheirPart(t *testing.T) {
	top := pairTopology()
	top.Endpoints = append(top.Endpoints, endpoint(3, "thief"), cf.Endpoint{GUID: "six", Addr: netip.MustParseAddr("fd00::1"), VNIC: "dew6"},
		cf.Endpoint{GUID: "misnamed", Addr: netip.MustParseAddr("10.254.0.8"), VNIC: "eth0"})
	top.Policies = append(top.Policies, cf.NetworkPolicy{Meta: cf.Meta{GUID: "p"}, SourceGUID: "ann", DestinationGUID: "bob", Protocol: "sctp", StartPort: 1, EndPort: 1})
	top.Groups = []cf.SecurityGroup{{Name: "bad", Running: true, Rules: []cf.Rule{{Protocol: "tcp", Destination: "x", Ports: "1"}, {Protocol: "all", Destination: "8.8.8.8"}}}}
	l := newLab(t, pairTopology(), true)
	done := l.apply(top)
	if len(done.Problems) != 5 {
		t.Errorf("%v", done.Problems)
	}
	ann := l.taps["dew2"]
	ann.send(good())
	l.taps["dew3"].only("a lawful packet")
	ann.send(icmpMessage(annAddr, netip.MustParseAddr("8.8.8.8"), 8, 0, 0, 1))
	l.out.only("what the good rule allows")
}

// TestNoForbiddenConnectionSurvives: after any change, every tracked connection
// of a guest is one that the new topology allows.
func TestNoForbiddenConnectionSurvives(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(11, 4))}
	top := d.topology()
	l := newLab(t, top, true)
	cut := 0
	for round := range 30 {
		for i := range 40 {
			q := d.question(&top)
			if where(q.From) != vnet.Gateway && where(q.To) != vnet.Gateway {
				l.attempt(q, uint16(1000+round*100+i))
			}
		}
		next := d.topology()
		for i := range next.Endpoints { // the same instances, so that what is cut is for its rules
			next.Endpoints[i].AppGUID, next.Endpoints[i].AppName, next.Endpoints[i].GUID = top.Endpoints[i].AppGUID, top.Endpoints[i].AppName, top.Endpoints[i].GUID
		}
		top = next
		cut += l.apply(top).Cut
		p := newPlan(&top, nil)
		if err := l.wall.flows.Each(func(f conntrack.Flow) {
			if !p.permits(f, number(f.Src), number(f.Dst)) {
				t.Errorf("round %d: %v -> %v protocol %d port %d lives on", round, f.Src, f.Dst, f.Protocol, f.DstPort)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if cut < 50 {
		t.Errorf("%d connections were cut: the dice prove too little", cut)
	}
}
