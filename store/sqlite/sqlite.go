package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/pressly/goose/v3/database"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/store"
)

// readers is how many connections read at the same time.
const readers = 4

// Open opens or makes the ledger in the file at path.
func Open(ctx context.Context, path string) (*store.DB, error) {
	// The ledger holds password hashes and credentials of services: nobody
	// but its owner reads it, and SQLite gives the WAL the same mode.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	f.Close() // nothing was written
	write, err := pool(path, 1, "_txlock=immediate")
	if err != nil {
		return nil, err
	}
	read, err := pool(path, readers, "_pragma=query_only(1)")
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	db, err := store.Open(ctx, read, write, dialect())
	if err != nil {
		return nil, errors.Join(err, write.Close(), read.Close())
	}
	return db, nil
}

func pool(path string, size int, more string) (*sql.DB, error) {
	name := "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&" + more
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, fmt.Errorf("open the ledger %s: %w", path, err)
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

func dialect() store.Dialect {
	return store.Dialect{
		Goose: database.DialectSQLite3,
		Param: func(n int) string { return fmt.Sprintf("?%d", n) },
		Label: func(p string) string { return "json_extract(doc, '$.labels.' || json_quote(" + p + "))" },
		Kind:  kind,
		Again: func(error) bool { return false }, // there is one writer
	}
}

func kind(err error) cf.Kind {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return cf.Unknown
	}
	switch e.Code() {
	case lib.SQLITE_CONSTRAINT_UNIQUE, lib.SQLITE_CONSTRAINT_PRIMARYKEY:
		return cf.Exists
	case lib.SQLITE_CONSTRAINT_FOREIGNKEY:
		return cf.Conflict
	}
	switch e.Code() & 0xff {
	case lib.SQLITE_FULL:
		return cf.Exhausted
	case lib.SQLITE_BUSY:
		return cf.Unavailable
	}
	return cf.Unknown
}
