package stager

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// evil is a program that tells when it is run, and stops the build.
const evil = "#!/bin/sh\necho EVIL RAN >&2\nexit 1\n"

const generates = "package main\n\n//go:generate /stage/src/evil\n"

// commandeered is environment by which the go command can be made to run a
// program of the package, to take another toolchain, or to ask others for code.
func commandeered(evil string) map[string]string {
	return map[string]string{"GOFLAGS": "-toolexec=" + evil, "GOCACHEPROG": evil, "GOENV": evil, "GOROOT": "/stage/src", "GOTOOLCHAIN": "go1.99.0+path", "PATH": "/stage/src",
		"GOPROXY": "direct", "GOSUMDB": "off", "GONOSUMDB": "*", "GOINSECURE": "*", "GOVCS": "*:all", "GOWORK": "/stage/src/go.work", "CGO_ENABLED": "1", "CC": evil, "AR": evil, "PKG_CONFIG": evil,
		"CGO_CFLAGS": "-fplugin=" + evil, "GO_EXTLINK_ENABLED": "1", "GOAUTH": "command " + evil, "GIT_SSH_COMMAND": evil, "LD_PRELOAD": evil, "GOOS": "plan9", "GOARCH": "arm64",
		"GOGCCFLAGS": evil, "GOTOOLDIR": "/stage/src", "GOCACHE": "/stage/src", "GOMODCACHE": "/stage/src", "GOBIN": "/stage/src", "TMPDIR": "/stage/src", "HOME": "/stage/src", "GODEBUG": "execerrdot=0"}
}

// takesOver is source that tries to give the go command orders of its own.
func takesOver() fstest.MapFS {
	m := simple.with(tree{
		"go.env":                       "GOFLAGS=-toolexec=/stage/src/evil\nGOTOOLCHAIN=go1.99.0\n",
		".config/go/env":               "GOFLAGS=-toolexec=/stage/src/evil\n",
		"go.work":                      "go 1.26\n\ntoolchain go1.99.0\n\nuse /etc\n",
		"pkg/tool/linux_amd64/compile": evil, "bin/go": evil, "compile": evil, "link": evil, "asm": evil, "gcc": evil,
		"gen.go": generates,
	}).fs()
	for _, name := range []string{"evil", "bin/go", "compile", "link", "asm", "gcc", "pkg/tool/linux_amd64/compile"} {
		m[name] = &fstest.MapFile{Data: []byte(evil), Mode: 0o755}
	}
	return m
}

// A package, and an app's environment, cannot make a build run anything of theirs.
func TestNothingOfThePackageIsRun(t *testing.T) {
	plain := build(t, &Request{Files: simple.with(tree{"gen.go": generates}).fs()})
	var log bytes.Buffer
	d, err := workshop(t).Build(t.Context(), &Request{Files: takesOver(), Env: commandeered("/stage/src/evil"), Log: &log}, store(t))
	if err != nil || strings.Contains(log.String(), "EVIL") {
		t.Fatalf("%v\n%s", err, log.String())
	}
	if ours, theirs := plain.Manifest().Programs[0].SHA256, d.Manifest().Programs[0].SHA256; ours != theirs {
		t.Error("another program was built than without the orders")
	}
}

// What the environment would do if it reached the go command: run what it names.
func TestTheEnvironmentWouldRunIt(t *testing.T) {
	b, err := New(t.Context(), Config{Cache: t.TempDir(), Common: workshop(t).c.Common, NoSandbox: true})
	check(t, err)
	w, err := b.work(t.Context(), &Request{Files: takesOver()})
	check(t, err)
	defer w.remove()
	check(t, w.snapshot())
	path := filepath.Join(w.src(), "evil")
	for _, name := range []string{"GOFLAGS", "GOCACHEPROG"} {
		_, err = w.tool([]string{name + "=" + commandeered(path)[name]}, "build", "errors")
		if err == nil || !strings.Contains(err.Error(), "EVIL RAN") && !strings.Contains(err.Error(), "GOCACHEPROG") {
			t.Errorf("%s: %v: the test above proves nothing", name, err)
		}
	}
}

