package breach

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/vnet"
)

// Site is where hostile twins of an app are let loose: the network of its cell,
// with the firewall that is in force there.
type Site struct {
	Subject Subject
	Network *vnet.Network
	// Borrow lends places in that network, for one attack.
	Borrow func(ctx context.Context) (*Places, error)
}

// Place is a vNIC of the cell's network.
type Place struct {
	VNIC vnet.VNIC
	Tap  *os.File
}

// Places are the parties of one attack. Twin has the network policies and
// security groups of the app; it may reach Friend at FriendPort over TCP and
// UDP; Stranger may, over UDP. Neither is anybody's instance: what reaches them
// by a broken wall harms nobody.
type Places struct {
	Twin, Friend, Stranger Place
	GiveBack               func()
}

// FriendPort is the port of Friend that is open.
const FriendPort = openPort

// street is the site as a street. All that is sent on, by any interface, is
// looked at, so that also what reaches a real instance, or leaves, is seen.
func (site *Site) street(ctx context.Context) (_ *street, err error) {
	p, err := site.Borrow(ctx)
	if err != nil {
		return nil, fmt.Errorf("borrow places: %w", err)
	}
	at := func(p Place) party {
		return party{name: p.VNIC.Name, mac: p.VNIC.MAC, addr: p.VNIC.Addr, house: new(house)}
	}
	t := &street{paving: walled, net: site.Network, gateway: vnet.Gateway, host: new(house), topology: cf.Topology{GatewayMAC: vnet.GatewayMAC},
		mal: at(p.Twin), bob: at(p.Friend), ann: at(p.Stranger), out: at(Place{}), card: p.Twin.Tap}
	t.later(p.GiveBack)
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	for _, held := range []struct {
		*party
		tap *os.File
	}{{&t.bob, p.Friend.Tap}, {&t.ann, p.Stranger.Tap}} {
		if err := plain(held.tap); err != nil {
			return nil, err
		}
		held.party.tap = held.tap
		held.receive(held.tap, abi.VNetHeaderSize)
	}
	return t, errors.Join(t.listenAt(&t.mal), t.watchAll(), t.net.Within(t.openDoors))
}

// tokens begin with this.
const tokenPrefix = "loot-"

// watchAll keeps every frame with a token that any interface but the twin's
// sends on.
func (t *street) watchAll() error {
	return t.net.Within(func() error {
		own, err := net.InterfaceByName(t.mal.name)
		if err != nil {
			return err
		}
		const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
		if err != nil {
			return err
		}
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20) // with less it may be too slow, and says so
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}); err != nil {
			unix.Close(fd)
			return err
		}
		w := &lookout{fd: fd, own: own.Index, into: t.out.house, stop: make(chan struct{}), done: make(chan struct{})}
		go w.run()
		t.lost = w.lost
		t.later(w.close)
		return nil
	})
}

// lookout reads a packet socket of all interfaces.
type lookout struct {
	fd, own    int
	into       *house
	stop, done chan struct{}
	once       sync.Once
}

func (w *lookout) run() {
	defer close(w.done)
	b := make([]byte, abi.MaxFrame)
	for {
		select {
		case <-w.stop:
			return
		default:
		}
		n, from, err := unix.Recvfrom(w.fd, b, 0)
		if err == unix.EAGAIN || err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		a, ok := from.(*unix.SockaddrLinklayer)
		if ok && a.Pkttype == unix.PACKET_OUTGOING && a.Ifindex != w.own && bytes.Contains(b[:n], []byte(tokenPrefix)) {
			w.into.put(b[:n])
		}
	}
}

// lost is how many frames were not looked at, since it was asked last.
func (w *lookout) lost() (uint32, error) {
	stats, err := unix.GetsockoptTpacketStats(w.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0, err
	}
	return stats.Drops, nil
}

func (w *lookout) close() {
	w.once.Do(func() {
		close(w.stop)
		<-w.done
		unix.Close(w.fd)
	})
}
