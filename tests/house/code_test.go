package house

import (
	"go/ast"
	"strings"
	"testing"
)

// TestOnlyMainExits: libraries return errors. Guest code may end its guest.
func TestOnlyMainExits(t *testing.T) {
	for dir, p := range packagesOf(t) {
		room, _, _ := strings.Cut(dir, "/")
		for name, f := range p.files {
			if isTest(name) || f.Name.Name == "main" || room == "guest" {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				x, ok := sel.X.(*ast.Ident)
				if ok && (x.Name == "os" && sel.Sel.Name == "Exit" || x.Name == "log" && strings.HasPrefix(sel.Sel.Name, "Fatal")) {
					t.Errorf("%s/%s calls %s.%s: only cmd exits", dir, name, x.Name, sel.Sel.Name)
				}
				return true
			})
		}
	}
}

// TestNoInit: the order of the program is written in main. The guest's hooks
// into the runtime are the exception: nothing else runs early enough.
func TestNoInit(t *testing.T) {
	for dir, p := range packagesOf(t) {
		for name, f := range p.files {
			if isTest(name) || strings.HasPrefix(dir, "guest/") || strings.HasPrefix(dir, "tests/") {
				continue
			}
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s/%s has an init function", dir, name)
				}
			}
		}
	}
}

// TestTestsDoNotSleep: a test that sleeps is slow on a fast machine and wrong
// on a slow one. testing/synctest makes Sleep virtual, so files that use it
// are left alone.
func TestTestsDoNotSleep(t *testing.T) {
	for dir, p := range packagesOf(t) {
		for name, f := range p.files {
			if !isTest(name) || imports(f, "testing/synctest") {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && sel.Sel.Name == "Sleep" {
						t.Errorf("%s/%s sleeps: wait for the condition with a deadline", dir, name)
					}
				}
				return true
			})
		}
	}
}

func imports(f *ast.File, path string) bool {
	for _, s := range f.Imports {
		if s.Path.Value == `"`+path+`"` {
			return true
		}
	}
	return false
}
