package house

import (
	"go/ast"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for dir, p := range packagesOf(t) {
		if onlyTests(p) || dir == "" {
			continue
		}
		f := p.files["doc.go"]
		switch {
		case f == nil || f.Doc == nil:
			t.Errorf("%s has no doc.go with a package comment", dir)
		case f.Name.Name == "main" && !strings.HasPrefix(f.Doc.Text(), "Command "+path.Base(dir)+" "):
			t.Errorf("%s/doc.go does not begin with %q", dir, "Command "+path.Base(dir))
		case f.Name.Name != "main" && !strings.HasPrefix(f.Doc.Text(), "Package "+f.Name.Name+" "):
			t.Errorf("%s/doc.go does not begin with %q", dir, "Package "+f.Name.Name)
		}
	}
}

func onlyTests(p *goPackage) bool {
	for name := range p.files {
		if !isTest(name) {
			return false
		}
	}
	return true
}

func TestArchitectureNamesEveryPackage(t *testing.T) {
	text := readDoc(t, "ARCHITECTURE.md")
	for dir, p := range packagesOf(t) {
		// Guests of tests are programs, not parts of the platform.
		if dir == "" || onlyTests(p) || strings.HasPrefix(dir, "tests/") {
			continue
		}
		if !strings.Contains(text, "`"+dir+"`") {
			t.Errorf("ARCHITECTURE.md has no row for `%s`", dir)
		}
	}
	table, _, found := strings.Cut(text, "\n## Who may import whom")
	if !found {
		t.Fatal("ARCHITECTURE.md has no import table: its heading is where the list of packages ends")
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9/_-]+)` \\|").FindAllStringSubmatch(table, -1) {
		if _, err := os.Stat(filepath.Join(rootDir, m[1])); err != nil {
			t.Errorf("ARCHITECTURE.md has a row for `%s`, which does not exist", m[1])
		}
	}
}

// docPath finds what reads like a path of this repository in prose: a known
// top folder, a slash and a file with an ending, or a Markdown file.
var docPath = regexp.MustCompile(`(?:^|[\s` + "`" + `(\[])((?:abi|api|bench|bus|cell|cf|cmd|docs|droplet|examples|firewall|guest|router|scheduler|sim|stager|store|tender|tests|vnet|web)/[A-Za-z0-9_./-]*\.(?:go|s|md|txt|json|sh|S))\b`)

func TestPathsInDocumentsExist(t *testing.T) {
	for name, text := range documents(t) {
		for _, m := range docPath.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(rootDir, m[1])); err != nil {
				t.Errorf("%s names %s, which does not exist", name, m[1])
			}
		}
	}
}

func TestPathsInCommentsExist(t *testing.T) {
	for dir, p := range packagesOf(t) {
		for name, f := range p.files {
			for _, group := range f.Comments {
				for _, m := range docPath.FindAllStringSubmatch(group.Text(), -1) {
					if _, err := os.Stat(filepath.Join(rootDir, m[1])); err != nil {
						t.Errorf("%s/%s names %s, which does not exist", dir, name, m[1])
					}
				}
			}
		}
	}
}

var bannedFolders = []string{"util", "utils", "common", "helpers", "helper", "misc", "types", "models", "model", "pkg", "base", "shared", "lib"}

func TestNoFolderIsADumpingGround(t *testing.T) {
	for dir := range packagesOf(t) {
		for _, part := range strings.Split(dir, "/") {
			if slices.Contains(bannedFolders, part) {
				t.Errorf("%s: a folder is named after what it holds, not %q", dir, part)
			}
		}
		if dir == "internal" || strings.HasPrefix(dir, "internal/") {
			t.Errorf("%s: no internal folder at the top: secrets of one room go below that room", dir)
		}
	}
}

// TestFuzzTargetsHaveSeeds: a fuzz target without a seed tests nothing in an
// ordinary run of the tests.
func TestFuzzTargetsHaveSeeds(t *testing.T) {
	for dir, p := range packagesOf(t) {
		for name, f := range p.files {
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || !isTest(name) || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Fuzz") {
					continue
				}
				if !callsAdd(fn) && !hasCorpus(dir, fn.Name.Name) {
					t.Errorf("%s/%s: %s has no seeds", dir, name, fn.Name.Name)
				}
			}
		}
	}
}

func callsAdd(fn *ast.FuncDecl) bool {
	found := false
	ast.Inspect(fn, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Add" {
				found = true
			}
		}
		return !found
	})
	return found
}

func hasCorpus(dir, name string) bool {
	entries, err := os.ReadDir(filepath.Join(rootDir, dir, "testdata", "fuzz", name))
	return err == nil && len(entries) > 0
}

func readDoc(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(rootDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func documents(t *testing.T) map[string]string {
	t.Helper()
	docs := map[string]string{}
	err := fs.WalkDir(os.DirFS(rootDir), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipDir(d.Name()):
			return fs.SkipDir
		case strings.HasSuffix(p, ".md"):
			docs[p] = readDoc(t, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return docs
}
