package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

func main() {
	if err := serve(); err != nil {
		log.Fatal(err)
	}
}

func serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	for _, name := range []string{"ADMIN_URL", "BROKER_USER", "BROKER_PASSWORD"} {
		if os.Getenv(name) == "" {
			return fmt.Errorf("%s is not set: see doc.go", name)
		}
	}
	config, err := pgxpool.ParseConfig(os.Getenv("ADMIN_URL"))
	if err != nil {
		return fmt.Errorf("ADMIN_URL: %w", err)
	}
	config.MaxConns = 4
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer pool.Close()
	to := config.ConnConfig
	b := &broker{databases: &databases{pool: pool, public: cmp.Or(os.Getenv("PUBLIC_HOST"), fmt.Sprintf("%s:%d", to.Host, to.Port))},
		user: os.Getenv("BROKER_USER"), password: os.Getenv("BROKER_PASSWORD")}
	server := &http.Server{Addr: ":" + cmp.Or(os.Getenv("PORT"), "8080"), Handler: b.handler(), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.Background(), 8*time.Second)
		defer cancel()
		server.Shutdown(grace)
	})
	log.Printf("handing out databases on %s", server.Addr)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
