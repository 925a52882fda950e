package network

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/abi/image"
	"github.com/dewpaas/dew/stager/goroot"
	"github.com/dewpaas/dew/stager/pvh"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/process"
	"github.com/dewpaas/dew/tender/qemu"
	"github.com/dewpaas/dew/vnet"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var app struct {
	once sync.Once
	path string
}

func TestMain(m *testing.M) {
	status := m.Run()
	if app.path != "" {
		os.Remove(app.path)
	}
	os.Exit(status)
}

// program builds testdata/app as droplets are built, once, bootable.
func program(t *testing.T) *os.File {
	app.once.Do(func() {
		out := filepath.Join(t.TempDir(), "app")
		cache, err := os.UserCacheDir()
		if err != nil {
			cache = t.TempDir()
		}
		root, err := goroot.Open(t.Context(), filepath.Join(cache, "dew", "goroot"))
		check(t, err)
		cmd := exec.Command(root.Go(), "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, ".")
		cmd.Dir = "testdata/app"
		cmd.Env = append(append(os.Environ(), root.Env()...), "GOFLAGS=")
		if b, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, b)
		}
		plain, err := os.ReadFile(out)
		check(t, err)
		elf, err := pvh.Convert(plain)
		check(t, err)
		f, err := os.CreateTemp("", "dew-network-*")
		check(t, err)
		defer f.Close()
		_, err = f.Write(elf)
		check(t, err)
		check(t, f.Chmod(0o755))
		app.path = f.Name()
	})
	if app.path == "" {
		t.Fatal("the program could not be built")
	}
	f, err := os.Open(app.path)
	check(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

var vnic = vnet.VNIC{Name: "network0", Addr: netip.MustParseAddr("10.7.0.2"), MAC: [6]byte{2, 0xde, 0x77, 1, 0, 2}, MTU: vnet.DefaultMTU}

// guest is the program at work, and its network.
type guest struct {
	kind     string
	network  *vnet.Network
	client   *http.Client
	instance tender.Instance // nil on a machine that no tender starts
	stopped  chan struct{}   // its output has ended
	said     *bytes.Buffer   // until then: after stopped alone
}

var guests atomic.Int32

// kinds are the ways to run the program.
var kinds = []string{"process", "microvm", "q35"}

// start runs the program; wire puts something between the network's tap and the
// guest's and may be nil; args are the program's.
func start(t *testing.T, kind string, wire func(*testing.T, *os.File) *os.File, args ...string) *guest {
	n, err := vnet.New()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { n.Close() })
	tap, err := n.AddTap(vnic)
	check(t, err)
	t.Cleanup(func() { tap.Close() })
	if wire != nil {
		tap = wire(t, tap)
	}
	g := &guest{kind: kind, network: n, stopped: make(chan struct{}), said: new(bytes.Buffer)}
	g.client = &http.Client{Timeout: 90 * time.Second, Transport: &http.Transport{DialContext: g.dial, DisableCompression: true,
		MaxIdleConnsPerHost: 16}}
	r, w, err := os.Pipe()
	check(t, err)
	s := &tender.Spec{
		Name: fmt.Sprintf("network-%d-%d", os.Getpid(), guests.Add(1)), Program: program(t), Image: droplet(t), Tap: tap, Stdout: w, DieWithCaller: true,
		Boot: boot.Config{Args: append([]string{"/app"}, args...), Workdir: "/", Hostname: "talker", CPUs: 2, MemoryLimit: 256 << 20, OverlayQuota: 8 << 20,
			NIC: boot.NIC{MAC: vnic.MAC, GatewayMAC: vnet.GatewayMAC, Addr: vnic.Addr.As4(), Gateway: vnet.Gateway.As4(), MTU: uint16(vnic.MTU)}},
	}
	g.run(t, s)
	w.Close()
	g.await(t, r)
	return g
}

// run starts the guest in the way that its kind wants.
func (g *guest) run(t *testing.T, s *tender.Spec) {
	var td tender.Tender
	switch g.kind {
	case "process":
		p, err := process.New()
		if err != nil {
			t.Skip(err)
		}
		td = p
	default:
		path, err := exec.LookPath(qemu.Name)
		if err != nil {
			t.Skipf("needs %s", qemu.Name)
		}
		if g.kind == "q35" {
			runQ35(t, path, s)
			return
		}
		td = &qemu.Tender{Binary: path, Accel: qemu.TCG}
	}
	i, err := td.Start(t.Context(), s)
	check(t, err)
	g.instance = i
	t.Cleanup(func() { i.Kill() })
}

