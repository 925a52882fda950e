package breach

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/dewpaas/dew/stager/goroot"
	"github.com/dewpaas/dew/stager/pvh"
)

//go:embed attacker/*.go attacker/*.s
var attacker embed.FS

// build makes the attacker's droplet in dir: linked with the library OS, with
// an entry for ring 0. cache keeps the shadow of Go between runs.
func build(ctx context.Context, cache, dir string) (path string, err error) {
	root, err := goroot.Open(ctx, cache)
	if err != nil {
		return "", err
	}
	source := filepath.Join(dir, "source")
	if err := unpack(source); err != nil {
		return "", fmt.Errorf("unpack the attacker: %w", err)
	}
	linked := filepath.Join(dir, "linked")
	cmd := exec.CommandContext(ctx, root.Go(), "build", "-trimpath", "-buildvcs=false", "-o", linked, ".")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), root.Env()...)
	cmd.Env = append(cmd.Env, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the attacker: %w\n%s", err, out)
	}
	elf, err := os.ReadFile(linked)
	if err != nil {
		return "", err
	}
	if elf, err = pvh.Convert(elf); err != nil {
		return "", fmt.Errorf("make the attacker bootable: %w", err)
	}
	path = filepath.Join(dir, "attacker")
	return path, os.WriteFile(path, elf, 0o755)
}

// unpack writes the attacker's sources as a module of their own.
func unpack(dir string) error {
	sources, err := fs.Sub(attacker, "attacker")
	if err != nil {
		return err
	}
	if err := os.CopyFS(dir, sources); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module attacker\n\ngo 1.26\n"), 0o644)
}
