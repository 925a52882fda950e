package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/store"
)

// connections bounds the pool: PostgreSQL allows 100 for everybody.
const connections = 16

// Open connects to the database that url names and brings its schema up to date.
func Open(ctx context.Context, url string) (*store.DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTime
	}
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	s, err := store.Open(ctx, db, db, dialect())
	if err != nil {
		db.Close()
		return nil, &cf.Error{Op: "open the ledger", Kind: kind(err), Err: err}
	}
	return s, nil
}

// connectTime bounds how long a server may take to answer at all, unless the URL
// says so.
const connectTime = 5 * time.Second

func dialect() store.Dialect {
	return store.Dialect{
		Lock:      lock.NewPostgresSessionLocker,
		Goose:     database.DialectPostgres,
		Param:     func(n int) string { return fmt.Sprintf("$%d", n) },
		Label:     func(p string) string { return "(doc::jsonb #>> ARRAY['labels', " + p + "::text])" },
		Kind:      kind,
		Again:     again,
		Isolation: sql.LevelSerializable,
	}
}

func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// kind tells what went wrong (appendix A of the manual). A server that is down,
// starts, stops or does not let more in is there again later; a wrong password or
// a missing database is not.
func kind(err error) cf.Kind {
	switch c := code(err); {
	case c == "23505":
		return cf.Exists
	case c == "23503":
		return cf.Conflict
	case c == "53100", c == "53200":
		return cf.Exhausted
	case c == "40001", c == "40P01", c == "57P01", c == "57P02", c == "57P03", c == "53300", c == "25006", strings.HasPrefix(c, "08"):
		return cf.Unavailable
	case c != "":
		return cf.Unknown
	}
	var dial *pgconn.ConnectError
	var network net.Error
	if errors.As(err, &dial) || errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, net.ErrClosed) || err != nil && strings.HasSuffix(err.Error(), "conn closed") {
		return cf.Unavailable
	}
	return cf.Unknown
}

// again: serialization_failure and deadlock_detected.
func again(err error) bool { c := code(err); return c == "40001" || c == "40P01" }
