package store

import (
	"context"

	"github.com/dewpaas/dew/cf"
)

// Changes are the guids of the records that a transaction wrote, by noun.
type Changes map[cf.Noun][]string

// Watch returns a ledger like s that tells what each transaction changed, once
// it is on disk. It is for hints: a process that dies in between tells nobody,
// and records that the database deletes with others are not named. told must
// not block.
func Watch(s cf.Store, told func(Changes)) cf.Store { return watched{s, told} }

type watched struct {
	cf.Store
	told func(Changes)
}

func (w watched) Update(ctx context.Context, f func(cf.Tx) error) error {
	var changes Changes
	err := w.Store.Update(ctx, func(tx cf.Tx) error {
		changes = Changes{} // f may run again
		return f(noting{tx, changes})
	})
	if err == nil && len(changes) > 0 {
		w.told(changes)
	}
	return err
}

// noting is a transaction that notes what it writes.
type noting struct {
	cf.Tx
	changes Changes
}

func (n noting) note(r cf.Record, err error) error {
	if err == nil {
		n.changes[r.Noun()] = append(n.changes[r.Noun()], r.Base().GUID)
	}
	return err
}

func (n noting) Insert(r cf.Record) error { return n.note(r, n.Tx.Insert(r)) }
func (n noting) Save(r cf.Record) error   { return n.note(r, n.Tx.Save(r)) }
func (n noting) Delete(r cf.Record) error { return n.note(r, n.Tx.Delete(r)) }