func TestHostilePackages(t *testing.T) {
	line := "package main\n\nimport \"os\"\n\n"
	doubled := line + "const c0 = \"0123456789abcdef\"\n"
	for i := range 40 {
		doubled += fmt.Sprintf("const c%d = c%d + c%d\n", i+1, i, i)
	}
	main := "\nfunc main() { os.Stdout.WriteString(\"x\") }\n"
	for name, c := range map[string]struct {
		files tree
		kind  error // nil: it builds
		says  string
	}{
		"toolchain that is not here":      {tree{"go.mod": mod + "\ntoolchain go1.99.0\n", "main.go": program("x")}, nil, ""},
		"module with the name of a flag":  {tree{"go.mod": "module -toolexec=/stage/src/evil\n", "main.go": program("x")}, ErrCompile, "malformed module path"},
		"module that says it is std":      {tree{"go.mod": "module std\n\ngo 1.26\n", "main.go": program("x")}, ErrNoMain, "not an importable package"},
		"module that says it is cmd":      {tree{"go.mod": "module cmd\n\ngo 1.26\n", "go/main.go": program("x")}, ErrNoMain, "ambiguous import"},
		"replace that goes up":            {tree{"go.mod": mod + "\nrequire example.com/dep v1.0.0\n\nreplace example.com/dep => ../../../../etc\n", "main.go": "package main\n\nimport _ \"example.com/dep\"\n\nfunc main() {}\n"}, ErrCompile, "etc"},
		"tool of a module":                {tree{"go.mod": mod + "\ntool example.com/app/evil\n", "main.go": program("x"), "evil/main.go": program("evil")}, nil, ""},
		"cgo with orders":                 {tree{"go.mod": mod, "main.go": "package main\n\n// #cgo CFLAGS: -fplugin=/stage/src/evil.so\n// #cgo LDFLAGS: -Wl,-rpath,/ -fuse-ld=/stage/src/evil\n// #cgo pkg-config: --evil\nimport \"C\"\n\nfunc main() {}\n"}, ErrCgo, ""},
		"orders to the linker":            {tree{"go.mod": mod, "main.go": "package main\n\nimport \"os\"\n\n//go:cgo_ldflag \"-Wl,evil\"\n" + main}, ErrCompile, "cgo-generated"},
		"an object that is no object":     {tree{"go.mod": mod, "main.go": program("x"), "x_linux_amd64.syso": "\x7fELF" + strings.Repeat("\xff", 200)}, ErrCompile, ""},
		"assembly that reads the host":    {tree{"go.mod": mod, "main.go": program("x"), "x_amd64.s": "#include \"/etc/passwd\"\n"}, ErrCompile, "no such file"},
		"assembly that includes itself":   {tree{"go.mod": mod, "main.go": program("x"), "x_amd64.s": "#include \"x_amd64.s\"\n"}, ErrCompile, ""},
		"embed of the host":               {tree{"go.mod": mod, "main.go": "package main\n\nimport (\n\t_ \"embed\"\n\t\"os\"\n)\n\n//go:embed /etc/passwd\nvar x string\n" + main}, ErrCompile, "invalid pattern"},
		"profile that is no profile":      {tree{"go.mod": mod, "main.go": program("x"), "default.pgo": strings.Repeat("\xff", 1000)}, ErrCompile, ""},
		"constants that double":           {tree{"go.mod": mod, "main.go": doubled + "\nfunc main() { os.Stdout.WriteString(c40) }\n"}, nil, "?"},
		"a huge array":                    {tree{"go.mod": mod, "main.go": line + "var x [1 << 50]byte\n\nfunc main() { os.Stdout.Write(x[:1]) }\n"}, ErrCompile, "larger than address space"},
		"a shift without end":             {tree{"go.mod": mod, "main.go": line + "const x = 1 << 1000000\n" + main}, ErrCompile, ""},
		"generics without end":            {tree{"go.mod": mod, "main.go": line + "type t[p any] struct{}\n\nfunc f[p any](n int) {\n\tif n > 0 {\n\t\tf[t[p]](n - 1)\n\t}\n}\n\nfunc main() { f[int](9); os.Exit(0) }\n"}, ErrCompile, "instantiation cycle"},
		"parentheses without end":         {tree{"go.mod": mod, "main.go": line + "var x = " + strings.Repeat("(", 1_000_000) + "1" + strings.Repeat(")", 1_000_000) + "\n" + main}, nil, "?"},
		"a line without end":              {tree{"go.mod": mod, "main.go": line + "//" + strings.Repeat("x", 4<<20) + main}, nil, ""},
		"imports in a circle":             {tree{"go.mod": mod, "main.go": "package main\n\nimport _ \"example.com/app/a\"\n\nfunc main() {}\n", "a/a.go": "package a\n\nimport _ \"example.com/app/b\"\n", "b/b.go": "package b\n\nimport _ \"example.com/app/a\"\n"}, ErrCompile, "import cycle"},
		"names of flags":                  {simple.with(tree{"-o.txt": "x", "-toolexec=evil": "x", "-x/y.txt": "x"}), nil, ""},
		"a Go file with the name of one":  {simple.with(tree{"-o.go": "package main\n"}), ErrCompile, "invalid input"},
		"names with blanks and more":      {simple.with(tree{"a b.txt": "x", "é.txt": "x", "a\nb.txt": "x", "\x1b[2J": "x", "'\"$(id).txt": "x"}), nil, ""},
		"a Go file with such a name":      {simple.with(tree{"a\nb.go": "package main\n"}), nil, ""},
		"a name that no file system has":  {simple.with(tree{strings.Repeat("x", 300): "x"}), ErrSource, "too long"},
		"folders deeper than a path goes": {simple.with(tree{strings.Repeat("d/", 2040) + "x": "x"}), ErrSource, "too long"},
		"folders, deep":                   {simple.with(tree{strings.Repeat("d/", 500) + "x": "x"}), nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			limits := Limits{Memory: 512 << 20, PIDs: 256, Disk: 256 << 20, Log: 1 << 20}
			if os.Geteuid() != 0 {
				limits.Memory, limits.PIDs = 0, 0
				if name == "constants that double" {
					t.Skip("needs root, to limit memory")
				}
			}
			d, err := workshop(t).Build(t.Context(), &Request{Files: c.files.fs(), Log: &log, Limits: limits}, store(t))
			if c.says == "?" { // refused, or stopped at the limit: it must end
				if err != nil && !errors.Is(err, ErrCompile) && !errors.Is(err, ErrLimit) {
					t.Error(err)
				}
				return
			}
			if c.kind == nil && err != nil || c.kind != nil && !errors.Is(err, c.kind) || err != nil && !strings.Contains(err.Error(), c.says) || (d == nil) == (err == nil) {
				t.Errorf("%v, want %v %q\n%.2000s", err, c.kind, c.says, log.String())
			}
			if log.Len() > 2<<20 || strings.Contains(log.String(), "root:x:0") {
				t.Errorf("a log of %d bytes: %.2000s", log.Len(), log.String())
			}
		})
	}
}

