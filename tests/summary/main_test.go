package main

import (
	"strings"
	"testing"
)

func TestSummarize(t *testing.T) {
	for _, c := range []struct {
		name, in string
		ok       bool
		want     []string
	}{
		{"all pass", `{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Elapsed":1.5}`, true, []string{"ok p 1.5s\n", "1 passed, 0 failed, 0 skipped\n"}},
		{"a failure shows its output", `{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: it broke\n"}
{"Action":"fail","Package":"p","Test":"TestA"}`, false, []string{"it broke\n", "0 passed, 1 failed, 0 skipped\n"}},
		{"a skip tells its reason", `{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: needs root\n"}
{"Action":"skip","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestB"}`, true, []string{"skipped p TestA: needs root\n", "1 passed, 0 failed, 1 skipped\n"}},
		{"nothing ran", ``, false, []string{"0 passed, 0 failed, 0 skipped\n"}},
		{"a package that does not build", `{"Action":"build-output","ImportPath":"p","Output":"p.go:1: undefined: x\n"}
{"Action":"build-fail","ImportPath":"p"}
{"Action":"pass","Package":"q","Test":"TestB"}`, false, []string{"undefined: x\n", "1 passed, 1 failed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			ok, err := summarize(strings.NewReader(c.in), &out)
			if err != nil || ok != c.ok {
				t.Errorf("ok %v, error %v", ok, err)
			}
			for _, w := range c.want {
				if !strings.Contains(out.String(), w) {
					t.Errorf("printed %q, want %q in it", out.String(), w)
				}
			}
		})
	}
}
