package cell

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/vnet"
)

// errUnwanted is no failure: the instance was asked to end while it waited.
var errUnwanted = errors.New("it was stopped before it was started")

// create makes the guest of a placement.
func (i *instance) create(ctx context.Context) error {
	p := &i.label.Placement
	select {
	case i.c.starts <- struct{}{}:
		defer func() { <-i.c.starts }()
	case <-i.stop:
		return errUnwanted
	case <-ctx.Done():
		return ctx.Err()
	}
	i.tell(false, "Cell %s creating container for instance %s", i.c.cfg.ID, p.GUID)
	if p.Launch == nil {
		return errors.New("the placement says nothing about what to start")
	}
	addr, err := i.c.pool.give()
	if err != nil {
		return err
	}
	i.label.Addr, i.label.MTU, i.label.Started = addr, i.c.card(addr).MTU, time.Now()
	i.step("cell")
	if err := i.boot(ctx); err != nil {
		i.c.wiring.dismiss(p.GUID)
		i.c.pool.free(addr)
		return err
	}
	i.tell(false, "Cell %s successfully created container for instance %s", i.c.cfg.ID, p.GUID)
	i.report(cf.Report{State: cf.InstanceStarting})
	return nil
}

// boot opens all that the guest gets and starts it.
func (i *instance) boot(ctx context.Context) error {
	p, l := &i.label.Placement, i.label.Placement.Launch
	i.label.Tender = cmp.Or(l.Tender, i.c.cfg.Tenders[0])
	if !slices.Contains(i.c.cfg.Tenders, i.label.Tender) {
		return fmt.Errorf("this cell has no tender of kind %q, only %s", l.Tender, strings.Join(i.c.cfg.Tenders, " and "))
	}
	d, err := i.c.cfg.Droplets.Open(l.DropletSHA256)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the droplet %s is not on this cell: stage the app again", l.DropletSHA256)
	}
	if err != nil {
		return err
	}
	defer d.Close()
	i.label.Droplet = d.Size()
	env := i.environment(d.Manifest().Workdir)
	start, err := d.Manifest().Start(l.Command, env)
	if err != nil {
		return err
	}
	spec := &tender.Spec{Name: i.c.prefix + p.GUID, Boot: i.config(d, start, env), Limits: tender.Limits{Memory: uint64(p.MemoryMB) << 20, Shares: p.MemoryMB}}
	var files opened
	defer files.close()
	spec.Program = files.add(d.Program(start.Program.Name))
	spec.Image = files.add(d.Image())
	i.step("droplet")
	card := i.label.card()
	spec.Tap = files.add(i.c.network.AddTap(card, func() error { return i.c.wiring.admit(ctx, i.label) }))
	if files.err != nil {
		return files.err
	}
	i.step("network")
	kept := i.label
	kept.Boot = i.steps
	launch := *l
	launch.Env = nil // secrets stay out of what is only for remembering
	kept.Placement.Launch = &launch
	text, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	return i.startWith(ctx, spec, text)
}

// startWith starts the guest with the keeper, or with another one when that one
// is lost.
func (i *instance) startWith(ctx context.Context, spec *tender.Spec, label []byte) error {
	k, err := i.c.keeper(ctx, nil)
	for try := 0; err == nil; try++ {
		var lost *net.OpError
		i.guest, err = k.Start(ctx, i.label.Tender, spec, label)
		if err == nil {
			i.step("tender")
		}
		if err == nil || try > 0 || !errors.As(err, &lost) {
			return err
		}
		k, err = i.c.keeper(ctx, k)
	}
	return err
}

// opened is files that are closed together, and the first failure to open one.
type opened struct {
	files []*os.File
	err   error
}

func (o *opened) add(f *os.File, err error) *os.File {
	if o.err == nil {
		o.err = err
	}
	if f != nil {
		o.files = append(o.files, f)
	}
	return f
}

func (o *opened) close() {
	for _, f := range o.files {
		f.Close()
	}
}

// environment is what the program finds, sorted. What a shell of Cloud Foundry
// would have set comes first, so that the app's own wins.
func (i *instance) environment(home string) []string {
	p := &i.label.Placement
	address := i.label.Addr.String()
	env := map[string]string{"HOME": home, "PWD": home, "TMPDIR": "/tmp", "USER": "vcap", "PATH": "/usr/local/bin:/usr/bin:/bin"}
	maps.Copy(env, p.Launch.InstanceEnv(cf.Instance{Index: p.Index, GUID: p.GUID, Host: address, HostPort: cf.AppPort, Address: address, Port: cf.AppPort}))
	if p.TaskGUID != "" {
		for _, name := range []string{"PORT", "VCAP_APP_PORT", "CF_INSTANCE_INDEX", "INSTANCE_INDEX"} {
			delete(env, name)
		}
	}
	list := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, k+"="+env[k])
	}
	return list
}

// overlayShare is the part of its memory that a guest's files may take.
const overlayShare = 4

// config is the boot record of the guest.
func (i *instance) config(d *droplet.Droplet, start *droplet.Start, env []string) boot.Config {
	p, card := &i.label.Placement, i.label.card()
	return boot.Config{
		Args: start.Args, Env: append(env, start.Env...), Hostname: p.GUID, Workdir: d.Manifest().Workdir,
		OverlayQuota: min(uint64(p.DiskMB)<<20, uint64(p.MemoryMB)<<20/overlayShare),
		NIC:          boot.NIC{MAC: card.MAC, GatewayMAC: vnet.GatewayMAC, Addr: card.Addr.As4(), Gateway: vnet.Gateway.As4(), MTU: uint16(card.MTU)},
	}
}
