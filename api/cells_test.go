package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"sync"

	"github.com/dewpaas/dew/cf"
)

// cells is a Runtime and a Stager that do at once, in the ledger, what the real
// ones do with guests: every wanted instance runs, every package stages.
type cells struct {
	store cf.Store
	mu    sync.Mutex // guards what follows
	told  []string   // apps that changed
	stops []string   // instances that were stopped
	fail  string     // what the next build fails with
	auto  bool       // deployments and tasks end by themselves
}

func (c *cells) Changed(ctx context.Context, app string) error {
	c.mu.Lock()
	c.told = append(c.told, app)
	c.mu.Unlock()
	if !c.auto {
		return nil
	}
	var deployments []*cf.Deployment
	err := c.store.Update(ctx, func(tx cf.Tx) (err error) {
		deployments, err = cf.List[cf.Deployment](tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", app), cf.Is("status_value", cf.Active)}})
		if err != nil {
			return err
		}
		tasks, err := cf.List[cf.Task](tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", app)}})
		for _, t := range tasks {
			if t.State = cf.TaskSucceeded; t.Command == "fail" {
				t.State, t.FailureReason = cf.TaskFailed, "exit status 1"
			}
			if err := tx.Save(t); err != nil {
				return err
			}
		}
		return err
	})
	for _, d := range deployments {
		if err == nil && d.Reason != "PAUSED" {
			err = c.step(ctx, d.GUID)
		}
	}
	return err
}

func (c *cells) Instances(ctx context.Context, process string) (list []cf.ActualLRP, err error) {
	err = c.store.View(ctx, func(tx cf.Tx) error {
		p, err := cf.Get[cf.Process](tx, process)
		if err != nil {
			return err
		}
		a, err := cf.Get[cf.App](tx, p.AppGUID)
		if d := p.Desired(a); d != nil {
			for i := range d.Instances {
				list = append(list, cf.ActualLRP{ProcessGUID: p.GUID, Version: p.Version, Index: i, Address: "10.255.0.2", State: "RUNNING", Routable: true, Since: p.UpdatedAt, MemoryBytes: 1 << 20})
			}
		}
		return err
	})
	return list, err
}

func (c *cells) Stop(_ context.Context, process string, index int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stops = append(c.stops, process)
	return nil
}

func (c *cells) Stage(ctx context.Context, build string) error {
	return c.store.Update(ctx, func(tx cf.Tx) error {
		b, err := cf.Get[cf.Build](tx, build)
		if err != nil {
			return err
		}
		if c.fail != "" {
			b.State, b.Error = "FAILED", c.fail
			return tx.Save(b)
		}
		p, err := cf.Get[cf.Package](tx, b.PackageGUID)
		if err != nil {
			return err
		}
		d := &cf.Droplet{AppGUID: b.AppGUID, SpaceGUID: b.SpaceGUID, PackageGUID: p.GUID, State: "STAGED", Stack: "cflinuxfs4", Checksum: p.Checksum,
			ProcessTypes: map[string]string{"web": "./app", "worker": "./app work"}}
		if err := tx.Insert(d); err != nil {
			return err
		}
		b.State, b.DropletGUID = "STAGED", d.GUID
		return tx.Save(b)
	})
}

// step does what a runtime does with a deployment: it finishes a rolling one,
// pauses a canary at its step, and takes away what was canceled.
func (c *cells) step(ctx context.Context, deployment string) error {
	return c.store.Update(ctx, func(tx cf.Tx) error {
		d, err := cf.Get[cf.Deployment](tx, deployment)
		if err != nil {
			return err
		}
		webs, err := cf.List[cf.Process](tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", d.AppGUID), cf.Is("type", "web")}})
		if err != nil {
			return err
		}
		keep := func(p *cf.Process) bool { return p.GUID == d.ProcessGUID }
		switch {
		case d.Reason == "CANCELING":
			d.Status, d.Reason = cf.Finalized, "CANCELED"
			keep = func(p *cf.Process) bool { return p.GUID != d.ProcessGUID }
		case d.Pausing:
			d.Reason = "PAUSED"
			return tx.Save(d)
		default:
			d.Status, d.Reason = cf.Finalized, "DEPLOYED"
		}
		for _, p := range webs {
			if !keep(p) {
				err = tx.Delete(p)
			}
			if err != nil {
				return err
			}
		}
		for _, p := range webs {
			if keep(p) {
				p.DeploymentGUID, p.Instances = "", d.Target
				if err := tx.Save(p); err != nil {
					return err
				}
			}
		}
		return tx.Save(d)
	})
}

// bytesOfDroplets keeps whatever it is given.
type bytesOfDroplets struct {
	mu   sync.Mutex
	kept map[string][]byte
}

func (d *bytesOfDroplets) Import(r io.Reader) (string, map[string]string, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return "", nil, err
	}
	if !bytes.HasPrefix(b, []byte("droplet")) {
		return "", nil, errors.New("this is no droplet")
	}
	sum := sha256.Sum256(b)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kept[hex.EncodeToString(sum[:])] = b
	return hex.EncodeToString(sum[:]), map[string]string{"web": "./uploaded"}, nil
}

func (d *bytesOfDroplets) Export(w io.Writer, sum string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok := d.kept[sum]
	if !ok {
		b = []byte("droplet " + sum) // one that the pretended stager made
	}
	_, err := w.Write(b)
	return err
}
