package goroot

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	dew "github.com/dewpaas/dew"
	"github.com/dewpaas/dew/guest/shadow"
)

const (
	module = "github.com/dewpaas/dew/"
	// linked is where the library OS lies in the shadow: std may import what is
	// below internal, and no user's module can be there.
	linked = "internal/dew/"
)

// files are the shadow's own: paths below src to contents.
func (i Installed) files() (map[string]string, error) {
	files := map[string]string{}
	sources := dew.Sources()
	for _, e := range shadow.Edits() {
		if err := i.edit(files, sources, e); err != nil {
			return nil, err
		}
	}
	if err := add(files, sources, "guest/shadow/_std", ""); err != nil {
		return nil, err
	}
	for _, room := range []string{"abi", "guest"} {
		if err := add(files, sources, room, linked+room); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// edit applies one edit to a file of the installed standard library.
func (i Installed) edit(files map[string]string, sources fs.FS, e shadow.Edit) error {
	if _, err := fs.Stat(sources, "guest/socket"); err != nil && strings.Contains(e.New, linked+"guest/socket") {
		return nil // this library OS has no sockets
	}
	text, ok := files[e.File]
	if !ok {
		b, err := os.ReadFile(filepath.Join(i.Dir, "src", e.File))
		if err != nil {
			return fmt.Errorf("read the standard library: %w", err)
		}
		text = string(b)
	}
	if n := strings.Count(text, e.Old); n != 1 {
		return fmt.Errorf("%w: %s in %s is not as its makers released it: %q stands %d times in %s; supported are %s",
			ErrVersion, i.Version, i.Dir, e.Old, n, e.File, supported())
	}
	files[e.File] = strings.Replace(text, e.Old, e.New, 1)
	return nil
}

// add takes the Go and assembly files below a folder, as they are seen in a
// guest, without tests and without the folders that the go tool ignores.
func add(files map[string]string, sources fs.FS, from, to string) error {
	return fs.WalkDir(sources, from, func(name string, d fs.DirEntry, err error) error {
		switch base := path.Base(name); {
		case err != nil:
			return err
		case d.IsDir() && name != from && (base == "testdata" || base[0] == '_' || name == "guest/shadow"):
			return fs.SkipDir
		case d.IsDir() || strings.HasSuffix(base, "_test.go"):
			return nil
		case !strings.HasSuffix(base, ".go") && !strings.HasSuffix(base, ".s"):
			return nil
		}
		b, err := fs.ReadFile(sources, name)
		if err != nil {
			return err
		}
		if text, ok := inGuest(string(b)); ok {
			files[path.Join(to, strings.TrimPrefix(name, from+"/"))] = text
		}
		return nil
	})
}

// inGuest resolves the build tag dewguest, which no go command sets, so that a
// user's -tags cannot either, and the import paths.
func inGuest(text string) (string, bool) {
	if strings.Contains(text, "//go:build !dewguest\n") {
		return "", false
	}
	text = strings.Replace(text, "//go:build dewguest\n", "", 1)
	return strings.ReplaceAll(text, `"`+module, `"`+linked), true
}
