package qemu

import (
	"fmt"
	"io"
	"os"

	"github.com/dewpaas/dew/abi/boot"
	"golang.org/x/sys/unix"
)

const pageSize = 4096

// moduleFile makes the guest's first PVH module: the boot record, padded to a
// page, and the image. It lives in memory only and nobody else has its name.
func moduleFile(c *boot.Config, image *os.File) (f *os.File, err error) {
	f, err = memfd("dew-module")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	record := boot.Encode(c)
	record = append(record, make([]byte, -len(record)&(pageSize-1))...)
	if _, err := f.Write(record); err != nil {
		return nil, fmt.Errorf("write boot record: %w", err)
	}
	if image != nil {
		if n, err := io.Copy(f, io.NewSectionReader(image, 0, int64(c.ImageSize))); err != nil || uint64(n) != c.ImageSize {
			return nil, fmt.Errorf("copy image: %d of %d bytes: %w", n, c.ImageSize, err)
		}
	}
	return f, nil
}

func memfd(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
