package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

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
	c := staging.Config{Store: f.ledger, Logs: f.logs, API: f.facts.URL, Holder: f.holder(), Log: f.log, Warm: true}
	droplets, err := droplet.OpenStore(filepath.Join(f.data, "droplets"))
	if err != nil {
		return err
	}
	c.Droplets = droplets
	if f.plane != nil {
		c.Packages = f.plane.blobs
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
