package capture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/vnet"
)

var nic = vnet.VNIC{Name: "capture0", Addr: netip.MustParseAddr("10.7.0.2"), MAC: [6]byte{2, 0xde, 0x77, 1, 0, 2}, MTU: vnet.DefaultMTU}

// datagram is a UDP frame of the guest's; its checksums do not matter here.
func datagram(payload string) []byte {
	f := append(append(append([]byte(nil), vnet.GatewayMAC[:]...), nic.MAC[:]...), 8, 0)
	ip := make([]byte, 28, 28+len(payload))
	ip[0], ip[8], ip[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(ip[2:], uint16(28+len(payload)))
	copy(ip[12:], nic.Addr.AsSlice())
	copy(ip[16:], vnet.Gateway.AsSlice())
	binary.BigEndian.PutUint16(ip[20:], 1000)
	binary.BigEndian.PutUint16(ip[22:], 53)
	binary.BigEndian.PutUint16(ip[24:], uint16(8+len(payload)))
	return append(f, append(ip, payload...)...)
}

// block is a pcapng block as the test reads it.
type block struct {
	kind uint32
	body []byte
}

func blocks(t *testing.T, b []byte) []block {
	t.Helper()
	var list []block
	for len(b) > 0 {
		if len(b) < 12 {
			t.Fatalf("%d bytes are left", len(b))
		}
		size := binary.LittleEndian.Uint32(b[4:])
		if size%4 != 0 || int(size) > len(b) || binary.LittleEndian.Uint32(b[size-4:]) != size {
			t.Fatalf("block of %d bytes in %d", size, len(b))
		}
		list = append(list, block{binary.LittleEndian.Uint32(b), b[8 : size-4]})
		b = b[size:]
	}
	return list
}

// TestFramesOfATap: what the guest writes and what it is given is in the file,
// in order, with its direction; also a frame that no kernel would pass on.
func TestFramesOfATap(t *testing.T) {
	n, err := vnet.New()
	if errors.Is(err, unix.EPERM) {
		t.Skip("needs root: makes a network namespace")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	tap, err := n.AddTap(nic)
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	s, err := Open(n.Within, nic.Name, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	odd := append(datagram("")[:12:12], 0x88, 0xcc, 1, 2, 3)
	for _, f := range [][]byte{datagram(strings.Repeat("x", 300)), odd} {
		if _, err := tap.Write(append(make([]byte, abi.VNetHeaderSize), f...)); err != nil {
			t.Fatal(err)
		}
	}
	go n.DialTCP(t.Context(), netip.AddrPortFrom(nic.Addr, 80))
	var file bytes.Buffer
	w, err := NewWriter(&file, nic.Name, "a test", 100)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	ctx, stop := context.WithCancel(t.Context())
	if err := s.Each(ctx, func(f Frame) error {
		lines = append(lines, f.Line()[16:])
		if !f.FromGuest {
			stop() // the kernel's SYN was the last
		}
		return w.Write(f)
	}); err != nil {
		t.Fatal(err)
	}
	dropped, err := s.Dropped()
	if err != nil || dropped != 0 {
		t.Errorf("%d dropped, %v", dropped, err)
	}
	if err := w.Close(time.Now(), dropped); err != nil {
		t.Fatal(err)
	}
	checkFile(t, file.Bytes())
	checkLines(t, lines)
	readByTcpdump(t, file.Bytes())
}

func checkFile(t *testing.T, b []byte) {
	t.Helper()
	list := blocks(t, b)
	var packets []block
	for _, one := range list {
		if one.kind == blockPacket {
			packets = append(packets, one)
		}
	}
	if list[0].kind != blockSection || list[1].kind != blockInterface || list[len(list)-1].kind != blockStatistics || len(packets) < 3 {
		t.Fatalf("%d blocks, %d of them packets", len(list), len(packets))
	}
	first := packets[0].body
	if kept, size := binary.LittleEndian.Uint32(first[12:]), binary.LittleEndian.Uint32(first[16:]); kept != 100 || size != 342 {
		t.Errorf("%d of %d bytes, want 100 of 342", kept, size)
	}
	if !bytes.Equal(first[20:120], datagram(strings.Repeat("x", 300))[:100]) {
		t.Errorf("other bytes: %x", first[20:120])
	}
	at := time.Unix(0, int64(uint64(binary.LittleEndian.Uint32(first[4:]))<<32|uint64(binary.LittleEndian.Uint32(first[8:]))))
	if since := time.Since(at); since < 0 || since > time.Hour {
		t.Errorf("recorded at %v", at)
	}
}

func checkLines(t *testing.T, lines []string) {
	t.Helper()
	want := []string{"from guest UDP 10.7.0.2:1000 > 169.254.0.1:53, 300 bytes", "from guest 02:de:77:01:00:02 > 02:de:77:00:00:01 type 0x88cc, 17 bytes", "to guest   TCP 169.254.0.1:"}
	all := strings.Join(lines, "\n")
	for _, one := range want {
		if !strings.Contains(all, one) {
			t.Errorf("no %q in\n%s", one, all)
		}
	}
}

func readByTcpdump(t *testing.T, b []byte) {
	t.Helper()
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Log("tcpdump is not here: its reading of the file is not checked")
		return
	}
	c := exec.Command(tcpdump, "-n", "-r", "-")
	c.Stdin = bytes.NewReader(b)
	out, err := c.Output()
	if err != nil || !strings.Contains(string(out), "10.7.0.2.1000 > 169.254.0.1.53") || !strings.Contains(string(out), "Flags [S]") {
		t.Errorf("tcpdump reads: %v\n%s", err, out)
	}
}

func TestNoSuchDevice(t *testing.T) {
	if s, err := Open(func(f func() error) error { return f() }, "no-such-device", 0); err == nil {
		s.Close()
		t.Error("a device that is not there is heard")
	}
}

// FuzzLine: any bytes are one line of printable text.
func FuzzLine(f *testing.F) {
	f.Add(datagram("x"))
	f.Add(append(datagram("")[:12:12], 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0xde, 0x77, 1, 0, 2, 10, 7, 0, 2, 0, 0, 0, 0, 0, 0, 169, 254, 0, 1))
	f.Add([]byte{1, 2, 3})
	f.Add(append(datagram("")[:23:23], append([]byte{6}, make([]byte, 40)...)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		line := Frame{Bytes: b, Size: len(b)}.Line()
		for _, c := range line {
			if c < ' ' || c > '~' {
				t.Fatalf("%q has %q", line, c)
			}
		}
	})
}

// FuzzWriter: whatever the frames, the file is a sequence of whole blocks.
func FuzzWriter(f *testing.F) {
	f.Add("dew1", "comment", []byte("frame"), 5)
	f.Add("", "", []byte{}, 70000)
	f.Fuzz(func(t *testing.T, device, comment string, frame []byte, size int) {
		var file bytes.Buffer
		w, err := NewWriter(&file, device, comment, 100)
		if err == nil {
			err = w.Write(Frame{Bytes: frame, Size: size})
		}
		if err != nil {
			t.Fatal(err)
		}
		if list := blocks(t, file.Bytes()); len(list) != 3 || !bytes.Contains(list[2].body, frame) {
			t.Fatalf("%d blocks", len(list))
		}
	})
}