// Links in a package lead nowhere but into it, wherever they are met.
func TestLinksOfAPackage(t *testing.T) {
	embeds := "package main\n\nimport (\n\t_ \"embed\"\n\t\"os\"\n)\n\n//go:embed x\nvar x string\n\nfunc main() { os.Stdout.WriteString(x) }\n"
	vendored := tree{"go.mod": mod + "\nrequire example.com/dep v1.2.3\n", "main.go": "package main\n\nimport _ \"example.com/dep\"\n\nfunc main() {}\n", "go.sum": "",
		"vendor/modules.txt": "# example.com/dep v1.2.3\n## explicit; go 1.26\nexample.com/dep\n"}
	for name, c := range map[string]struct {
		files tree
		links map[string]string
		kind  error
		says  string
	}{
		"embedded, to the host":    {tree{"go.mod": mod, "main.go": embeds}, map[string]string{"x": "/etc/passwd"}, ErrSource, "leads out"},
		"embedded, to the package": {tree{"go.mod": mod, "main.go": embeds, "y": "y"}, map[string]string{"x": "y"}, ErrCompile, "irregular file"},
		"vendored, to the host":    {vendored, map[string]string{"vendor/example.com/dep": "../../../../../etc"}, ErrSource, "leads out"},
		"source, to the host":      {tree{"go.mod": mod, "a.go": "package main\n"}, map[string]string{"main.go": "../../../../../../etc/passwd"}, ErrSource, "leads out"},
		"go.mod, to itself":        {tree{"main.go": program("x")}, map[string]string{"go.mod": "go.mod"}, ErrNoMain, ""},
		"two in a circle":          {simple, map[string]string{"a": "b", "b": "a"}, nil, ""},
	} {
		dir := t.TempDir()
		check(t, os.CopyFS(dir, c.files.fs()))
		for _, link := range slices.Sorted(maps.Keys(c.links)) {
			check(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, link)), 0o755))
			check(t, os.Symlink(c.links[link], filepath.Join(dir, link)))
		}
		_, err := workshop(t).Build(t.Context(), &Request{Files: os.DirFS(dir)}, store(t))
		if c.kind == nil && err != nil || c.kind != nil && !errors.Is(err, c.kind) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v %q", name, err, c.kind, c.says)
		}
	}
}
