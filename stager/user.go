package stager

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/stager/sandbox"
)

// Each tenant's builds run as a user of its own, so that one who finds a way out
// of the sandbox's mounts can still not write to another's caches. Which user it
// is, its build cache says, by its owner: no list has to be kept true.

// firstUser is the first tenant's; before it is the one for builds without tenant.
const firstUser = sandbox.UID + 1

// boxed and plain are what caches are for: builds with a sandbox and without.
const (
	boxed = "boxed"
	plain = "plain"
)

// isUser tells whether a sandbox ran as this user.
func isUser(uid uint32) bool { return uid >= sandbox.UID && uid-sandbox.UID < sandbox.UIDs }

// owner is the user to whom a file belongs that is there.
func owner(path string) (uid uint32, is bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, false
	}
	s, is := info.Sys().(*syscall.Stat_t)
	if !is {
		return 0, false
	}
	return s.Uid, true
}

// tenantFolder holds the caches of a tenant: sandboxes see folders in it, and
// not the folder itself. It refuses a name that would lead elsewhere.
func (b *Builder) tenantFolder(kind, tenant string) (string, error) {
	if tenant == "" {
		return filepath.Join(b.c.Cache, kind, "common"), nil
	}
	if !tenantName.MatchString(tenant) {
		return "", fmt.Errorf("tenant %q: want letters, digits, '-' and '_'", tenant)
	}
	return filepath.Join(b.c.Cache, kind, tenantPrefix+tenant), nil
}

// userOf is the user of a tenant's builds, a free one if it has none yet.
func (b *Builder) userOf(tenant string) (uint32, error) {
	if os.Geteuid() != 0 {
		return uint32(os.Geteuid()), nil
	}
	if tenant == "" || b.bare.Load() {
		return sandbox.UID, nil
	}
	base, err := b.tenantFolder(boxed, tenant)
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(base, 0o700); err != nil {
		return 0, err
	}
	lock, err := flock(filepath.Dir(base), unix.LOCK_EX)
	if err != nil {
		return 0, fmt.Errorf("choose a user for a tenant: %w", err)
	}
	defer lock.Close()
	build := filepath.Join(base, "build")
	if uid, is := owner(build); is && uid >= firstUser && isUser(uid) {
		return uid, nil
	}
	uid, err := b.freeUser()
	if err != nil {
		return 0, err
	}
	// What lies there belongs to nobody that is known: a cache of before.
	if err := os.RemoveAll(base); err != nil {
		return 0, err
	}
	if err := errors.Join(os.Mkdir(base, 0o700), os.Mkdir(build, 0o755)); err != nil {
		return 0, err
	}
	return uid, os.Lchown(build, int(uid), int(uid))
}

// freeUser is one that no tenant has.
func (b *Builder) freeUser() (uint32, error) {
	builds, err := filepath.Glob(filepath.Join(b.c.Cache, boxed, tenantPrefix+"*", "build"))
	if err != nil {
		return 0, err
	}
	taken := map[uint32]bool{}
	for _, dir := range builds {
		if uid, is := owner(dir); is {
			taken[uid] = true
		}
	}
	for uid := uint32(firstUser); isUser(uid); uid++ {
		if !taken[uid] {
			return uid, nil
		}
	}
	return 0, fmt.Errorf("more than %d tenants have caches here: %w", sandbox.UIDs-1, fs.ErrExist)
}
