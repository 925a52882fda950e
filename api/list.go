package api

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dewpaas/dew/cf"
)

// filter adds to a query what one parameter asks for.
type filter func(c *call, q *cf.Query, values []string) error

type filters map[string]filter

// by is the filter for a key of the noun.
func by(key string) filter {
	return func(_ *call, q *cf.Query, values []string) error {
		q.Where = append(q.Where, cf.Is(key, values...))
		return nil
	}
}

// byOther is the filter for all other values of a key.
func byOther(key string) filter {
	return func(_ *call, q *cf.Query, values []string) error {
		other := cf.Is(key, values...)
		other.Op = cf.NotIn
		q.Where = append(q.Where, other)
		return nil
	}
}

// byNone is the filter for what nothing has here.
func byNone(_ *call, q *cf.Query, _ []string) error {
	q.Where = append(q.Where, cf.Is[string]("guid"))
	return nil
}

// byLower is by for keys whose values are kept in lower case, as those of DNS are.
func byLower(key string) filter {
	return func(c *call, q *cf.Query, values []string) error {
		lower := make([]string, len(values))
		for i, v := range values {
			lower[i] = strings.ToLower(v)
		}
		return by(key)(c, q, lower)
	}
}

// byNumber is by for numeric keys.
func byNumber(key string) filter {
	return func(_ *call, q *cf.Query, values []string) error {
		var numbers []int64
		for _, v := range values {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return badQuery("%s must be numbers", key)
			}
			numbers = append(numbers, n)
		}
		q.Where = append(q.Where, cf.Is(key, numbers...))
		return nil
	}
}

// byPart is by for parts of values.
func byPart(key string) filter {
	return func(_ *call, q *cf.Query, values []string) error {
		c := cf.Cond{Key: key, Op: cf.Containing}
		for _, v := range values {
			c.Values = append(c.Values, v)
		}
		q.Where = append(q.Where, c)
		return nil
	}
}

// byTime compares times as they are shown, in whole seconds. Without a relation
// one or several may be equal.
func byTime(key, relation string) filter {
	return func(_ *call, q *cf.Query, values []string) error {
		var equal []cf.Cond
		for _, v := range values {
			at, err := time.Parse(time.RFC3339, v)
			if err != nil {
				return badQuery("%s must be a time like 2006-01-02T15:04:05Z", key)
			}
			first := at.Truncate(time.Second).UnixMicro()
			last := first + time.Second.Microseconds() - 1
			after, before := cf.Cond{Key: key, Op: cf.Greater, Values: []any{first - 1}}, cf.Cond{Key: key, Op: cf.Less, Values: []any{last + 1}}
			switch relation {
			case "gt":
				after.Values[0] = last
				q.Where = append(q.Where, after)
			case "gte":
				q.Where = append(q.Where, after)
			case "lt":
				before.Values[0] = first
				q.Where = append(q.Where, before)
			case "lte":
				q.Where = append(q.Where, before)
			default:
				equal = append(equal, after, before)
			}
		}
		if len(equal) > 2 {
			return badQuery("%s can be compared with one time", key)
		}
		q.Where = append(q.Where, equal...)
		return nil
	}
}

// listing is how the records of one noun are listed.
type listing[P cf.Record] struct {
	filters  filters
	order    []string // keys besides the times
	visible  func(c *call, q *cf.Query) error
	show     func(c *call, r P) (obj, error)
	includes map[string]func(c *call, page []P, included obj) error
	// fields are blocks of related resources, by their path: the parameter
	// fields[PATH] names what to show of each.
	fields map[string]fieldBlock[P]
	extra  []string // parameters that show looks at itself
}

// fieldBlock is the name of a block and what puts resources into it.
type fieldBlock[P cf.Record] struct {
	name string
	fill func(c *call, page []P, included obj) error
}

const (
	defaultPerPage = 50
	maxPerPage     = 5000
)

// params are all that the listing understands.
func (l listing[P]) params() []string {
	names := append(slices.Collect(maps.Keys(l.all())), "page", "per_page", "order_by")
	if len(l.includes) > 0 {
		names = append(names, "include")
	}
	for path := range l.fields {
		names = append(names, "fields["+path+"]")
	}
	names = append(names, l.extra...)
	slices.Sort(names)
	return names
}

func (l listing[P]) all() filters {
	f := filters{"guids": by("guid"), "label_selector": bySelector}
	maps.Copy(f, timeFilters())
	maps.Copy(f, l.filters)
	return f
}

