package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dewpaas/dew/cf"
)

// tx is one transaction; it is used by one goroutine.
type tx struct {
	ctx context.Context
	sql *sql.Tx
	db  *DB
}

// columns are the names of a noun's keys, sorted, so statements are the same
// every time and the driver can reuse them.
func columns(k cf.Keys) []string {
	names := make([]string, 0, len(k))
	for name := range k {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (t *tx) Insert(r cf.Record) error {
	if err := t.insert(r); err != nil {
		return err
	}
	return t.came(r)
}

func (t *tx) insert(r cf.Record) error {
	m := r.Base()
	if m.GUID == "" {
		m.GUID = cf.NewGUID()
	}
	if m.CreatedAt.IsZero() {
		now, err := t.instant(r)
		if err != nil {
			return err
		}
		m.CreatedAt = now
	}
	m.UpdatedAt = m.CreatedAt
	names, args, err := row(r)
	if err != nil {
		return err
	}
	holders := make([]string, len(names))
	for i := range names {
		holders[i] = t.db.dialect.Param(i + 1)
	}
	stmt := fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", r.Noun(), strings.Join(names, ", "), strings.Join(holders, ", "))
	_, err = t.sql.ExecContext(t.ctx, stmt, args...)
	return t.db.fail("insert into "+string(r.Noun()), err)
}

func (t *tx) Save(r cf.Record) error {
	old, err := t.before(r)
	if err == nil {
		err = t.save(r)
	}
	if err != nil || old == nil {
		return err
	}
	return t.became(old, r)
}

func (t *tx) save(r cf.Record) error {
	r.Base().UpdatedAt = t.db.now().UTC().Truncate(time.Microsecond)
	names, args, err := row(r)
	if err != nil {
		return err
	}
	sets := make([]string, len(names))
	for i, name := range names {
		sets[i] = name + " = " + t.db.dialect.Param(i+1)
	}
	stmt := fmt.Sprintf("UPDATE %s SET %s WHERE guid = %s", r.Noun(), strings.Join(sets, ", "), t.db.dialect.Param(len(names)+1))
	return t.touchOne("save in ", r, stmt, append(args, r.Base().GUID)...)
}

func (t *tx) Delete(r cf.Record) error {
	old, err := t.before(r)
	if err == nil && old != nil {
		err = t.goes(old)
	}
	if err != nil {
		return err
	}
	stmt := fmt.Sprintf("DELETE FROM %s WHERE guid = %s", r.Noun(), t.db.dialect.Param(1))
	return t.touchOne("delete from ", r, stmt, r.Base().GUID)
}

func (t *tx) touchOne(op string, r cf.Record, stmt string, args ...any) error {
	op += string(r.Noun())
	res, err := t.sql.ExecContext(t.ctx, stmt, args...)
	if err != nil {
		return t.db.fail(op, err)
	}
	if n, err := res.RowsAffected(); err == nil && n == 0 {
		return &cf.Error{Op: op, Kind: cf.NotFound, Err: fmt.Errorf("no guid %s", r.Base().GUID)}
	}
	return nil
}

func row(r cf.Record) (names []string, args []any, err error) {
	m := r.Base()
	doc, err := json.Marshal(r)
	if err != nil {
		return nil, nil, fmt.Errorf("encode %s: %w", r.Noun(), err)
	}
	keys := r.Keys()
	names = []string{"guid", "created_at", "updated_at", "doc"}
	args = []any{m.GUID, m.CreatedAt.UnixMicro(), m.UpdatedAt.UnixMicro(), string(doc)}
	for _, name := range columns(keys) {
		names = append(names, name)
		args = append(args, keys[name])
	}
	return names, args, nil
}

func (t *tx) Load(r cf.Record, guid string) error {
	stmt := fmt.Sprintf("SELECT doc FROM %s WHERE guid = %s", r.Noun(), t.db.dialect.Param(1))
	var doc []byte
	if err := t.sql.QueryRowContext(t.ctx, stmt, guid).Scan(&doc); err != nil {
		return t.db.fail("load from "+string(r.Noun()), err)
	}
	return t.Scan(r, doc)
}

func (t *tx) Scan(r cf.Record, doc []byte) error {
	if err := json.Unmarshal(doc, r); err != nil {
		return fmt.Errorf("decode a record of %s: %w", r.Noun(), err)
	}
	return nil
}

// Each reads all rows before it calls f, so that f may use the transaction.
func (t *tx) Each(r cf.Record, q cf.Query, f func(doc []byte) error) error {
	stmt, args, err := t.compile("SELECT doc", r, q, true)
	if err != nil {
		return err
	}
	docs, err := t.fetch(stmt, args)
	if err != nil {
		return t.db.fail("list "+string(r.Noun()), err)
	}
	for _, doc := range docs {
		if err := f(doc); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) fetch(stmt string, args []any) ([][]byte, error) {
	rows, err := t.sql.QueryContext(t.ctx, stmt, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() // its error is in rows.Err
	var docs [][]byte
	for rows.Next() {
		var doc []byte
		if err := rows.Scan(&doc); err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	return docs, rows.Err()
}

func (t *tx) Count(r cf.Record, q cf.Query) (int, error) {
	stmt, args, err := t.compile("SELECT COUNT(*)", r, q, false)
	if err != nil {
		return 0, err
	}
	var n int
	return n, t.db.fail("count "+string(r.Noun()), t.sql.QueryRowContext(t.ctx, stmt, args...).Scan(&n))
}
