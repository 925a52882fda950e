package stager

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"github.com/dewpaas/dew/droplet"
)

// plan is what to build and how it is started.
type plan struct {
	programs  []target
	processes map[string]string // from the Procfile, or web alone
}

// target is one main package.
type target struct {
	name string // of the program
	path string // import path
}

// plan finds the main packages to build:
//
//   - those that are asked for, by Packages or GO_INSTALL_PACKAGE_SPEC; else
//   - those that the Procfile names, and one in the root folder; else
//   - the one in the root folder; else
//   - all.
func (w *work) plan() (*plan, error) {
	if w.Module != "" {
		return w.planModule()
	}
	if err := w.detect(); err != nil {
		return nil, err
	}
	processes, err := w.procfile()
	if err != nil {
		return nil, err
	}
	specs := w.Packages
	if len(specs) == 0 {
		specs = strings.Fields(w.Env["GO_INSTALL_PACKAGE_SPEC"])
	}
	all, err := w.mains(specs)
	if err != nil {
		return nil, err
	}
	p := &plan{programs: all, processes: processes}
	if len(specs) == 0 {
		mod, err := w.read("go.mod", maxGoMod)
		if err != nil {
			return nil, err
		}
		if p.programs, err = choose(all, processes, modfile.ModulePath(mod)); err != nil {
			return nil, err
		}
	}
	return p, p.finish(w.log)
}

// planModule is for PACKAGE@VERSION.
func (w *work) planModule() (*plan, error) {
	pkg, version, ok := strings.Cut(w.Module, "@")
	if err := module.CheckImportPath(pkg); err != nil || !ok || version == "" {
		return nil, because(ErrSource, "%q: want PACKAGE@VERSION, for example example.com/cmd/web@v1.2.3", w.Module)
	}
	if strings.Trim(version, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.+_/") != "" {
		return nil, because(ErrSource, "version %q", version)
	}
	p := &plan{programs: []target{{programName(pkg), pkg}}}
	return p, p.finish(w.log)
}

// detect tells early, and in words, what cannot be built.
func (w *work) detect() error {
	var code, mod, binary bool
	nested := ""
	for _, s := range w.sources {
		switch {
		case s.name == "go.mod":
			mod = true
		case strings.HasSuffix(s.name, ".go"):
			code = true
		case path.Base(s.name) == "go.mod" && (nested == "" || len(s.name) < len(nested)):
			nested = s.name
		}
		binary = binary || s.target == "" && s.size > 64 && strings.Count(s.name, "/") < 2 && w.isELF(s.name)
	}
	switch {
	case mod && code:
		return nil
	case binary && !code:
		return w.prebuilt()
	case !code:
		return because(ErrNotGo, "there is no .go file. Dew builds Go modules: push a folder with a go.mod and a main package")
	case nested != "":
		return because(ErrNotGo, "the go.mod is not in the folder that was given but in %s: give that one", path.Dir(nested))
	}
	return because(ErrNotGo, "there is Go code, but no go.mod. Remedy: go mod init NAME && go mod tidy")
}

const (
	maxProcfile = 64 << 10
	maxGoMod    = 16 << 20
)

