package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	landlord "github.com/dewpaas/dew/cell"
	"github.com/dewpaas/dew/cell/window"
	"github.com/dewpaas/dew/cmd/dew/depot"
	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/tender/keeper"
	"github.com/dewpaas/dew/vnet/resolver"
)

// idFile is where the name of this machine's cell is kept.
const idFile = "id"

// cellID is the name of this machine's cell, made once. wanted is one that it
// must have, unless that is "".
func cellID(folder, wanted string) (string, error) {
	name := filepath.Join(folder, idFile)
	b, err := os.ReadFile(name)
	if err == nil {
		id := strings.TrimSpace(string(b))
		if wanted != "" && id != wanted {
			return "", withHint(fmt.Errorf("this folder is of cell %s, and the identity of cell %s", id, wanted), "give each cell a --data folder of its own")
		}
		return id, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	id := wanted
	if id == "" {
		var random [4]byte
		rand.Read(random[:]) // never fails since Go 1.24
		id = "cell-" + hex.EncodeToString(random[:])
	}
	return id, os.WriteFile(name, []byte(id+"\n"), 0o600)
}

// openCell opens the cell of this machine.
func (f *platform) openCell(ctx context.Context) error {
	u := &f.setup.cell
	folder := filepath.Join(f.data, "cell")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	wanted := ""
	if f.identity != nil {
		wanted = f.identity.Name
	}
	id, err := cellID(folder, wanted)
	if err != nil {
		return err
	}
	config := landlord.Config{ID: id, Zone: u.Zone, DiskMB: unlimitedDisk, Tenders: u.Tender, Ledger: f.clerk, Logs: f.logs, Log: f.log, Guests: u.Guests,
		Uplink: u.Uplink, Drain: f.drain, Protected: f.fleet.protected(ctx, lookup),
		Upstreams: func() ([]netip.AddrPort, error) { return resolver.Upstreams(resolvConf) },
		Keeper: func(ctx context.Context) (*keeper.Client, error) {
			return keeper.Open(ctx, folder, func() *exec.Cmd { return keeperCommand(folder) })
		}}
	if f.clerk == nil {
		config.Ledger = &landlord.Direct{Store: f.ledger, ID: id, Alone: f.entrance == nil}
	}
	if f.entrance != nil {
		config.Host = f.private.advertised(f.entrance)
	}
	store, err := droplet.OpenStore(filepath.Join(f.data, "droplets"))
	if err != nil {
		return err
	}
	config.Droplets = store
	if f.peers != nil && !f.roles.api {
		config.Droplets = &depot.Rack{Peers: f.peers, Store: store}
	}
	f.warnOfOverlap()
	memory := uint64(u.Memory)
	if memory == 0 {
		if memory, err = mostOfTheMemory(); err != nil {
			return err
		}
	}
	config.MemoryMB = int(memory >> 20)
	if f.cell, err = landlord.New(ctx, config); err != nil {
		return fmt.Errorf("open the cell: %w", err)
	}
	f.onClose(f.cell.Close)
	f.window, err = window.Listen(folder)
	return err
}

// warnOfOverlap tells of networks of this host that the guests' own hides from
// guests.
func (f *platform) warnOfOverlap() {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Overlaps(f.setup.cell.Guests) {
			f.log.Warn("guests cannot reach a network of this host: choose another one for them with --guests", "host", p.Masked(), "guests", f.setup.cell.Guests)
		}
	}
}

// drain returns when no router sends to an instance any more: the one in this
// process, and those that came by the gate.
func (f *platform) drain(ctx context.Context, instance string) error {
	var errs []error
	if f.feed != nil {
		errs = append(errs, f.feed.Drained(ctx, instance))
	}
	if f.gate != nil {
		errs = append(errs, f.gate.Drain(ctx, instance))
	}
	return errors.Join(errs...)
}

// resolvConf is where the host keeps whom it asks for names.
const resolvConf = "/etc/resolv.conf"

// unlimitedDisk: what guests write is kept in their memory, so memory alone
// bounds how many there can be.
const unlimitedDisk = 1 << 30

// mostOfTheMemory is three quarters of the machine's, in bytes.
func mostOfTheMemory() (uint64, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("ask for the machine's memory: %w", err)
	}
	return info.Totalram * uint64(info.Unit) / 4 * 3, nil
}

// keeperCommand starts the process that holds the guests: of a session of its
// own, so that nothing that ends the cell ends it.
func keeperCommand(folder string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", "keep", folder)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	if f, err := os.OpenFile(filepath.Join(folder, "keeper.log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600); err == nil {
		cmd.Stderr = f // ours may stay open: the process ends soon or never
	}
	return cmd
}
