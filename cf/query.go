package cf

import (
	"context"
	"fmt"
	"slices"
)

// Op is how a condition compares.
type Op uint8

// The comparisons. In with no values matches nothing; NotIn with no values
// matches everything. Containing compares parts of strings without regard to
// the case of ASCII letters.
const (
	In Op = iota
	NotIn
	Absent
	Less
	Greater
	Containing
)

// Cond compares one key with values: strings, or int64 for numbers, flags and
// times (microseconds since 1970).
type Cond struct {
	Key    string
	Op     Op
	Values []any
}

// Is is the condition that key has one of the values.
func Is[T any](key string, values ...T) Cond {
	c := Cond{Key: key}
	for _, v := range values {
		c.Values = append(c.Values, v)
	}
	return c
}

// LabelOp is how a label requirement compares.
type LabelOp uint8

// The label comparisons of a label selector.
const (
	LabelIn LabelOp = iota
	LabelNotIn
	LabelExists
	LabelAbsent
)

// LabelCond is one requirement of a label selector.
type LabelCond struct {
	Key    string
	Op     LabelOp
	Values []string
}

// Query asks for records of one noun: all of Where and Labels, and of each
// list in AnyOf at least one. Limit 0 is no limit. Ties in Order are broken by
// guid, so pages never overlap.
type Query struct {
	Where  []Cond
	AnyOf  [][]Cond
	Labels []LabelCond
	Order  []Order
	Limit  int
	Offset int
}

// Order sorts by one key.
type Order struct {
	Key        string
	Descending bool
}

// MaxValues bounds the values of one condition: SQLite takes 32766 parameters,
// PostgreSQL 65535.
const MaxValues = 10000

// Check refuses a query that names keys the noun does not have.
func (q Query) Check(known Keys) error {
	for _, c := range q.conds() {
		if !has(known, c.Key) {
			return Errorf("query", Invalid, "there is no key %q to filter by", c.Key)
		}
		if len(c.Values) > MaxValues {
			return Errorf("query", Invalid, "%d values for %q are more than %d", len(c.Values), c.Key, MaxValues)
		}
	}
	for _, o := range q.Order {
		if !has(known, o.Key) {
			return Errorf("query", Invalid, "there is no key %q to order by", o.Key)
		}
	}
	return nil
}

func (q Query) conds() []Cond { return append(slices.Clone(q.Where), slices.Concat(q.AnyOf...)...) }

func has(known Keys, key string) bool {
	switch key {
	case "guid", "created_at", "updated_at":
		return true
	}
	_, ok := known[key]
	return ok
}

// Store is the ledger. What Update did is on disk when it returns nil; when f
// or the commit fails, nothing happened. Update may run f again after another
// writer won, so f must have no other effects. View sees one consistent state.
type Store interface {
	View(ctx context.Context, f func(Tx) error) error
	Update(ctx context.Context, f func(Tx) error) error
}

// Tx is one transaction. Errors are *Error: NotFound for a guid that is not
// there, Exists for a taken name, Conflict for a reference that is missing or
// still needed. Insert gives the record a guid unless it has one, and times.
type Tx interface {
	Insert(Record) error
	Save(Record) error
	Delete(Record) error
	Load(r Record, guid string) error
	Each(r Record, q Query, f func(doc []byte) error) error
	Count(r Record, q Query) (int, error)
	Scan(r Record, doc []byte) error
}

// Get loads one record by guid.
func Get[T any, P interface {
	*T
	Record
}](tx Tx, guid string) (P, error) {
	r := P(new(T))
	if err := tx.Load(r, guid); err != nil {
		return nil, err
	}
	return r, nil
}

// List loads every record that q asks for.
func List[T any, P interface {
	*T
	Record
}](tx Tx, q Query) ([]P, error) {
	list := []P{}
	err := tx.Each(P(new(T)), q, func(doc []byte) error {
		r := P(new(T))
		if err := tx.Scan(r, doc); err != nil {
			return err
		}
		list = append(list, r)
		return nil
	})
	return list, err
}

// First loads the first record that meets all conditions, or nil.
func First[T any, P interface {
	*T
	Record
}](tx Tx, where ...Cond) (P, error) {
	list, err := List[T, P](tx, Query{Where: where, Limit: 1})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

// One loads the one record that meets all conditions, or fails as NotFound.
func One[T any, P interface {
	*T
	Record
}](tx Tx, where ...Cond) (P, error) {
	r, err := First[T, P](tx, where...)
	if err == nil && r == nil {
		var zero T
		err = &Error{Op: fmt.Sprintf("find one of %s", P(&zero).Noun()), Kind: NotFound}
	}
	return r, err
}
