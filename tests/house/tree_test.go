package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const modulePath = "github.com/dewpaas/dew"

// goPackage is one folder with Go files, as parsed.
type goPackage struct {
	dir   string // slash path below the root, "" is the root
	files map[string]*ast.File
}

// tree is the parsed repository, read once.
var tree = sync.OnceValues(func() (map[string]*goPackage, error) {
	root := os.DirFS(rootDir)
	packages := map[string]*goPackage{}
	fset := token.NewFileSet()
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipDir(d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		src, err := fs.ReadFile(root, p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, p, src, parser.ParseComments)
		if err != nil {
			return err
		}
		dir := path.Dir(p)
		if dir == "." {
			dir = ""
		}
		if packages[dir] == nil {
			packages[dir] = &goPackage{dir: dir, files: map[string]*ast.File{}}
		}
		packages[dir].files[path.Base(p)] = f
		return nil
	})
	return packages, err
})

// skipDir names folders that are not Go packages of ours: what the go tool
// ignores, and modules of their own below testdata.
func skipDir(name string) bool {
	return name != "." && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata")
}

var rootDir = filepath.Join("..", "..")

func packagesOf(t *testing.T) map[string]*goPackage {
	t.Helper()
	p, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	if len(p) < 4 {
		t.Fatalf("read only %d packages from %s: the walk is broken", len(p), rootDir)
	}
	return p
}

func isTest(name string) bool { return strings.HasSuffix(name, "_test.go") }
