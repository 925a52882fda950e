package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/dewpaas/dew/api"
	"github.com/dewpaas/dew/api/blob"
	"github.com/dewpaas/dew/api/egress"
	"github.com/dewpaas/dew/api/logcache"
	"github.com/dewpaas/dew/api/uaa"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/client"
	"github.com/dewpaas/dew/stager/goroot"
	"github.com/dewpaas/dew/stager/staging"
	"github.com/dewpaas/dew/store"
	"github.com/dewpaas/dew/store/sqlite"
)

// plane is the control plane of one process: ledger, blobs, logs, stager and
// API, all below one data folder.
type plane struct {
	data, url, domain string
	log               *slog.Logger

	ledger cf.Store // tells of changes
	blobs  *blob.Store
	logs   *logcache.Cache
	login  *uaa.Server
	stager *staging.Stager // nil: no Go here
	api    *api.Server

	closes []func() error
}

// logBytes bounds the log lines of all apps on disk.
const logBytes = 512 << 20

// openPlane opens all but the API. changed is told what transactions wrote;
// it may be nil.
func openPlane(ctx context.Context, k plane, changed func(store.Changes)) (_ *plane, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, k.close())
		}
	}()
	if err := os.MkdirAll(k.data, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	key, err := uaa.Key(filepath.Join(k.data, "token-key.pem"))
	if err != nil {
		return nil, err
	}
	if k.blobs, err = blob.Open(filepath.Join(k.data, "blobs")); err != nil {
		return nil, err
	}
	db, err := sqlite.Open(ctx, filepath.Join(k.data, "ledger.db"))
	if err != nil {
		return nil, err
	}
	k.closes = append(k.closes, db.Close)
	k.ledger = db
	if changed != nil {
		k.ledger = store.Watch(db, changed)
	}
	k.logs = logcache.New(logcache.DefaultBounds())
	k.closes = append(k.closes, func() error { k.logs.Close(); return nil }) // what it cannot keep it has said already
	if err := k.logs.Keep(filepath.Join(k.data, "logs"), logBytes, k.log); err != nil {
		return nil, err
	}
	k.login = uaa.New(k.ledger, key, k.url)
	k.stager, err = openStager(ctx, k.data, staging.Config{Store: k.ledger, Packages: k.blobs, Logs: k.logs, API: k.url, Holder: "up", Log: k.log, Warm: true})
	if errors.Is(err, goroot.ErrNoGo) || errors.Is(err, goroot.ErrVersion) {
		k.log.Warn("packages cannot be staged", "err", err)
		k.stager, err = nil, nil
	}
	return &k, err
}

// serve makes the API. runtime may be nil: then nothing can be started.
func (k *plane) serve(ctx context.Context, c *console, runtime api.Runtime, guard egress.Guard) error {
	config := api.Config{Store: k.ledger, UAA: k.login, Blobs: k.blobs, Logs: k.logs, URL: k.url, Domain: k.domain, Log: k.log, Runtime: runtime, Egress: guard}
	if k.stager != nil {
		config.Stager, config.Droplets = k.stager, k.stager
	}
	var err error
	if k.api, err = api.New(ctx, config); err != nil {
		return err
	}
	if err := k.admin(ctx, c); err != nil {
		return err
	}
	return client.Publish(k.data, k.url)
}

// handler answers requests to the API.
func (k *plane) handler() http.Handler { return k.api.Handler() }

// run does what no request waits for, until ctx ends.
func (k *plane) run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { k.api.Run(ctx) })
	if k.stager != nil {
		both.Go(func() {
			if err := k.stager.Run(ctx); err != nil && ctx.Err() == nil {
				k.log.Error("the stager ended", "err", err)
			}
		})
	}
	both.Wait()
}

func (k *plane) close() error {
	var errs []error
	for i := len(k.closes) - 1; i >= 0; i-- {
		errs = append(errs, k.closes[i]())
	}
	k.closes = nil
	return errors.Join(errs...)
}

// admin makes the first user. The password is on disk before the account is, so
// a crash between the two leaves no account without a password.
func (k *plane) admin(ctx context.Context, c *console) error {
	file := filepath.Join(k.data, client.PasswordFile)
	var password string
	made, err := k.login.EnsureAdmin(ctx, func() (string, error) {
		password = rand.Text()
		return password, uaa.WriteSecret(file, []byte(password+"\n"))
	})
	if err == nil && made {
		fmt.Fprintf(c.out, "user: admin\npassword: %s (shown once; kept in %s)\n", password, file)
	}
	return err
}