// timeFilters are those that every list has.
func timeFilters() filters {
	f := filters{}
	for _, key := range []string{"created_at", "updated_at"} {
		f[key+"s"] = byTime(key, "")
		for _, relation := range []string{"gt", "gte", "lt", "lte"} {
			f[key+"s["+relation+"]"] = byTime(key, relation)
		}
	}
	return f
}

func bySelector(_ *call, q *cf.Query, values []string) error {
	conds, err := ParseSelector(strings.Join(values, ","))
	q.Labels = append(q.Labels, conds...)
	return err
}

// list adds the endpoint that lists at path.
func list[T any, P interface {
	*T
	cf.Record
}](t table, path string, l listing[P], scope ...filter) {
	t.get(path, func(c *call) (any, error) {
		q, err := l.query(c)
		for _, f := range scope {
			if err == nil {
				err = f(c, &q, nil)
			}
		}
		if err != nil {
			return nil, err
		}
		return answer[T](c, l, q)
	}, l.params()...)
}

func (l listing[P]) query(c *call) (cf.Query, error) {
	var q cf.Query
	if l.visible != nil {
		if err := l.visible(c, &q); err != nil {
			return q, err
		}
	}
	known := l.all()
	for name, texts := range c.r.URL.Query() {
		if f := known[name]; f != nil {
			if err := f(c, &q, strings.Split(strings.Join(texts, ","), ",")); err != nil {
				return q, err
			}
		}
	}
	return q, l.paginate(c.r.URL.Query(), &q)
}

func (l listing[P]) paginate(v url.Values, q *cf.Query) error {
	page, perPage := 1, defaultPerPage
	for name, into := range map[string]*int{"page": &page, "per_page": &perPage} {
		if text := v.Get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > 1<<31 {
				return badQuery("%s must be a positive integer", name)
			}
			*into = n
		}
	}
	if perPage > maxPerPage {
		return badQuery("Per page must be between 1 and %d", maxPerPage)
	}
	q.Limit, q.Offset = perPage, (page-1)*perPage
	by := v.Get("order_by")
	key, descending := strings.CutPrefix(by, "-")
	switch {
	case by == "":
		key = "created_at"
	case key != "created_at" && key != "updated_at" && !slices.Contains(l.order, key):
		return badQuery("Order by can only be: 'created_at', 'updated_at' %s", strings.Join(l.order, " "))
	}
	q.Order = []cf.Order{{Key: key, Descending: descending}}
	return nil
}

func answer[T any, P interface {
	*T
	cf.Record
}](c *call, l listing[P], q cf.Query) (any, error) {
	page, err := cf.List[T, P](c.tx, q)
	if err != nil {
		return nil, err
	}
	total, err := c.tx.Count(P(new(T)), q)
	if err != nil {
		return nil, err
	}
	resources := []obj{}
	for _, r := range page {
		o, err := l.show(c, r)
		if err != nil {
			return nil, err
		}
		resources = append(resources, o)
	}
	out := obj{"pagination": c.pagination(q, total), "resources": resources}
	return out, l.include(c, page, out)
}

func (l listing[P]) include(c *call, page []P, out obj) error {
	v := c.r.URL.Query()
	included := obj{}
	for name := range strings.SplitSeq(v.Get("include"), ",") {
		if name == "" {
			continue
		}
		f := l.includes[name]
		if f == nil {
			return badQuery("Invalid included resource: '%s'", name)
		}
		if err := f(c, page, included); err != nil {
			return err
		}
	}
	for path, block := range l.fields {
		wanted := v.Get("fields[" + path + "]")
		if wanted == "" {
			continue
		}
		if err := block.fill(c, page, included); err != nil {
			return err
		}
		if err := only(included, block.name, strings.Split(wanted, ",")); err != nil {
			return err
		}
	}
	if len(included) > 0 {
		out["included"] = included
	}
	return nil
}

// only leaves of the resources of a block what was asked for.
func only(included obj, name string, wanted []string) error {
	block, _ := included[name].([]obj)
	for i, full := range block {
		short := obj{}
		for _, w := range wanted {
			key, _, _ := strings.Cut(w, ".")
			value, known := full[key]
			if !known {
				return badQuery("Fields can only be those of %s, not '%s'", name, w)
			}
			short[key] = value
		}
		block[i] = short
	}
	return nil
}

