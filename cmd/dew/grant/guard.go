package grant

import (
	"context"
	"encoding/json"
	"reflect"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/identity"
)

// Guard is the ledger as a peer may see and change it. What it may not see is not
// there (cf.NotFound, or left out of lists); nouns that are not granted at all, and
// writes that are not, fail as cf.Forbidden.
func Guard(s cf.Store, p identity.Peer) cf.Store { return guarded{s, p} }

type guarded struct {
	store cf.Store
	peer  identity.Peer
}

// View implements cf.Store.
func (g guarded) View(ctx context.Context, f func(cf.Tx) error) error {
	return g.store.View(ctx, func(tx cf.Tx) error { return f(g.within(tx)) })
}

// Update implements cf.Store.
func (g guarded) Update(ctx context.Context, f func(cf.Tx) error) error {
	return g.store.Update(ctx, func(tx cf.Tx) error { return f(g.within(tx)) })
}

func (g guarded) within(raw cf.Tx) *tx {
	return &tx{raw, g.peer, table(g.peer.Role), &scope{tx: raw, role: g.peer.Role, me: g.peer.Name}}
}

// tx is a transaction of a peer.
type tx struct {
	raw   cf.Tx
	peer  identity.Peer
	rules map[cf.Noun]rule
	scope *scope
}

func (t *tx) refuse(verb string, n cf.Noun) error {
	return cf.Errorf("ledger", cf.Forbidden, "%s may not %s %s", t.peer, verb, n)
}

// fresh is a zero record of the same noun.
func fresh(r cf.Record) cf.Record {
	return reflect.New(reflect.TypeOf(r).Elem()).Interface().(cf.Record)
}

// Each implements cf.Tx.
func (t *tx) Each(r cf.Record, q cf.Query, f func([]byte) error) error {
	see := t.rules[r.Noun()].see
	if see == nil {
		return t.refuse("read", r.Noun())
	}
	return t.raw.Each(r, q, func(doc []byte) error {
		n := fresh(r)
		if err := t.raw.Scan(n, doc); err != nil {
			return err
		}
		seen, err := see(t.scope, n)
		if err != nil || seen == nil {
			return err
		}
		if seen != n {
			if doc, err = json.Marshal(seen); err != nil {
				return err
			}
		}
		return f(doc)
	})
}

// Load implements cf.Tx.
func (t *tx) Load(r cf.Record, guid string) error {
	found := false
	err := t.Each(r, cf.Query{Where: []cf.Cond{cf.Is("guid", guid)}}, func(doc []byte) error {
		found = true
		return t.raw.Scan(r, doc)
	})
	if err == nil && !found {
		err = cf.Errorf("load from "+string(r.Noun()), cf.NotFound, "no guid %s", guid)
	}
	return err
}

// Count implements cf.Tx.
func (t *tx) Count(r cf.Record, q cf.Query) (n int, err error) {
	err = t.Each(r, q, func([]byte) error { n++; return nil })
	return n, err
}

// Scan implements cf.Tx.
func (t *tx) Scan(r cf.Record, doc []byte) error { return t.raw.Scan(r, doc) }

// maxRecord bounds a record that is written, in bytes.
const maxRecord = 256 << 10

// may fails unless the record may become what it is to be; nil is none.
func (t *tx) may(n cf.Noun, old, now cf.Record) error {
	write := t.rules[n].write
	if write == nil {
		return t.refuse("write", n)
	}
	ok, err := write(t.scope, old, now)
	if err == nil && !ok {
		err = t.refuse("write this of", n)
	}
	if err != nil || now == nil {
		return err
	}
	doc, err := json.Marshal(now)
	if err == nil && len(doc) > maxRecord {
		err = cf.Errorf("ledger", cf.Invalid, "a record of %s has %d bytes, more than %d", n, len(doc), maxRecord)
	}
	return err
}

// was is the record as it is in the ledger.
func (t *tx) was(r cf.Record) (cf.Record, error) {
	if t.rules[r.Noun()].write == nil {
		return nil, t.refuse("write", r.Noun()) // nor hear whether it is there
	}
	old := fresh(r)
	return old, t.raw.Load(old, r.Base().GUID)
}

// Insert implements cf.Tx.
func (t *tx) Insert(r cf.Record) error {
	if err := t.may(r.Noun(), nil, r); err != nil {
		return err
	}
	return t.raw.Insert(r)
}

// Save implements cf.Tx.
func (t *tx) Save(r cf.Record) error {
	old, err := t.was(r)
	if err == nil {
		err = t.may(r.Noun(), old, r)
	}
	if err != nil {
		return err
	}
	return t.raw.Save(r)
}

// Delete implements cf.Tx.
func (t *tx) Delete(r cf.Record) error {
	old, err := t.was(r)
	if err == nil {
		err = t.may(r.Noun(), old, nil)
	}
	if err != nil {
		return err
	}
	return t.raw.Delete(r)
}
