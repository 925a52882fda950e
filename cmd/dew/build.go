package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/stager"
	"github.com/dewpaas/dew/stager/goroot"
)

// buildCmd is `dew build`.
type buildCmd struct {
	Source  string   `arg:"" default:"." help:"Folder with a go.mod, or a main package as PACKAGE@VERSION."`
	Output  string   `short:"o" placeholder:"FILE" help:"Droplet to write; by default NAME.dew." type:"path"`
	Package []string `placeholder:"PKG" help:"Main package to build, for example ./cmd/web; may be repeated."`
	JSON    bool     `name:"json" help:"Print the result as JSON."`
}

// Run builds a droplet and writes it to a file.
func (b *buildCmd) Run(ctx context.Context, c *console) error {
	begun := time.Now()
	dir, remove, err := scratch("build")
	if err != nil {
		return err
	}
	defer remove()
	store, err := droplet.OpenStore(dir)
	if err != nil {
		return err
	}
	d, err := buildDroplet(ctx, c, store, b.Source, b.Package)
	if err != nil {
		return err
	}
	out := b.Output
	if out == "" {
		out = defaultOutput(b.Source, d.Manifest().Programs)
	}
	if err := d.WriteFile(out); err != nil {
		return err
	}
	if b.JSON {
		return json.NewEncoder(c.out).Encode(map[string]any{"file": out, "digest": "sha256:" + d.Digest(), "size": d.Size(),
			"manifest": d.Manifest(), "seconds": time.Since(begun).Seconds()})
	}
	_, err = fmt.Fprintf(c.out, "%s  sha256:%s  %s\n", out, d.Digest(), megabytes(d.Size()))
	return err
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// defaultOutput names a droplet after its one program, else after its source.
func defaultOutput(from string, programs []droplet.Program) string {
	if len(programs) == 1 {
		return programs[0].Name + ".dew"
	}
	pkg, _, isModule := moduleSource(from)
	if !isModule {
		pkg, _ = filepath.Abs(from)
	}
	return path.Base(filepath.ToSlash(pkg)) + ".dew"
}

// moduleSource takes PACKAGE@VERSION apart. A folder that is there wins.
func moduleSource(s string) (pkg, version string, ok bool) {
	pkg, version, ok = strings.Cut(s, "@")
	if _, err := os.Stat(s); err == nil {
		return "", "", false
	}
	return pkg, version, ok
}

// buildDroplet builds from what the user named, and shows how it goes.
func buildDroplet(ctx context.Context, c *console, store *droplet.Store, from string, packages []string) (*droplet.Droplet, error) {
	builder, err := newBuilder(ctx)
	if err != nil {
		return nil, err
	}
	p := newProgress(c)
	defer p.end()
	r := &stager.Request{Packages: packages, Log: p, Step: p.step, Env: map[string]string{}}
	for _, k := range []string{"GO_INSTALL_PACKAGE_SPEC", "GO_LINKER_SYMBOL", "GO_LINKER_VALUE"} {
		if v, ok := os.LookupEnv(k); ok {
			r.Env[k] = v
		}
	}
	if _, _, ok := moduleSource(from); ok {
		r.Module = from
	} else {
		root, err := os.OpenRoot(from)
		if err != nil {
			return nil, fmt.Errorf("open the source: %w", err)
		}
		defer root.Close()
		r.Files = root.FS()
	}
	d, err := builder.Build(ctx, r, store)
	if !builder.Sandboxed() {
		p.note("dew: this user cannot make namespaces: built without a sandbox, which is fine for one's own source")
	}
	return d, explainBuild(err)
}

// explainBuild adds what the user can do. What the compiler said was printed.
func explainBuild(err error) error {
	switch {
	case errors.Is(err, stager.ErrCompile):
		return stager.ErrCompile
	case errors.Is(err, goroot.ErrNoGo), errors.Is(err, goroot.ErrVersion):
		return withHint(err, "install a supported Go from https://go.dev/dl/ and put its bin folder on PATH")
	}
	return err
}

// newBuilder makes a builder that works for this user: caches in the user's
// cache folder, proxies as the user's go command has them.
func newBuilder(ctx context.Context) (*stager.Builder, error) {
	cache, err := cacheDir("stager")
	if err != nil {
		return nil, err
	}
	env, err := goSettings(ctx)
	if err != nil {
		return nil, err
	}
	config := stager.Config{Cache: cache, Common: filepath.Dir(cache), SandboxOptional: true, Proxy: env.GOPROXY, SumDB: env.GOSUMDB, NoSumDB: env.GONOSUMDB}
	if env.GOMODCACHE != "" {
		config.Downloads = []string{filepath.Join(env.GOMODCACHE, "cache", "download")}
	}
	b, err := stager.New(ctx, config)
	return b, explainBuild(err)
}

// settings are what this user's go command says of module proxies.
type settings struct{ GOPROXY, GOSUMDB, GONOSUMDB, GOMODCACHE string }

// goSettings asks the go command; without one there are none.
func goSettings(ctx context.Context) (s settings, err error) {
	out, err := exec.CommandContext(ctx, "go", "env", "-json", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOMODCACHE").Output()
	if err != nil {
		return s, nil // whoever builds says what is wrong with Go
	}
	if err := json.Unmarshal(out, &s); err != nil {
		return s, fmt.Errorf("read go env: %w", err)
	}
	return s, nil
}

// cacheDir returns a folder of the user's for what can be made again.
func cacheDir(name string) (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, "dew", name)
	return dir, os.MkdirAll(dir, 0o700)
}
