package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

func main() {
	if err := serve(); err != nil {
		log.Fatal(err)
	}
}

// databaseURI finds the database among the services that the app is bound to.
func databaseURI(services string) (string, error) {
	var bound map[string][]struct {
		Name        string
		Credentials struct{ URI string }
	}
	if err := json.Unmarshal([]byte(services), &bound); err != nil {
		return "", fmt.Errorf("VCAP_SERVICES: %w", err)
	}
	for _, list := range bound {
		for _, s := range list {
			if strings.HasPrefix(s.Credentials.URI, "postgres") {
				return s.Credentials.URI, nil
			}
		}
	}
	return "", errors.New("no PostgreSQL database is bound: cf bind-service guestbook DATABASE, then cf restart guestbook")
}

func serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	uri, err := databaseURI(os.Getenv("VCAP_SERVICES"))
	if err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, uri)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, "CREATE TABLE IF NOT EXISTS entries (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at TIMESTAMPTZ NOT NULL DEFAULT now(), text TEXT NOT NULL)"); err != nil {
		return fmt.Errorf("make the table: %w", err)
	}
	b := book{pool}
	http.HandleFunc("GET /{$}", b.show)
	http.HandleFunc("POST /{$}", b.write)
	server := &http.Server{Addr: ":" + cmp.Or(os.Getenv("PORT"), "8080"), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		server.Shutdown(grace)
	})
	log.Printf("listening on %s", server.Addr)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type book struct{ pool *pgxpool.Pool }

func (b book) show(w http.ResponseWriter, r *http.Request) {
	rows, err := b.pool.Query(r.Context(), "SELECT text FROM entries ORDER BY id DESC LIMIT 100")
	if err != nil {
		failed(w, err)
		return
	}
	entries, err := pgx.CollectRows(rows, pgx.RowTo[string]) // all of them: a connection that breaks is no short list
	if err != nil {
		failed(w, err)
		return
	}
	for _, text := range entries {
		fmt.Fprintln(w, text)
	}
}

func (b book) write(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 10_000))
	if err != nil {
		http.Error(w, "an entry has at most 10,000 bytes", http.StatusRequestEntityTooLarge)
		return
	}
	if _, err := b.pool.Exec(r.Context(), "INSERT INTO entries (text) VALUES ($1)", strings.ToValidUTF8(string(text), "?")); err != nil {
		failed(w, err)
		return
	}
	w.WriteHeader(http.StatusCreated)
}

func failed(w http.ResponseWriter, err error) {
	log.Print(err)
	http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
}
