package desk

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dewpaas/dew/cf"
)

// difference is what makes the extract with the tag Base, "" for an empty one, that
// with the tag Tag.
type difference struct {
	Tag  string                        `json:"tag"`
	Base string                        `json:"base,omitempty"`
	Put  map[cf.Noun][]json.RawMessage `json:"put,omitempty"`
	Drop map[cf.Noun][]string          `json:"drop,omitempty"`
}

// sheet is an extract by noun and GUID.
type sheet struct {
	tag     string
	records map[cf.Noun]map[string]cf.Record
}

// page is where either end keeps what it has of one question.
type page struct {
	asking sync.Mutex            // held over a question: one at a time
	last   atomic.Pointer[sheet] // nil: none yet, or all is to be sent again
}

// newPages is one for each question that is answered with differences.
func newPages() map[string]*page { return map[string]*page{placed: {}, around: {}, routing: {}} }

func newSheet(tag string, e cf.Extract) *sheet {
	s := &sheet{tag, map[cf.Noun]map[string]cf.Record{}}
	for noun, list := range e {
		s.records[noun] = make(map[string]cf.Record, len(list))
		for _, r := range list {
			s.records[noun][r.Base().GUID] = r
		}
	}
	return s
}

// since is what has changed from an older one. A record is the same when it is the
// very one: a cf.Memo keeps what did not change.
func (s *sheet) since(old *sheet) (d difference, err error) {
	d = difference{Tag: s.tag, Base: old.tag, Put: map[cf.Noun][]json.RawMessage{}, Drop: map[cf.Noun][]string{}}
	for noun, records := range s.records {
		for guid, r := range records {
			if old.records[noun][guid] == r {
				continue
			}
			doc, err := json.Marshal(r)
			if err != nil {
				return d, fmt.Errorf("encode %s: %w", noun, err)
			}
			d.Put[noun] = append(d.Put[noun], doc)
		}
	}
	for noun, records := range old.records {
		for guid := range records {
			if s.records[noun][guid] == nil {
				d.Drop[noun] = append(d.Drop[noun], guid)
			}
		}
	}
	return d, nil
}

func (d *difference) empty() bool { return len(d.Put) == 0 && len(d.Drop) == 0 }

var errOtherBase = errors.New("the API sends changes of something else")

// apply makes the newer one of s, which may be nil. Records that stay are the same
// ones.
func (d *difference) apply(s *sheet) (*sheet, error) {
	next := &sheet{d.Tag, map[cf.Noun]map[string]cf.Record{}}
	if d.Base != "" {
		if s == nil || s.tag != d.Base {
			return nil, errOtherBase
		}
		if d.empty() {
			return s, nil
		}
		for noun, records := range s.records {
			next.records[noun] = make(map[string]cf.Record, len(records))
			for guid, r := range records {
				next.records[noun][guid] = r
			}
		}
	}
	for noun, guids := range d.Drop {
		for _, guid := range guids {
			delete(next.records[noun], guid)
		}
	}
	kinds := kinds()
	for noun, docs := range d.Put {
		kind := kinds[noun]
		if kind == nil {
			continue // of a newer API
		}
		if next.records[noun] == nil {
			next.records[noun] = map[string]cf.Record{}
		}
		for _, doc := range docs {
			r := reflect.New(kind).Interface().(cf.Record)
			if err := json.Unmarshal(doc, r); err != nil {
				return nil, fmt.Errorf("decode %s: %w", noun, err)
			}
			next.records[noun][r.Base().GUID] = r
		}
	}
	return next, nil
}

// kinds are the types of records.
func kinds() map[cf.Noun]reflect.Type {
	all := map[cf.Noun]reflect.Type{}
	for _, r := range cf.Nouns() {
		all[r.Noun()] = reflect.TypeOf(r).Elem()
	}
	return all
}

// extract is the records in order, oldest first.
func (s *sheet) extract() cf.Extract {
	e := cf.Extract{}
	for noun, records := range s.records {
		list := make([]cf.Record, 0, len(records))
		for _, r := range records {
			list = append(list, r)
		}
		slices.SortFunc(list, func(a, b cf.Record) int {
			return cmp.Or(a.Base().CreatedAt.Compare(b.Base().CreatedAt), strings.Compare(a.Base().GUID, b.Base().GUID))
		})
		e[noun] = list
	}
	return e
}
