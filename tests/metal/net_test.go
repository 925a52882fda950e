package metal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/qemu"
	"golang.org/x/sys/unix"
)

const experimental = 0x88b5 // EtherType for local experiments, IEEE 802

// wire is a tap in a network namespace that dies with the test's thread, and a
// packet socket at its host end.
func wire(t *testing.T) (tap *os.File, packets int) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skip("needs root for a network namespace and a tap: ", err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	check(t, err)
	tap = os.NewFile(uintptr(fd), "tap")
	t.Cleanup(func() { tap.Close() })
	r, err := unix.NewIfreq("metal0")
	check(t, err)
	r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	check(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, r))
	check(t, unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, 12))
	packets, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	check(t, err)
	t.Cleanup(func() { unix.Close(packets) })
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	check(t, unix.IoctlIfreq(packets, unix.SIOCSIFFLAGS, r))
	check(t, unix.IoctlIfreq(packets, unix.SIOCGIFINDEX, r))
	network := uint16(experimental>>8 | experimental&0xff<<8)
	check(t, unix.Bind(packets, &unix.SockaddrLinklayer{Protocol: network, Ifindex: int(r.Uint32())}))
	check(t, unix.SetsockoptTimeval(packets, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}))
	return tap, packets
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var guestMAC, hostMAC = [6]byte{2, 0, 0, 0, 0, 1}, [6]byte{2, 0, 0, 0, 0, 2}

func ethernet(to, from [6]byte, payload []byte) []byte {
	b := append(to[:], from[:]...)
	return append(binary.BigEndian.AppendUint16(b, experimental), payload...)
}

// TestFramesGoThroughTheCardUnchanged: one at a time, and as many together as
// the rings must hold without loss.
func TestFramesGoThroughTheCardUnchanged(t *testing.T) {
	path, err := exec.LookPath(qemu.Name)
	if err != nil {
		t.Skipf("needs %s", qemu.Name)
	}
	elf := program(t)
	tap, packets := wire(t)
	out, outEnd := pipe(t)
	s := &tender.Spec{Name: fmt.Sprintf("metal-%d-echo", os.Getpid()), Program: file(t, elf), Stdout: outEnd, Tap: tap, DieWithCaller: true,
		Boot: boot.Config{Args: []string{"/app", "echo"}, Workdir: "/", NIC: boot.NIC{MAC: guestMAC, MTU: 1500}, MemoryLimit: 128 << 20}}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	i, err := (&qemu.Tender{Binary: path, Accel: qemu.TCG}).Start(ctx, s)
	check(t, err)
	defer i.Kill()
	outEnd.Close()
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the guest says %q", lines.Text())
	}
	const rounds, burst = 60, 20
	for round := range rounds {
		for n := range burst {
			payload := bytes.Repeat([]byte{byte(round), byte(n)}, 30+(round*burst+n)%720)
			check(t, unix.Send(packets, ethernet(guestMAC, hostMAC, payload), 0))
		}
		for n := range burst {
			payload := bytes.Repeat([]byte{byte(round), byte(n)}, 30+(round*burst+n)%720)
			b := make([]byte, 2048)
			size, err := unix.Read(packets, b)
			check(t, err)
			if !bytes.Equal(b[:size], ethernet(hostMAC, guestMAC, payload)) {
				t.Fatalf("round %d, frame %d comes back with %d bytes, or others", round, n, size)
			}
		}
	}
	check(t, unix.Send(packets, ethernet(guestMAC, hostMAC, bytes.Repeat([]byte{0xff}, 60)), 0))
	if !lines.Scan() || lines.Text() != fmt.Sprint("echoed ", rounds*burst) {
		t.Errorf("the guest says %q", lines.Text())
	}
}