func (c *call) pagination(q cf.Query, total int) obj {
	pages := max(1, (total+q.Limit-1)/q.Limit)
	here := q.Offset/q.Limit + 1
	link := func(page int) any {
		if page < 1 || page > pages {
			return nil
		}
		v := c.r.URL.Query()
		v.Set("page", strconv.Itoa(page))
		v.Set("per_page", strconv.Itoa(q.Limit))
		return obj{"href": c.url + c.r.URL.Path + "?" + v.Encode()}
	}
	return obj{"total_results": total, "total_pages": pages, "first": link(1), "last": link(pages), "next": link(here + 1), "previous": link(here - 1)}
}

// empty lists what there can be none of yet.
func empty(t table, path string, params ...string) {
	t.get(path, func(c *call) (any, error) {
		out, err := fixedPage(c, nil)
		if err == nil {
			out["included"] = obj{}
		}
		return out, err
	}, fixedParams(params...)...)
}

// fixedParams are what lists of things that are not in the ledger understand.
func fixedParams(more ...string) []string {
	names := append(slices.Collect(maps.Keys(timeFilters())), "page", "per_page", "order_by", "guids", "label_selector")
	names = append(names, more...)
	slices.Sort(names)
	return names
}

// fixedPage is a page of things that are not in the ledger: they have no labels,
// and have been there since 1970. order are keys besides the times.
func fixedPage(c *call, all []obj, order ...string) (obj, error) {
	v := c.r.URL.Query()
	var q cf.Query
	if err := (listing[*cf.Setting]{order: order}).paginate(v, &q); err != nil {
		return nil, err
	}
	for name, f := range (listing[*cf.Setting]{}).all() {
		if text := v.Get(name); text != "" {
			if err := f(c, &q, strings.Split(text, ",")); err != nil {
				return nil, err
			}
		}
	}
	kept := slices.DeleteFunc(all, func(o obj) bool { return len(q.Labels) > 0 || !fits(o, q.Where) })
	slices.SortStableFunc(kept, func(a, b obj) int {
		n := strings.Compare(textOf(a[q.Order[0].Key]), textOf(b[q.Order[0].Key]))
		if q.Order[0].Descending {
			return -n
		}
		return n
	})
	from, to := min(q.Offset, len(kept)), min(q.Offset+q.Limit, len(kept))
	return obj{"pagination": c.pagination(q, len(kept)), "resources": append([]obj{}, kept[from:to]...)}, nil
}

// fits tells whether a thing has one of the guids asked for, and its time is one.
func fits(o obj, where []cf.Cond) bool {
	for _, cond := range where {
		ok := true
		switch first := cond.Values[0].(type) {
		case int64:
			ok = cond.Op == cf.Greater && first < 0 || cond.Op == cf.Less && first > 0
		case string:
			ok = slices.Contains(cond.Values, o[cond.Key])
		}
		if !ok {
			return false
		}
	}
	return true
}

// byOrg filters what lives in spaces by their organizations.
func byOrg(c *call, q *cf.Query, values []string) error {
	guids, err := guidsOf[cf.Space](c, cf.Query{Where: []cf.Cond{cf.Is("organization_guid", values...)}})
	q.Where = append(q.Where, cf.Is("space_guid", guids...))
	return err
}

var ofApp = filters{"app_guids": by("app_guid"), "space_guids": by("space_guid"), "states": by("state")}

func with(f filters, more filters) filters {
	out := maps.Clone(f)
	maps.Copy(out, more)
	return out
}

// find loads the record of the path's guid, if the caller has the right in the
// space that it lives in.
func find[T any, P interface {
	*T
	cf.Record
}](c *call, name string, what right) (P, error) {
	r, err := cf.Get[T, P](c.tx, c.param("guid"))
	if err != nil {
		return nil, hide(err, name)
	}
	space, _ := r.Keys()["space_guid"].(string)
	_, err = c.space(space, what, name)
	return r, err
}

// inSpace is the endpoint for one record that lives in a space.
func inSpace[T any, P interface {
	*T
	cf.Record
}](name string, what right, f func(*call, P) (obj, error)) endpoint {
	return func(c *call) (any, error) {
		r, err := find[T, P](c, name, what)
		if err != nil {
			return nil, err
		}
		return f(c, r)
	}
}

// relabel changes only the metadata of a record.
func relabel[P cf.Record](show func(*call, P) (obj, error)) func(*call, P) (obj, error) {
	return func(c *call, r P) (obj, error) {
		var b struct {
			Metadata metadata `json:"metadata"`
		}
		if err := c.read(&b); err != nil {
			return nil, err
		}
		if err := b.Metadata.apply(r.Base()); err != nil {
			return nil, err
		}
		if err := c.tx.Save(r); err != nil {
			return nil, err
		}
		if err := c.note(r, "update"); err != nil {
			return nil, err
		}
		return show(c, r)
	}
}
