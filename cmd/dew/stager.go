package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/stager"
	"github.com/dewpaas/dew/stager/staging"
)

// openStager makes the platform's stager below the data folder: caches in
// "stager", droplets in "droplets". A platform builds what strangers push, so
// it does not build without a sandbox.
func openStager(ctx context.Context, data string, c staging.Config) (*staging.Stager, error) {
	env, err := goSettings(ctx)
	if err != nil {
		return nil, err
	}
	settings := stager.Config{Cache: filepath.Join(data, "stager"), Proxy: env.GOPROXY, SumDB: env.GOSUMDB, NoSumDB: env.GONOSUMDB}
	if base, err := os.UserCacheDir(); err == nil { // a service may have none
		settings.Common = filepath.Join(base, "dew")
	}
	c.Builder, err = stager.New(ctx, settings)
	if err != nil {
		return nil, err
	}
	if c.Droplets, err = droplet.OpenStore(filepath.Join(data, "droplets")); err != nil {
		return nil, err
	}
	return staging.New(c), nil
}
