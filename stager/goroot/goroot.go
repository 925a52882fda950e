package goroot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dewpaas/dew/guest/shadow"
)

// ErrNoGo is returned where no go command is found.
var ErrNoGo = errors.New("no go command on this machine")

// ErrVersion is returned for a Go that guest/shadow was not made for.
var ErrVersion = errors.New("unsupported Go")

// Installed is a Go toolchain as it came from its makers.
type Installed struct {
	Dir     string // its GOROOT
	Version string // "go1.26.8"
}

// Find looks for a Go toolchain: the go command of PATH, else the one in the
// folder where go.dev's archive is unpacked.
func Find(ctx context.Context) (Installed, error) {
	path, err := command("/usr/local/go/bin/go")
	if err != nil {
		return Installed{}, err
	}
	cmd := exec.CommandContext(ctx, path, "env", "-json", "GOROOT", "GOVERSION")
	// Settings of the user's must not matter, but where a wrapper looks for Go.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "GOENV=off", "GOTOOLCHAIN=local", "GOWORK=off", "GO111MODULE=off"}
	if goroot := os.Getenv("GOROOT"); goroot != "" {
		cmd.Env = append(cmd.Env, "GOROOT="+goroot)
	}
	cmd.Dir = "/" // a toolchain line in the go.mod of some folder must not matter
	out, err := cmd.Output()
	if err != nil {
		return Installed{}, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	var answer struct{ GOROOT, GOVERSION string }
	if err := json.Unmarshal(out, &answer); err != nil {
		return Installed{}, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	return Installed{answer.GOROOT, answer.GOVERSION}, nil
}

func command(fallback string) (string, error) {
	for _, name := range []string{"go", fallback} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: supported are %s", ErrNoGo, supported())
}

// Root is a shadow on disk.
type Root struct {
	Dir     string // to be used as GOROOT
	Version string // of the Go that it shadows
	// Digest names what the shadow differs in from the installed Go, and so the
	// library OS, wherever the two lie.
	Digest string
	// Outside are the folders to which the links of the shadow lead, for a sandbox
	// that shows only what it must. Distributions spread Go over several.
	Outside []string
}

// Go is the path of its go command.
func (r *Root) Go() string { return filepath.Join(r.Dir, "bin", "go") }

// Env is what a go command needs in its environment, in addition to the
// caller's, to build for a guest.
func (r *Root) Env() []string {
	return []string{"GOROOT=" + r.Dir, "GOTOOLCHAIN=local", "GOWORK=off", "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0"}
}

// Open returns the shadow of the Go that Find finds, made below the folder
// cache where it is not there yet.
func Open(ctx context.Context, cache string) (*Root, error) {
	installed, err := Find(ctx)
	if err != nil {
		return nil, err
	}
	return installed.Shadow(cache)
}

// Shadow returns the shadow of this Go, made below the folder cache where it is
// not there yet.
func (i Installed) Shadow(cache string) (*Root, error) {
	if !known(i.Version) {
		return nil, fmt.Errorf("%w: %s in %s; supported are %s", ErrVersion, i.Version, i.Dir, supported())
	}
	files, err := i.files()
	if err != nil {
		return nil, err
	}
	cache, err = filepath.Abs(cache)
	if err != nil {
		return nil, err
	}
	r := &Root{Dir: filepath.Join(cache, i.key(files)), Version: i.Version, Digest: Installed{Version: i.Version}.key(files)}
	if r.Outside, err = i.folders(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(r.Dir); err == nil {
		return r, nil
	}
	if err := i.make(r.Dir, files); err != nil {
		return nil, fmt.Errorf("make the shadow of %s: %w", i.Dir, err)
	}
	return r, nil
}

// folders are where the installation lies: its own folder, and those that links
// in it lead to.
func (i Installed) folders() ([]string, error) {
	entries, err := os.ReadDir(i.Dir)
	if err != nil {
		return nil, err
	}
	folders := []string{i.Dir}
	for _, e := range entries {
		if e.Type() != os.ModeSymlink {
			continue
		}
		target, err := filepath.EvalSymlinks(filepath.Join(i.Dir, e.Name()))
		if err != nil {
			continue // a link to nothing, which the farm repeats
		}
		if info, err := os.Stat(target); err == nil && !info.IsDir() {
			target = filepath.Dir(target)
		}
		inside := slices.ContainsFunc(folders, func(f string) bool { return target == f || strings.HasPrefix(target, f+"/") })
		if !inside {
			folders = append(folders, target)
		}
	}
	return folders, nil
}

// known tells whether a version is a supported release or a patch of one.
func known(version string) bool {
	version, _, _ = strings.Cut(version, " ") // "go1.26.1 X:experiment"
	return slices.ContainsFunc(shadow.GoVersions(), func(v string) bool {
		return version == v || strings.HasPrefix(version, v+".")
	})
}

func supported() string { return strings.Join(shadow.GoVersions(), ", ") }

// key names a shadow by all that makes it: where its links lead, and what its
// own files say.
func (i Installed) key(files map[string]string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q\n", i.Dir, i.Version)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%q %d\n", name, len(files[name]))
		io.WriteString(h, files[name])
	}
	return hex.EncodeToString(h.Sum(nil))[:32]
}
