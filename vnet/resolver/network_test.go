package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/vnet"
)

// TestGuestBehindItsTap: the frames of a guest that asks its gateway, which
// listens before there is any tap, and what comes back.
func TestGuestBehindItsTap(t *testing.T) {
	network, err := vnet.New()
	if errors.Is(err, unix.EPERM) {
		t.Skip("needs root: makes a network namespace")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	packets, streams, err := network.ListenGateway(53)
	if err != nil {
		t.Fatal(err)
	}
	r := New(Config{})
	w := world()
	guest := netip.MustParseAddr("10.7.0.2")
	w.Askers[guest] = "shop-guid"
	if err := r.Update(w); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx, packets, streams) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	nic := vnet.VNIC{Name: "dnstest", Addr: guest, MAC: [6]byte{2, 0xde, 0x77, 1, 0, 2}, MTU: vnet.DefaultMTU}
	tap, err := network.AddTap(nic)
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	tap.SetDeadline(time.Now().Add(time.Minute))
	query, err := asking("stock.apps.internal.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tap.Write(frame(nic, query)); err != nil {
		t.Fatal(err)
	}
	answer := awaitAnswer(t, tap, nic)
	if len(answer.Answer) != 3 {
		t.Errorf("answer:\n%v", answer)
	}
}

const guestPort = 40053

// frame wraps a query into UDP, IPv4 and Ethernet, behind the header of the tap.
func frame(nic vnet.VNIC, query []byte) []byte {
	f := make([]byte, abi.VNetHeaderSize)
	f = append(f, vnet.GatewayMAC[:]...)
	f = append(f, nic.MAC[:]...)
	f = append(f, 0x08, 0x00)
	ip := []byte{0x45, 0, 0, 0, 0, 1, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	binary.BigEndian.PutUint16(ip[2:], uint16(28+len(query)))
	ip = append(ip, nic.Addr.AsSlice()...)
	ip = append(ip, vnet.Gateway.AsSlice()...)
	var sum uint32
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum>>16+sum&0xffff))
	f = append(f, ip...)
	f = binary.BigEndian.AppendUint16(f, guestPort)
	f = binary.BigEndian.AppendUint16(f, 53)
	f = binary.BigEndian.AppendUint16(f, uint16(8+len(query)))
	f = append(f, 0, 0) // no checksum: lawful over IPv4 (RFC 768)
	return append(f, query...)
}

// awaitAnswer reads frames until the answer to the guest's port comes from the
// gateway's.
func awaitAnswer(t *testing.T, tap *os.File, nic vnet.VNIC) *dns.Msg {
	t.Helper()
	b := make([]byte, abi.VNetHeaderSize+abi.MaxFrame)
	for {
		n, err := tap.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		eth := b[abi.VNetHeaderSize:n]
		if len(eth) < 42 || eth[23] != unix.IPPROTO_UDP || binary.BigEndian.Uint16(eth[36:]) != guestPort {
			continue
		}
		if from := netip.AddrFrom4([4]byte(eth[26:30])); from != vnet.Gateway || binary.BigEndian.Uint16(eth[34:]) != 53 {
			t.Fatalf("an answer from %v", from)
		}
		if [6]byte(eth[:6]) != nic.MAC {
			t.Fatalf("an answer to %x", eth[:6])
		}
		m := new(dns.Msg)
		if err := m.Unpack(eth[42:]); err != nil {
			t.Fatal(err)
		}
		return m
	}
}
