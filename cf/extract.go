package cf

// Extract is what one part of the platform has to know of the ledger, in one state
// of it: records by noun. They are shared with extracts that come later: nobody may
// change them.
type Extract map[Noun][]Record

// Of are the records of one noun, in their order.
func Of[T any, P interface {
	*T
	Record
}](e Extract) []P {
	list := e[P(new(T)).Noun()]
	typed := make([]P, 0, len(list))
	for _, r := range list {
		if p, ok := r.(P); ok {
			typed = append(typed, p)
		}
	}
	return typed
}

// Into lists as List does, into an extract.
func (m *Memo[T, P]) Into(e Extract, tx Tx, q Query) error {
	list, err := m.List(tx, q)
	for _, p := range list {
		e[p.Noun()] = append(e[p.Noun()], p)
	}
	return err
}
