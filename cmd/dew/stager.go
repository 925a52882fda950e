package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/depot"
	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/stager"
	"github.com/dewpaas/dew/stager/goroot"
	"github.com/dewpaas/dew/stager/staging"
)

// openStager makes the platform's stager below the data folder: caches in
// "stager", droplets in "droplets". A platform builds what strangers push, so
// it does not build without a sandbox.
func (f *platform) openStager(ctx context.Context) error {
	c := staging.Config{Ledger: f.clerk, Logs: f.logs, Holder: f.holder(), Log: f.log, Warm: true}
	if f.clerk == nil {
		c.Ledger = &staging.Direct{Store: f.ledger, Holder: f.holder(), API: f.facts.URL}
	}
	droplets, err := droplet.OpenStore(filepath.Join(f.data, "droplets"))
	if err != nil {
		return err
	}
	c.Droplets = droplets
	if f.plane != nil {
		c.Packages, c.Named = f.plane.blobs, f.named
	} else {
		shelf, err := depot.OpenShelf(f.data, f.peers)
		if err != nil {
			return err
		}
		c.Packages, c.Keep = shelf, f.peers.Keep
	}
	c.Builder, err = platformBuilder(ctx, f.data)
	alone := f.roles == roles{stager: true}
	if !alone && (errors.Is(err, goroot.ErrNoGo) || errors.Is(err, goroot.ErrVersion)) {
		f.log.Warn("packages cannot be staged", "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	f.stager = staging.New(c)
	return nil
}

// named are the droplets that stay.
func (f *platform) named(ctx context.Context) (named map[string]bool, err error) {
	err = f.ledger.View(ctx, func(tx cf.Tx) (err error) { named, err = staging.Named(tx); return err })
	return named, err
}

func platformBuilder(ctx context.Context, data string) (*stager.Builder, error) {
	env, err := goSettings(ctx)
	if err != nil {
		return nil, err
	}
	settings := stager.Config{Cache: filepath.Join(data, "stager"), Proxy: env.GOPROXY, SumDB: env.GOSUMDB, NoSumDB: env.GONOSUMDB}
	if base, err := os.UserCacheDir(); err == nil { // a service may have none
		settings.Common = filepath.Join(base, "dew")
	}
	return stager.New(ctx, settings)
}
