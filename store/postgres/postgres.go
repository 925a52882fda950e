package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3/database"

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
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	s, err := store.Open(ctx, db, db, dialect())
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func dialect() store.Dialect {
	return store.Dialect{
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

func kind(err error) cf.Kind {
	switch c := code(err); c {
	case "23505":
		return cf.Exists
	case "23503":
		return cf.Conflict
	case "53100", "53200":
		return cf.Exhausted
	case "40001", "40P01", "57P01":
		return cf.Unavailable
	case "":
		var dial *pgconn.ConnectError
		if errors.As(err, &dial) {
			return cf.Unavailable
		}
	}
	return cf.Unknown
}

// again: serialization_failure and deadlock_detected.
func again(err error) bool { c := code(err); return c == "40001" || c == "40P01" }
