package store

import (
	"fmt"
	"strings"

	"github.com/dewpaas/dew/cf"
)

// statement is SQL being written, with its arguments in order.
type statement struct {
	text    strings.Builder
	args    []any
	dialect Dialect
}

func (s *statement) param(v any) string {
	s.args = append(s.args, v)
	return s.dialect.Param(len(s.args))
}

// compile turns a query into SQL. Only checked key names reach the text: every
// value is a parameter.
func (t *tx) compile(what string, r cf.Record, q cf.Query, page bool) (string, []any, error) {
	if err := q.Check(r.Keys()); err != nil {
		return "", nil, err
	}
	s := &statement{dialect: t.db.dialect}
	fmt.Fprintf(&s.text, "%s FROM %s", what, r.Noun())
	glue := " WHERE "
	and := func(cond string) {
		s.text.WriteString(glue + cond)
		glue = " AND "
	}
	for _, c := range q.Where {
		and(s.cond(c))
	}
	for _, any := range q.AnyOf {
		and(s.anyOf(any))
	}
	for _, l := range q.Labels {
		and(s.label(l))
	}
	if page {
		s.page(q)
	}
	return s.text.String(), s.args, nil
}

func (s *statement) anyOf(conds []cf.Cond) string {
	parts := []string{"1=0"}
	for _, c := range conds {
		parts = append(parts, s.cond(c))
	}
	return "(" + strings.Join(parts, " OR ") + ")"
}

// pattern makes a text match only itself in LIKE.
var pattern = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

func (s *statement) cond(c cf.Cond) string {
	switch c.Op {
	case cf.Absent:
		return c.Key + " IS NULL"
	case cf.Less, cf.Greater:
		sign := " < "
		if c.Op == cf.Greater {
			sign = " > "
		}
		parts := []string{"1=1"}
		for _, v := range c.Values {
			parts = append(parts, c.Key+sign+s.param(v))
		}
		return "(" + strings.Join(parts, " AND ") + ")"
	case cf.Containing:
		parts := []string{"1=0"}
		for _, v := range c.Values {
			parts = append(parts, "LOWER("+c.Key+") LIKE "+s.param("%"+pattern.Replace(strings.ToLower(fmt.Sprint(v)))+"%")+` ESCAPE '\'`)
		}
		return "(" + strings.Join(parts, " OR ") + ")"
	case cf.NotIn:
		if len(c.Values) == 0 {
			return "1=1"
		}
		return "(" + c.Key + " IS NULL OR " + c.Key + " NOT IN (" + s.params(c.Values) + "))"
	}
	if len(c.Values) == 0 {
		return "1=0"
	}
	return c.Key + " IN (" + s.params(c.Values) + ")"
}

func (s *statement) params(values []any) string {
	holders := make([]string, len(values))
	for i, v := range values {
		holders[i] = s.param(v)
	}
	return strings.Join(holders, ", ")
}

func (s *statement) label(l cf.LabelCond) string {
	column := s.dialect.Label(s.param(l.Key))
	values := make([]any, len(l.Values))
	for i, v := range l.Values {
		values[i] = v
	}
	switch {
	case l.Op == cf.LabelExists:
		return column + " IS NOT NULL"
	case l.Op == cf.LabelAbsent:
		return column + " IS NULL"
	case len(values) == 0:
		return "1=0"
	case l.Op == cf.LabelIn:
		return column + " IN (" + s.params(values) + ")"
	}
	// A resource without the key is not in any list of values; the column is
	// written twice, so its key is bound twice where parameters are counted.
	again := s.dialect.Label(s.param(l.Key))
	return "(" + column + " IS NULL OR " + again + " NOT IN (" + s.params(values) + "))"
}

func (s *statement) page(q cf.Query) {
	s.text.WriteString(" ORDER BY ")
	for _, o := range q.Order {
		s.text.WriteString(o.Key)
		if o.Descending {
			s.text.WriteString(" DESC")
		}
		s.text.WriteString(", ")
	}
	s.text.WriteString("guid")
	if q.Limit > 0 {
		fmt.Fprintf(&s.text, " LIMIT %s OFFSET %s", s.param(int64(q.Limit)), s.param(int64(q.Offset)))
	}
}
