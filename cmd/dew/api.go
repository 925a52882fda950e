package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/dewpaas/dew/api/egress"
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
	k, err := openPlane(ctx, plane{data: a.Data, url: a.URL, domain: a.Domain, log: slog.New(slog.NewTextHandler(c.err, nil))}, nil)
	if err != nil {
		return nil, nil, err
	}
	if err := k.serve(ctx, c, nil, egress.Guard{}); err != nil {
		return nil, nil, errors.Join(err, k.close())
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.run(running)
	}()
	return k.handler(), func() {
		stop()
		<-ended
		k.close()
	}, nil
}
