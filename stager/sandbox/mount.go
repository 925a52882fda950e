package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// devices are the only ones: what a program may expect anywhere, and nothing
// that could do harm.
var devices = []string{"null", "zero", "full", "random", "urandom"}

// fileSystem makes the mounts all that there is.
func (s *setup) fileSystem() error {
	// What is mounted here must not reach the host.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", s.Root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=1m,mode=755"); err != nil {
		return fmt.Errorf("mount the sandbox's root: %w", err)
	}
	for _, m := range s.Mounts {
		if err := s.mount(m); err != nil {
			return fmt.Errorf("show %s as %s: %w", m.Host, m.Inside, err)
		}
	}
	for _, d := range devices {
		if err := s.device(d); err != nil {
			return fmt.Errorf("show device %s: %w", d, err)
		}
	}
	if err := s.proc(); err != nil {
		return err
	}
	return s.enter()
}

func (s *setup) mount(m Mount) error {
	place := filepath.Join(s.Root, m.Inside)
	if err := os.MkdirAll(place, 0o755); err != nil {
		return err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if err := unix.Mount(m.Host, place, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if !m.Writable {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if !m.Programs && s.Without&noExec == 0 {
		attr.Attr_set |= unix.MOUNT_ATTR_NOEXEC
	}
	return unix.MountSetattr(unix.AT_FDCWD, place, unix.AT_RECURSIVE, &attr)
}

func (s *setup) device(name string) error {
	place := filepath.Join(s.Root, "dev", name)
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return err
	}
	f, err := os.Create(place)
	if err != nil {
		return err
	}
	f.Close()
	if err := unix.Mount(filepath.Join("/dev", name), place, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return unix.MountSetattr(unix.AT_FDCWD, place, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC})
}

// proc shows the processes of the command's user, and nothing of the kernel: no
// settings, no memory map, no counters of the host. Kernels before 5.8 do not
// know how; they show all, of the sandbox, and let nobody write.
func (s *setup) proc() error {
	place := filepath.Join(s.Root, "proc")
	if err := os.Mkdir(place, 0o755); err != nil {
		return err
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	hidden := "subset=pid,hidepid=invisible"
	if s.Without&hiddenProc != 0 {
		hidden = ""
	}
	err := unix.Mount("proc", place, "proc", flags, hidden)
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mount("proc", place, "proc", flags, "")
	}
	if err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	return unix.MountSetattr(unix.AT_FDCWD, place, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

// enter makes the new root the root and lets go of the old one.
func (s *setup) enter() error {
	if err := os.Chdir(s.Root); err != nil {
		return err
	}
	// The old root is mounted over the new one, and taken away from there
	// (pivot_root(2), "pivot_root(".", ".")").
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("let go of the host's root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}
