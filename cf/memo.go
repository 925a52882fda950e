package cf

// Memo remembers what documents of the ledger mean, so that a list which is read
// again and again costs what has changed in it, not what is in it. What it
// returns is shared with the lists that it returns later: nobody may change it.
// It is for one goroutine at a time; the zero value is ready.
type Memo[T any, P interface {
	*T
	Record
}] struct {
	known map[string]remembered[P]
}

type remembered[P any] struct {
	doc    string
	record P
}

// List is like the function List. What q does not ask for is forgotten.
func (m *Memo[T, P]) List(tx Tx, q Query) ([]P, error) {
	list, now := make([]P, 0, len(m.known)), make(map[string]remembered[P], len(m.known))
	err := tx.Each(P(new(T)), q, func(doc []byte) error {
		one, ok := m.known[string(doc)]
		if !ok {
			one = remembered[P]{string(doc), P(new(T))}
			if err := tx.Scan(one.record, doc); err != nil {
				return err
			}
		}
		now[one.doc] = one
		list = append(list, one.record)
		return nil
	})
	if err == nil {
		m.known = now
	}
	return list, err
}
