package stager

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// compile builds the programs into the out folder.
func (w *work) compile(p *plan) error {
	packages := paths(p.programs)
	if w.Module != "" {
		packages = []string{w.Module}
	}
	err := w.install(packages...)
	if errors.Is(err, ErrCompile) {
		if cgo := w.cgo(paths(p.programs)); cgo != nil {
			return cgo
		}
	}
	return err
}

func (w *work) install(packages ...string) error {
	flags, err := w.linkerFlags()
	if err != nil {
		return err
	}
	_, err = w.tool(nil, append([]string{"install", "-trimpath", "-buildvcs=false", "-ldflags=" + flags}, packages...)...)
	return err
}

// importOS is a file that makes a main package import package os, and with it
// the library OS.
const importOS = "package main\n\nimport _ \"os\"\n"

// addOS builds a program again that came without the library OS, since nothing
// of it imports package os: the snapshot of its package gets one file more.
func (w *work) addOS(t target) error {
	if w.Module != "" {
		return because(ErrSource, "nothing in it imports package os, which the library OS comes with. Remedy: a folder with its source, in place of PACKAGE@VERSION")
	}
	out, err := w.tool(nil, "list", "-find", "-f", "{{.Dir}}", t.path)
	if err != nil {
		return err
	}
	dir := strings.TrimSpace(string(out))
	for _, src := range []string{inside.src, w.src()} {
		if d, err := filepath.Rel(src, dir); err == nil && filepath.IsLocal(d) {
			dir = d
		}
	}
	root, err := os.OpenRoot(w.src())
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := root.OpenFile(filepath.Join(dir, "dew_os.go"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return because(ErrSource, "nothing in it imports package os, which the library OS comes with, and no file can be added that does: %v", err)
	}
	_, err = f.WriteString(importOS)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return w.install(t.path)
}

var symbol = regexp.MustCompile(`^[A-Za-z0-9_./~-]+$`)

// linkerFlags strips the programs: Go's line table, which stacks and profiles
// need, stays. GO_LINKER_SYMBOL and GO_LINKER_VALUE set one variable.
func (w *work) linkerFlags() (string, error) {
	flags := "-s -w"
	name, value := w.Env["GO_LINKER_SYMBOL"], w.Env["GO_LINKER_VALUE"]
	if name == "" {
		return flags, nil
	}
	if !symbol.MatchString(name) || strings.ContainsAny(value, "'\n") {
		return "", because(ErrSource, "GO_LINKER_SYMBOL %q, GO_LINKER_VALUE %q: want a name, and a value without ' and line ends", name, value)
	}
	return flags + " '-X=" + name + "=" + value + "'", nil
}

// cgo looks for packages that are not of Go alone, to explain why a build
// without a C compiler failed.
func (w *work) cgo(patterns []string) error {
	args := append([]string{"list", "-e", "-deps", "-json=ImportPath,Standard,CgoFiles"}, patterns...)
	if w.Module != "" {
		return nil // the go command lists no packages of a module that is not here
	}
	quiet := *w
	quiet.log = &limitedLog{}
	out, err := quiet.tool([]string{"CGO_ENABLED=1"}, args...)
	if err != nil {
		return nil
	}
	var guilty []string
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var q struct {
			ImportPath string
			Standard   bool
			CgoFiles   []string
		}
		if err := d.Decode(&q); err != nil {
			break
		}
		if !q.Standard && len(q.CgoFiles) > 0 {
			guilty = append(guilty, q.ImportPath)
		}
	}
	if len(guilty) == 0 {
		return nil
	}
	return because(ErrCgo, "%s imports \"C\", and a droplet holds Go code only. Remedy: a package without cgo", strings.Join(guilty, ", "))
}

// isELF tells whether a file of the snapshot is a program.
func (w *work) isELF(name string) bool {
	f, err := os.OpenInRoot(w.src(), name)
	if err != nil {
		return false
	}
	defer f.Close()
	magic := make([]byte, 4)
	_, err = f.ReadAt(magic, 0)
	return err == nil && string(magic) == "\x7fELF"
}

// prebuilt explains what a finished program lacks.
func (w *work) prebuilt() error {
	i := slices.IndexFunc(w.sources, func(s source) bool { return s.size > 64 && strings.Count(s.name, "/") < 2 && w.isELF(s.name) })
	name := w.sources[i].name
	const why = "A droplet is linked together with the library OS, which replaces the kernel below Go's standard library; a finished program has no place left for it."
	info, err := readBuildInfo(filepath.Join(w.src(), filepath.FromSlash(name)))
	if err != nil {
		return because(ErrPrebuilt, "%s is an ELF program, and not one of Go. %s Push the source of a Go program instead", name, why)
	}
	return because(ErrPrebuilt, "%s was built by %s from the Go package %s. %s Push its source instead: the folder with the go.mod", name, info.GoVersion, info.Path, why)
}

// readBuildInfo reads what the linker recorded, of a file that nobody checked.
func readBuildInfo(path string) (info *buildinfo.BuildInfo, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read build information: %v", p)
		}
	}()
	return buildinfo.ReadFile(path)
}
