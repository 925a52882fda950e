package vnet

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestDatagramsFindTheirWayBack(t *testing.T) {
	n := newNetwork(t)
	var server net.PacketConn
	if err := n.Within(func() (err error) {
		server, err = net.ListenPacket("udp4", "127.0.0.1:0")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		b := make([]byte, 64<<10)
		for {
			k, from, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			server.WriteTo(append([]byte("got "), b[:k]...), from)
		}
	}()
	f, err := n.ForwardDatagrams("127.0.0.1:0", server.LocalAddr().(*net.UDPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, say := range []string{"one", "two"} {
		c, err := net.Dial("udp", f.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		for range 2 {
			c.Write([]byte(say))
			b := make([]byte, 100)
			k, err := c.Read(b)
			if err != nil || string(b[:k]) != "got "+say {
				t.Fatalf("%q, %v", b[:k], err)
			}
		}
	}
	f.mu.Lock()
	if len(f.peers) != 2 {
		t.Errorf("%d clients are known", len(f.peers))
	}
	f.mu.Unlock()
}

// A port that nobody listens on yet must not stop the forward.
func TestDatagramsToNobody(t *testing.T) {
	n := newNetwork(t)
	var server net.PacketConn
	listen := func(addr string) error {
		return n.Within(func() (err error) { server, err = net.ListenPacket("udp4", addr); return err })
	}
	if err := listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	to := server.LocalAddr().(*net.UDPAddr).AddrPort()
	server.Close()
	f, err := n.ForwardDatagrams("127.0.0.1:0", to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := net.Dial("udp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("lost"))
	if err := listen(to.String()); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	server.SetDeadline(time.Now().Add(time.Minute))
	b := make([]byte, 100)
	for tries := 0; ; tries++ {
		c.Write([]byte("heard"))
		k, _, err := server.ReadFrom(b)
		if err == nil && string(b[:k]) == "heard" {
			break
		}
		if tries > 10 {
			t.Fatalf("%q, %v", b[:k], err)
		}
	}
}

func TestDatagramForwardKnowsSoManyClients(t *testing.T) {
	n := newNetwork(t)
	f, err := n.ForwardDatagrams("127.0.0.1:0", netip.MustParseAddrPort("127.0.0.1:9"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range datagramPeer + 10 {
		f.peer(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.peers) != datagramPeer {
		t.Errorf("%d clients are known", len(f.peers))
	}
}