var procfileLine = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9_-]*)\s*:\s+(.+)$`)

// procfile reads "type: command" lines; nil where there is no Procfile.
func (w *work) procfile() (map[string]string, error) {
	b, err := w.read("Procfile", maxProcfile)
	if b == nil || err != nil {
		return nil, err
	}
	return parseProcfile(b)
}

func parseProcfile(b []byte) (map[string]string, error) {
	processes := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' || line == "---" {
			continue
		}
		m := procfileLine.FindStringSubmatch(line)
		if m == nil {
			return nil, because(ErrSource, "Procfile line %d: %q is not TYPE: COMMAND", n, line)
		}
		command := strings.TrimSpace(m[2])
		// Some write YAML, in which a whole value may be quoted.
		if q := command[0]; len(command) > 1 && (q == '"' || q == '\'') && strings.IndexByte(command[1:], q) == len(command)-2 {
			command = command[1 : len(command)-1]
		}
		if strings.ContainsFunc(command, func(r rune) bool { return unicode.IsControl(r) && r != '\t' || r == utf8.RuneError }) {
			return nil, because(ErrSource, "Procfile line %d: %q has control characters", n, line)
		}
		if _, ok := processes[m[1]]; ok {
			return nil, because(ErrSource, "Procfile line %d: a second %s", n, m[1])
		}
		processes[m[1]] = command
	}
	if err := lines.Err(); err != nil {
		return nil, because(ErrSource, "Procfile: %v", err)
	}
	return processes, nil
}

// mains asks the go command for the main packages among specs; none: all.
func (w *work) mains(specs []string) ([]target, error) {
	for _, s := range specs {
		if strings.HasPrefix(s, "-") || strings.Contains(s, "@") {
			return nil, because(ErrSource, "%q is no package of this source", s)
		}
	}
	patterns := specs
	if len(patterns) == 0 {
		patterns = []string{"./..."}
	}
	out, err := w.tool(nil, append([]string{"list", "-e", "-find", "-json=ImportPath,Name,Error"}, patterns...)...)
	if err != nil {
		return nil, err
	}
	var all []target
	var last string // why a package that was asked for is none
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, Name string
			Error            *struct{ Err string }
		}
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the list of packages: %w", err)
		}
		switch {
		case p.Name == "main":
			all = append(all, target{programName(p.ImportPath), p.ImportPath})
		case p.Error != nil:
			last = p.Error.Err
		default:
			last = fmt.Sprintf("%s is package %s", p.ImportPath, p.Name)
		}
	}
	if len(all) == 0 {
		if err := w.cgo(patterns); err != nil {
			return nil, err
		}
		return nil, because(ErrNoMain, "%s", last)
	}
	return all, nil
}

// programName is what the go command calls the program of a main package.
func programName(importPath string) string {
	base := path.Base(importPath)
	if prefix, version, ok := module.SplitPathVersion(importPath); ok && version != "" && strings.HasPrefix(version, "/") {
		return path.Base(prefix)
	}
	return base
}

// choose takes those that a Procfile names, or the one of the root folder, or all.
func choose(all []target, processes map[string]string, module string) ([]target, error) {
	root := slices.IndexFunc(all, func(t target) bool { return t.path == module })
	if len(processes) == 0 {
		if root >= 0 {
			return all[root : root+1], nil
		}
		return all, nil
	}
	var chosen []target
	for _, kind := range slices.Sorted(maps.Keys(processes)) {
		name, err := droplet.CommandName(processes[kind])
		if err != nil {
			return nil, because(ErrSource, "Procfile, %s: %v", kind, err)
		}
		found := slices.DeleteFunc(slices.Clone(all), func(t target) bool { return t.name != name })
		switch {
		case len(found) == 0:
			return nil, because(ErrNoMain, "the Procfile starts %q for %s, and only Go programs of this module can be started: %s", name, kind, names(all))
		case len(found) > 1:
			return nil, because(ErrSource, "the Procfile starts %q for %s, which several packages build: %s", name, kind, strings.Join(paths(found), ", "))
		case !slices.Contains(chosen, found[0]):
			chosen = append(chosen, found[0])
		}
	}
	if root >= 0 && !slices.Contains(chosen, all[root]) {
		chosen = append(chosen, all[root])
	}
	return chosen, nil
}

// finish decides what web starts, and refuses what a droplet could not hold.
func (p *plan) finish(log io.Writer) error {
	slices.SortFunc(p.programs, func(a, b target) int { return strings.Compare(a.name, b.name) })
	for i, t := range p.programs {
		if i > 0 && p.programs[i-1].name == t.name {
			return because(ErrSource, "two programs are called %q: %s and %s", t.name, p.programs[i-1].path, t.path)
		}
	}
	if len(p.programs) > droplet.MaxPrograms {
		return because(ErrSource, "there are %d main packages, more than %d. Say which to build, in GO_INSTALL_PACKAGE_SPEC or a Procfile", len(p.programs), droplet.MaxPrograms)
	}
	if p.processes != nil {
		return nil
	}
	p.processes = map[string]string{}
	for _, t := range p.programs {
		if len(p.programs) == 1 || t.name == "web" {
			p.processes["web"] = t.name
		}
	}
	if len(p.processes) == 0 {
		fmt.Fprintf(log, "there are several programs and no Procfile, so the process type web has no command: %s\n", names(p.programs))
	}
	return nil
}

func names(list []target) string {
	var s []string
	for _, t := range list {
		s = append(s, t.name)
	}
	slices.Sort(s)
	return strings.Join(slices.Compact(s), ", ")
}

func paths(list []target) []string {
	var s []string
	for _, t := range list {
		s = append(s, t.path)
	}
	return s
}
