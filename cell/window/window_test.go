package window

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dewpaas/dew/cell"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/vnet"
)

// host is a cell with a real network.
type host struct {
	network *vnet.Network
	lent    atomic.Int64
	refuses error
}

func (h *host) Topology() cf.Topology {
	return cf.Topology{Gateway: vnet.Gateway, GatewayMAC: vnet.GatewayMAC, Resolvers: []netip.AddrPort{netip.AddrPortFrom(vnet.Gateway, 53)},
		Endpoints: []cf.Endpoint{{GUID: "i", AppName: "hello", Addr: netip.MustParseAddr("10.255.0.2"), MAC: [6]byte{2, 0xde, 1}}}}
}
func (h *host) Apps() map[string]string { return map[string]string{"guid": "hello"} }
func (h *host) Tenders() []string       { return []string{"process"} }
func (h *host) Network() *vnet.Network  { return h.network }

func (h *host) Lend(_ context.Context, wishes []cell.Wish, _ []cf.NetworkPolicy) (places []cell.Place, giveBack func(), err error) {
	if h.refuses != nil {
		return nil, nil, h.refuses
	}
	for i := range wishes {
		card := vnet.VNIC{Name: "vg-test" + string(rune('0'+i)), Addr: netip.AddrFrom4([4]byte{10, 255, 0, byte(i + 9)}), MAC: [6]byte{2, 1, 1, 1, 1, byte(i)}, MTU: 1500}
		tap, err := h.network.AddTap(card)
		if err != nil {
			return nil, nil, err
		}
		places = append(places, cell.Place{GUID: wishes[i].AppGUID, VNIC: card, Tap: tap})
	}
	h.lent.Add(1)
	return places, func() {
		for _, p := range places {
			p.Tap.Close()
		}
		h.lent.Add(-1)
	}, nil
}

// open serves a host, in a folder with a name too long for a socket's.
func open(t *testing.T) (*host, string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a network namespace is made")
	}
	n, err := vnet.New()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir() + "/" + strings.Repeat("x", 150)
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(folder)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{network: n}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- Serve(ctx, l, h) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		n.Close()
	})
	return h, folder
}

func TestLook(t *testing.T) {
	h, folder := open(t)
	v, n, err := Look(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	e := v.Topology.Endpoints[0]
	if want := h.Topology().Endpoints[0]; e.Addr != want.Addr || e.MAC != want.MAC || v.Topology.Gateway != vnet.Gateway || v.Apps["guid"] != "hello" || len(v.Tenders) != 1 {
		t.Errorf("%+v", v)
	}
	theirs, ours := inode(t, h.network), inode(t, n)
	if theirs != ours {
		t.Errorf("network %s, want the cell's %s", ours, theirs)
	}
	info, err := os.Stat(folder + "/" + File)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: others can connect", info, err)
	}
}

// inode is which namespace a network is.
func inode(t *testing.T, n *vnet.Network) (name string) {
	t.Helper()
	if err := n.Within(func() (err error) {
		name, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestBorrow: places come with open taps, and go back when the borrower is gone.
func TestBorrow(t *testing.T) {
	h, folder := open(t)
	l, err := Borrow(t.Context(), folder, []cell.Wish{{AppGUID: "a"}, {AppGUID: "b"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Places) != 2 || l.Places[1].GUID != "b" || h.lent.Load() != 1 {
		t.Fatalf("%+v, %d lent", l.Places, h.lent.Load())
	}
	// A frame that the borrower writes is one on the cell's network; one of
	// nonsense is refused, but by a tap.
	if _, err := l.Places[0].Tap.Write(make([]byte, 12+60)); err != nil {
		t.Errorf("write a frame: %v", err)
	}
	l.Close()
	for end := time.Now().Add(2 * time.Minute); h.lent.Load() != 0; {
		if time.Now().After(end) {
			t.Fatal("the places were not given back")
		}
		Look(t.Context(), folder) // what takes its time
	}
}

func TestAskerIsTold(t *testing.T) {
	h, folder := open(t)
	h.refuses = errors.New("no places today")
	if _, err := Borrow(t.Context(), folder, []cell.Wish{{}}, nil); err == nil || !strings.Contains(err.Error(), "no places today") {
		t.Errorf("%v", err)
	}
	if _, _, _, err := ask(t.Context(), folder, question{Ask: "dinner"}); err == nil || !strings.Contains(err.Error(), `no answer to "dinner"`) {
		t.Errorf("%v", err)
	}
	if _, _, err := Look(t.Context(), t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a cell: %v", err)
	}
	// What is no question is answered, and no harm done.
	if err := within(folder, func(path string) error {
		c, err := net.Dial("unix", path)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte("{]\n")); err != nil {
			return err
		}
		b := make([]byte, 512)
		n, err := c.Read(b)
		if !strings.Contains(string(b[:n]), "read the question") {
			t.Errorf("%q", b[:n])
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// FuzzQuestion: who asks nonsense is refused, and what is understood is what a
// question can say.
func FuzzQuestion(f *testing.F) {
	f.Add([]byte(`{"Ask":"view"}` + "\n"))
	f.Add([]byte(`{"Ask":"lend","Wishes":[{"AppGUID":"a"}],"Policies":[{"SourceGUID":"a","Protocol":"tcp","StartPort":-1}]}` + "\n"))
	f.Add([]byte("{\"Ask\":1}\n{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := readQuestion(bytes.NewReader(b))
		line, _, whole := bytes.Cut(b, []byte("\n"))
		if (err == nil) != (whole && json.Valid(line)) && !errors.As(err, new(*json.UnmarshalTypeError)) {
			t.Errorf("%q: %v", line, err)
		}
		if err != nil && !reflect.DeepEqual(q, question{}) {
			t.Errorf("%+v beside %v", q, err)
		}
	})
}
