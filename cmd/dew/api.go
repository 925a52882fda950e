package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dewpaas/dew/api"
	"github.com/dewpaas/dew/api/blob"
	"github.com/dewpaas/dew/api/logcache"
	"github.com/dewpaas/dew/api/uaa"
	"github.com/dewpaas/dew/cmd/dew/client"
	"github.com/dewpaas/dew/stager/goroot"
	"github.com/dewpaas/dew/stager/staging"
	"github.com/dewpaas/dew/store/sqlite"
)

// apiCmd serves the Cloud Controller API and stages packages: no cell.
type apiCmd struct {
	Data   string `required:"" type:"path" help:"Folder for the ledger, keys and uploads. Made when it is missing."`
	Listen string `default:"127.0.0.1:8080" help:"Address to listen on."`
	URL    string `help:"How clients reach the API; http://LISTEN unless given."`
	Domain string `default:"apps.localhost" help:"Shared domain made at the first start."`
}

func (a apiCmd) Run(ctx context.Context, c *console) error {
	listener, err := net.Listen("tcp", a.Listen)
	if err != nil {
		return withHint(fmt.Errorf("listen: %w", err), "choose another address with --listen")
	}
	defer listener.Close() // the server closes it first
	if a.URL == "" {
		a.URL = "http://" + listener.Addr().String()
	}
	handler, closeAll, err := a.open(ctx, c)
	if err != nil {
		return err
	}
	defer closeAll()
	if err := client.Publish(a.Data, a.URL); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "api: %s\n", a.URL)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	drained := make(chan struct{})
	done := context.AfterFunc(ctx, func() {
		defer close(drained)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		server.Shutdown(grace) // what is left after the grace is cut off
	})
	defer done()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	<-drained // only Shutdown ends Serve this way; the ledger stays open until then
	return nil
}

func (a apiCmd) open(ctx context.Context, c *console) (http.Handler, func(), error) {
	if err := os.MkdirAll(a.Data, 0o700); err != nil {
		return nil, nil, fmt.Errorf("make the data folder: %w", err)
	}
	key, err := uaa.Key(filepath.Join(a.Data, "token-key.pem"))
	if err != nil {
		return nil, nil, err
	}
	blobs, err := blob.Open(filepath.Join(a.Data, "blobs"))
	if err != nil {
		return nil, nil, err
	}
	ledger, err := sqlite.Open(ctx, filepath.Join(a.Data, "ledger.db"))
	if err != nil {
		return nil, nil, err
	}
	log := slog.New(slog.NewTextHandler(c.err, nil))
	logs := logcache.New(logcache.DefaultBounds())
	if err := logs.Keep(filepath.Join(a.Data, "logs"), logBytes, log); err != nil {
		return nil, nil, errors.Join(err, ledger.Close())
	}
	login := uaa.New(ledger, key, a.URL)
	config := api.Config{Store: ledger, UAA: login, Blobs: blobs, Logs: logs, URL: a.URL, Domain: a.Domain, Log: log}
	stager, err := openStager(ctx, a.Data, staging.Config{Store: ledger, Packages: blobs, Logs: logs, API: a.URL, Log: log})
	switch {
	case err == nil:
		config.Stager, config.Droplets = stager, stager
	case errors.Is(err, goroot.ErrNoGo), errors.Is(err, goroot.ErrVersion):
		log.Warn("packages cannot be staged", "err", err)
	default:
		return nil, nil, errors.Join(err, logs.Close(), ledger.Close())
	}
	server, err := api.New(ctx, config)
	if err == nil {
		err = a.admin(ctx, c, login)
	}
	if err != nil {
		return nil, nil, errors.Join(err, logs.Close(), ledger.Close())
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var both sync.WaitGroup
		both.Go(func() { server.Run(running) })
		if stager != nil {
			both.Go(func() { stager.Run(running) })
		}
		both.Wait()
	}()
	return server.Handler(), func() {
		stop()
		<-ended
		logs.Close() // what it cannot keep it has said already
		ledger.Close()
	}, nil
}

// logBytes bounds the log lines of all apps on disk.
const logBytes = 512 << 20

// admin makes the first user. The password is on disk before the account is, so
// a crash between the two leaves no account without a password.
func (a apiCmd) admin(ctx context.Context, c *console, login *uaa.Server) error {
	var password string
	made, err := login.EnsureAdmin(ctx, func() (string, error) {
		password = rand.Text()
		return password, uaa.WriteSecret(filepath.Join(a.Data, "admin-password"), []byte(password+"\n"))
	})
	if err == nil && made {
		fmt.Fprintf(c.out, "user: admin\npassword: %s (shown once; kept in %s)\n", password, filepath.Join(a.Data, "admin-password"))
	}
	return err
}
