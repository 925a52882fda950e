package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/process"
	"github.com/dewpaas/dew/tender/qemu"
	"github.com/dewpaas/dew/vnet"
)

func main() {
	kind := flag.String("tender", "process", "process or qemu")
	tap := flag.String("tap", "", "persistent tap in this network namespace")
	addr := flag.String("addr", "10.77.9.2", "the guest's address; the gateway is one below")
	mac := flag.String("mac", "02:de:77:01:00:09", "the guest's MAC")
	memory := flag.Uint64("m", 256, "memory in MiB")
	cpus := flag.Uint64("cpus", 0, "GOMAXPROCS; all CPUs of the host when 0")
	store := flag.String("store", filepath.Join(os.TempDir(), "dew-bench"), "where droplets are unpacked, once")
	starts := flag.Int("starts", 0, "compare so many starts with those of -native, and end")
	program := flag.String("native", "", "the same program as an ordinary ELF, started in turn")
	space := flag.String("netns", "anc-native", "network namespace of -native")
	nativeAddr := flag.String("native-addr", "10.77.1.2", "address of -native; both listen on port 8080")
	flag.Parse()
	if flag.NArg() == 0 {
		log.Fatal("want: droplet -tap TAP [flags] DROPLET [args]")
	}
	d, err := unpacked(*store, flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	spec, err := newSpec(d, flag.Args()[1:])
	if err == nil && *tap != "" {
		err = wire(spec, *tap, *addr, *mac)
	}
	if err != nil {
		log.Fatal(err)
	}
	spec.Limits.Memory = *memory << 20
	spec.Boot.CPUs = *cpus
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *starts > 0 {
		if err := compare(ctx, *kind, spec, *starts, native{*program, *space, *nativeAddr}); err != nil {
			log.Fatal(err)
		}
		return
	}
	e, err := run(ctx, *kind, spec)
	if err != nil {
		log.Fatal(err)
	}
	if e.Code() != 0 {
		log.Print(e)
	}
	os.Exit(e.Code())
}

// unpacked is a droplet as a cell has it: verified when it was first seen.
func unpacked(dir, path string) (*droplet.Droplet, error) {
	store, err := droplet.OpenStore(dir)
	if err != nil {
		return nil, err
	}
	d, err := droplet.Open(path)
	if err != nil {
		return nil, err
	}
	if have, err := store.Open(d.Digest()); err == nil {
		return have, nil
	}
	return store.Import(d)
}

func newSpec(d *droplet.Droplet, args []string) (*tender.Spec, error) {
	m := d.Manifest()
	start, err := m.Start(m.Processes["web"], os.Environ())
	if err != nil {
		return nil, err
	}
	s := &tender.Spec{Name: fmt.Sprintf("bench-%d", os.Getpid()), Stdout: os.Stdout, Stderr: os.Stderr, DieWithCaller: true,
		Boot: boot.Config{Args: append(start.Args, args...), Env: start.Env, Hostname: "bench", Workdir: m.Workdir, OverlayQuota: 64 << 20}}
	if s.Program, err = d.Program(start.Program.Name); err != nil {
		return nil, err
	}
	s.Image, err = d.Image()
	return s, err
}

func wire(s *tender.Spec, tap, addr, mac string) (err error) {
	if s.Boot.NIC, err = card(tap, addr, mac); err != nil {
		return err
	}
	s.Tap, err = vnet.Attach(tap)
	return err
}

func card(tap, addr, mac string) (n boot.NIC, err error) {
	guest, err := netip.ParseAddr(addr)
	if err != nil {
		return n, err
	}
	own, err := net.ParseMAC(mac)
	if err != nil {
		return n, err
	}
	link, err := net.InterfaceByName(tap)
	if err != nil {
		return n, err
	}
	n = boot.NIC{Addr: guest.As4(), Gateway: guest.Prev().As4(), MTU: uint16(link.MTU)}
	copy(n.MAC[:], own)
	copy(n.GatewayMAC[:], link.HardwareAddr)
	return n, nil
}

func run(ctx context.Context, kind string, s *tender.Spec) (tender.Exit, error) {
	t, err := tenderOf(ctx, kind)
	if err != nil {
		return tender.Exit{}, err
	}
	i, err := t.Start(ctx, s)
	if err != nil {
		return tender.Exit{}, err
	}
	if s.Tap != nil {
		s.Tap.Close() // the guest has its own; see tender.Tender
	}
	e, err := i.Wait(ctx)
	if ctx.Err() != nil {
		i.Kill()
		e, err = i.Wait(context.Background())
	}
	return e, err
}

func tenderOf(ctx context.Context, kind string) (tender.Tender, error) {
	if kind == "process" {
		return process.New()
	}
	jail := filepath.Join(os.TempDir(), "dew-bench-jail") // stays: it is empty
	if err := os.MkdirAll(jail, 0o755); err != nil {
		return nil, err
	}
	return qemu.Find(ctx, jail)
}