// runQ35 boots on a machine with PCI devices, which no tender of ours does.
func runQ35(t *testing.T, binary string, s *tender.Spec) {
	s.Boot.Seed[0] = 1
	s.Boot.WallClock = time.Now().UnixNano()
	s.Boot.Env = append(s.Boot.Env, "GOMEMLIMIT=150MiB")
	img, err := io.ReadAll(s.Image)
	check(t, err)
	s.Boot.ImageSize = uint64(len(img))
	record := boot.Encode(&s.Boot)
	record = append(record, make([]byte, -len(record)&4095)...)
	module, err := os.Create(filepath.Join(t.TempDir(), "module"))
	check(t, err)
	defer module.Close()
	_, err = module.Write(append(record, img...))
	check(t, err)
	a := s.Boot.NIC.MAC
	cmd := exec.Command(binary, "-M", "q35,accel=tcg", "-cpu", "max", "-smp", "2", "-m", "256", "-kernel", s.Program.Name(), "-initrd", module.Name(),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
		"-device", "virtio-serial-pci,id=s,max_ports=4,disable-legacy=on", "-chardev", "null,id=no", "-device", "virtserialport,chardev=no,nr=1,bus=s.0",
		"-chardev", "stdio,id=out", "-device", "virtserialport,chardev=out,nr=2,bus=s.0",
		"-chardev", "null,id=err", "-device", "virtserialport,chardev=err,nr=3,bus=s.0",
		"-netdev", "tap,id=n0,fd=3,vhost=off", "-device",
		fmt.Sprintf("virtio-net-pci,netdev=n0,disable-legacy=on,mac=%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3], a[4], a[5]))
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = s.Stdout, s.Stdout, []*os.File{s.Tap}
	check(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
}

// await waits for the program's "ready" and collects what it says after.
func (g *guest) await(t *testing.T, r *os.File) {
	r.SetReadDeadline(time.Now().Add(60 * time.Second))
	lines := bufio.NewReader(r)
	line, err := lines.ReadString('\n')
	if line != "ready\n" {
		rest, _ := io.ReadAll(lines)
		t.Fatalf("the guest says %q, %v\n%s", line, err, rest)
	}
	r.SetReadDeadline(time.Time{})
	go func() {
		defer close(g.stopped)
		defer r.Close()
		io.Copy(g.said, lines)
	}()
}

func (g *guest) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	return g.network.DialTCP(ctx, to)
}

// url is one of the guest's.
func url(path string) string { return "http://" + netip.AddrPortFrom(vnic.Addr, 8080).String() + path }

// get fetches one of the guest's URLs.
func (g *guest) get(t *testing.T, path string) string {
	t.Helper()
	resp, err := g.client.Get(url(path))
	check(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	check(t, err)
	if resp.StatusCode != 200 {
		t.Fatalf("%s: %s\n%s", path, resp.Status, b)
	}
	return string(b)
}

// ask makes the guest a client.
func (g *guest) ask(t *testing.T, what, addr string) string {
	t.Helper()
	return strings.TrimSpace(g.get(t, "/ask?what="+what+"&addr="+addr))
}

const fileSize = 3 << 20

// droplet is an image with one large file.
func droplet(t *testing.T) *os.File {
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	check(t, err)
	t.Cleanup(func() { f.Close() })
	check(t, image.Write(f, []image.Source{
		{Path: "tmp", Mode: image.ModeDir | 0o1777},
		{Path: "file", Mode: image.ModeRegular | 0o644, Size: fileSize,
			Open: func() (io.ReadCloser, error) { return io.NopCloser(&pattern{n: fileSize}), nil }},
	}))
	_, err = f.Seek(0, io.SeekStart)
	check(t, err)
	return f
}

// pattern is what the program's long answers consist of.
type pattern struct{ i, n int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.i == p.n {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), p.n-p.i))
	for k := range b[:n] {
		v := p.i + int64(k)
		b[k] = byte(v ^ v>>8 ^ v>>16)
	}
	p.i += int64(n)
	return n, nil
}

// same tells whether r is the whole of a pattern.
func same(r io.Reader, n int64) error {
	want, got := make([]byte, 32<<10), make([]byte, 32<<10)
	p := &pattern{n: n}
	for {
		k, err := io.ReadFull(r, got)
		io.ReadFull(p, want[:k])
		switch {
		case !bytes.Equal(got[:k], want[:k]):
			return fmt.Errorf("other bytes before byte %d", p.i)
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			if p.i != n {
				return fmt.Errorf("%d bytes of %d", p.i, n)
			}
			return nil
		case err != nil:
			return err
		}
	}
}
