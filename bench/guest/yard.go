package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/stager/goroot"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/process"
	"github.com/dewpaas/dew/vnet"
)

// yard is where both sides run: the network of the guest, which is also the
// client's, and a namespace for the process.
type yard struct {
	network       *vnet.Network
	client        netns.NsHandle
	native, guest *side
	closes        []func()
}

func (y *yard) close() {
	for i := len(y.closes) - 1; i >= 0; i-- {
		y.closes[i]()
	}
}

func newYard(ctx context.Context, o options) (_ *yard, err error) {
	y := &yard{}
	defer func() {
		if err != nil {
			y.close()
		}
	}()
	dir := o.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "bench-guest-"); err != nil {
			return nil, err
		}
		y.closes = append(y.closes, func() { os.RemoveAll(dir) })
	}
	plain, droplet, err := build(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	join, undo := first()
	y.closes = append(y.closes, undo)
	if y.network, err = vnet.New(); err != nil {
		return nil, err
	}
	y.closes = append(y.closes, func() { y.network.Close() })
	if y.client, err = y.network.Space(); err != nil {
		return nil, err
	}
	if err := y.startNative(ctx, plain, o); err != nil {
		return nil, fmt.Errorf("start the process: %w", err)
	}
	if err := join(y.native.pid); err != nil {
		return nil, err
	}
	if err := y.startGuest(ctx, droplet, o); err != nil {
		return nil, fmt.Errorf("start the guest: %w", err)
	}
	return y, nil
}

// build links the program both ways.
func build(ctx context.Context, dir string, o options) (plain, droplet string, err error) {
	root, err := goroot.Open(ctx, filepath.Join(os.TempDir(), "bench-guest-goroot"))
	if err != nil {
		return "", "", err
	}
	installed, err := goroot.Find(ctx)
	if err != nil {
		return "", "", err
	}
	plain, droplet = filepath.Join(dir, "plain"), filepath.Join(dir, "droplet")
	for _, b := range []struct {
		out, command string
		env          []string
	}{
		{plain, filepath.Join(installed.Dir, "bin/go"), []string{"CGO_ENABLED=0"}},
		{droplet, root.Go(), root.Env()},
	} {
		cmd := exec.CommandContext(ctx, b.command, "build", "-trimpath", "-ldflags="+o.linker, "-o", b.out, "./bench/guest/app")
		cmd.Env = append(os.Environ(), b.env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", "", fmt.Errorf("build: %w\n%s", err, out)
		}
		info, err := os.Stat(b.out)
		if err != nil {
			return "", "", err
		}
		fmt.Printf("%-8s %.2f MB\n", filepath.Base(b.out), float64(info.Size())/1e6)
	}
	return plain, droplet, nil
}

// inside runs f on a thread in a network namespace; children started by f are
// in it too.
func inside(ns netns.NsHandle, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its goroutine
		if err := netns.Set(ns); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

var (
	clientIP = &net.IPNet{IP: net.IPv4(10, 77, 1, 1), Mask: net.CIDRMask(30, 32)}
	nativeIP = &net.IPNet{IP: net.IPv4(10, 77, 1, 2), Mask: net.CIDRMask(30, 32)}
	guestIP  = netip.MustParseAddr("10.7.0.2")
)

// startNative runs the program in a namespace at the other end of a veth pair.
func (y *yard) startNative(ctx context.Context, program string, o options) error {
	var space netns.NsHandle
	err := inside(y.client, func() (err error) {
		if space, err = netns.New(); err != nil {
			return err
		}
		return netns.Set(y.client)
	})
	if err != nil {
		return err
	}
	y.closes = append(y.closes, func() { space.Close() })
	h, err := netlink.NewHandleAt(y.client)
	if err != nil {
		return err
	}
	defer h.Close()
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "bench0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(space))}
	if err := h.LinkAdd(pair); err != nil {
		return err
	}
	p, err := netlink.NewHandleAt(space)
	if err != nil {
		return err
	}
	defer p.Close()
	for _, end := range []struct {
		h    *netlink.Handle
		name string
		ip   *net.IPNet
	}{{h, "bench0", clientIP}, {p, "eth0", nativeIP}, {p, "lo", nil}} {
		link, err := end.h.LinkByName(end.name)
		if err != nil {
			return err
		}
		if end.ip != nil {
			err = end.h.AddrAdd(link, &netlink.Addr{IPNet: end.ip})
		}
		if err := errors.Join(err, end.h.LinkSetUp(link)); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(environment(o), fmt.Sprintf("GOMAXPROCS=%d", o.cpus))
	cmd.Stderr = os.Stderr
	if err := inside(space, cmd.Start); err != nil {
		return err
	}
	y.closes = append(y.closes, func() { cmd.Process.Kill(); cmd.Wait() })
	y.native = &side{name: "native", pid: cmd.Process.Pid, url: "http://10.77.1.2:8080", client: y.client}
	return nil
}

func environment(o options) []string {
	if o.extraEnv == "" {
		return nil
	}
	return []string{o.extraEnv}
}

// startGuest runs the droplet as a sealed process behind a tap.
func (y *yard) startGuest(ctx context.Context, droplet string, o options) error {
	mac := [6]byte{2, 0xde, 0x77, 1, 0, 2}
	tap, err := y.network.AddTap(vnet.VNIC{Name: "bench1", Addr: guestIP, MAC: mac, MTU: vnet.DefaultMTU})
	if err != nil {
		return err
	}
	defer tap.Close()
	program, err := os.Open(droplet)
	if err != nil {
		return err
	}
	defer program.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	go func() {
		b := make([]byte, 4096)
		for n, err := r.Read(b); err == nil; n, err = r.Read(b) {
			os.Stderr.Write(b[:n])
		}
		r.Close()
	}()
	td, err := process.New()
	if err != nil {
		return err
	}
	i, err := td.Start(ctx, &tender.Spec{Name: fmt.Sprintf("bench-%d", os.Getpid()), Program: program, Tap: tap, Stdout: w,
		Boot: boot.Config{Args: []string{"/app"}, Env: environment(o), CPUs: uint64(o.cpus), NIC: boot.NIC{MAC: mac, GatewayMAC: vnet.GatewayMAC,
			Addr: guestIP.As4(), Gateway: vnet.Gateway.As4(), MTU: vnet.DefaultMTU}}})
	if err != nil {
		return err
	}
	y.closes = append(y.closes, func() {
		i.Kill()
		ended, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if e, err := i.Wait(ended); err != nil || !strings.Contains(e.String(), "killed") {
			fmt.Fprintln(os.Stderr, "guest: the guest", e, err)
		}
	})
	y.guest = &side{name: "guest", pid: i.PID(), url: "http://10.7.0.2:8080", client: y.client}
	return nil
}
