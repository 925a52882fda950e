package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"

	"github.com/dewpaas/dew/cf"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Dialect is what differs between databases.
type Dialect struct {
	Goose database.Dialect
	// Param is the n-th placeholder, counted from 1.
	Param func(n int) string
	// Label is the SQL for the label whose key is the given placeholder.
	Label func(param string) string
	// Kind tells what an error of the driver means.
	Kind func(error) cf.Kind
	// Again tells whether a transaction lost a race and may be run again.
	Again func(error) bool
	// Lock makes what lets one process at a time bring the schema up to date;
	// nil where the database itself does.
	Lock func(...lock.SessionLockerOption) (lock.SessionLocker, error)
	// Isolation of updates.
	Isolation sql.IsolationLevel
}

// DB is a ledger in an SQL database. It is safe for concurrent use.
type DB struct {
	read, write *sql.DB
	dialect     Dialect
	now         func() time.Time
}

var _ cf.Store = (*DB)(nil)

// Open brings the schema up to date and returns the ledger, which then owns
// both pools. They may be the same.
func Open(ctx context.Context, read, write *sql.DB, d Dialect) (*DB, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("embedded migrations: %w", err)
	}
	var options []goose.ProviderOption
	if d.Lock != nil {
		locker, err := d.Lock()
		if err != nil {
			return nil, fmt.Errorf("prepare migrations: %w", err)
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(d.Goose, write, files, options...)
	if err != nil {
		return nil, fmt.Errorf("prepare migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return nil, fmt.Errorf("migrate the ledger: %w", err)
	}
	return &DB{read: read, write: write, dialect: d, now: time.Now}, nil
}

// Close closes both pools.
func (db *DB) Close() error {
	err := db.write.Close()
	if db.read != db.write {
		err = errors.Join(err, db.read.Close())
	}
	return err
}

// View runs f in a read-only transaction that sees one state.
func (db *DB) View(ctx context.Context, f func(cf.Tx) error) error {
	// SQLite's read transactions are snapshots at every level it knows.
	level := sql.LevelDefault
	if db.dialect.Isolation != sql.LevelDefault {
		level = sql.LevelRepeatableRead
	}
	t, err := db.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: level})
	if err != nil {
		return db.fail("begin", err)
	}
	defer t.Rollback() // nothing to commit
	return f(&tx{ctx, t, db})
}

// attempts bounds how often Update runs a function that keeps losing.
const attempts = 20

// Update runs f in a transaction and commits it.
func (db *DB) Update(ctx context.Context, f func(cf.Tx) error) error {
	for try := 1; ; try++ {
		err := db.once(ctx, f)
		if err == nil || try == attempts || ctx.Err() != nil || !db.dialect.Again(err) {
			return err
		}
	}
}

func (db *DB) once(ctx context.Context, f func(cf.Tx) error) error {
	t, err := db.write.BeginTx(ctx, &sql.TxOptions{Isolation: db.dialect.Isolation})
	if err != nil {
		return db.fail("begin", err)
	}
	defer t.Rollback() // after a commit this does nothing
	if err := f(&tx{ctx, t, db}); err != nil {
		return err
	}
	return db.fail("commit", t.Commit())
}

func (db *DB) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, sql.ErrNoRows) {
		return &cf.Error{Op: op, Kind: cf.NotFound, Err: err}
	}
	return &cf.Error{Op: op, Kind: db.dialect.Kind(err), Err: err}
}
