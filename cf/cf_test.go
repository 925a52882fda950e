package cf

import (
	"errors"
	"fmt"
	"regexp"
	"testing"
)

func TestKindOfIsTheOutermost(t *testing.T) {
	inner := Errorf("load", NotFound, "no guid %d", 7)
	for _, c := range []struct {
		err  error
		want Kind
	}{
		{nil, Unknown}, {errors.New("x"), Unknown}, {inner, NotFound}, {fmt.Errorf("a: %w", inner), NotFound},
		{&Error{Op: "b", Kind: Conflict, Err: inner}, Conflict},
	} {
		if got := KindOf(c.err); got != c.want {
			t.Errorf("KindOf(%v) = %v, want %v", c.err, got, c.want)
		}
	}
}

func TestQueryNamesOnlyDeclaredKeys(t *testing.T) {
	known := new(App).Keys()
	for key, ok := range map[string]bool{"name": true, "guid": true, "created_at": true, "doc": false, "": false, "name; --": false} {
		if err := (Query{Where: []Cond{Is(key, "x")}}).Check(known); (err == nil) != ok {
			t.Errorf("key %q: %v", key, err)
		}
	}
	if err := (Query{Where: []Cond{{Key: "name", Values: make([]any, MaxValues+1)}}}).Check(known); KindOf(err) != Invalid {
		t.Errorf("too many values: %v", err)
	}
}

func TestNewGUIDIsVersion4(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 100 {
		g := NewGUID()
		if !form.MatchString(g) || seen[g] {
			t.Fatalf("bad or repeated guid %q", g)
		}
		seen[g] = true
	}
}

func TestNounsAreDistinct(t *testing.T) {
	seen := map[Noun]bool{}
	for _, r := range Nouns() {
		if seen[r.Noun()] {
			t.Errorf("%s twice", r.Noun())
		}
		seen[r.Noun()] = true
		if r.Base() == nil {
			t.Errorf("%s has no base", r.Noun())
		}
	}
}

func TestCanaryTarget(t *testing.T) {
	for _, c := range []struct {
		d                Deployment
		canary, original int
	}{
		{Deployment{Original: 4, Target: 4}, 1, 4},
		{Deployment{Original: 10, Target: 10, CanarySteps: []int{20, 50, 100}, CanaryStep: 1}, 2, 9},
		{Deployment{Original: 10, Target: 10, CanarySteps: []int{20, 50, 100}, CanaryStep: 2}, 5, 6},
		{Deployment{Original: 10, Target: 10, CanarySteps: []int{20, 50, 100}, CanaryStep: 3}, 10, 0},
		{Deployment{Original: 2, Target: 2, CanarySteps: []int{1}}, 1, 2},
		{Deployment{Original: 10, Target: 4, CanarySteps: []int{50}, CanaryStep: 9}, 2, 3},
	} {
		if canary, original := c.d.CanaryTarget(); canary != c.canary || original != c.original {
			t.Errorf("%+v: %d new and %d old, want %d and %d", c.d, canary, original, c.canary, c.original)
		}
	}
}
