package staging

import (
	"archive/zip"
	"fmt"
	"io"
	"io/fs"
)

// maxTarget bounds the target of a symbolic link: Linux's PATH_MAX.
const maxTarget = 4096

// archive is the files of a package. Package zip knows symbolic links as files
// whose content is the target.
type archive struct{ *zip.Reader }

var _ fs.ReadLinkFS = archive{}

// Lstat implements fs.ReadLinkFS.
func (a archive) Lstat(name string) (fs.FileInfo, error) { return fs.Stat(a.Reader, name) }

// ReadLink implements fs.ReadLinkFS.
func (a archive) ReadLink(name string) (string, error) {
	f, err := a.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.Mode().Type() != fs.ModeSymlink {
		err = fs.ErrInvalid
	}
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	target, err := io.ReadAll(io.LimitReader(f, maxTarget+1))
	if err == nil && len(target) > maxTarget {
		err = fmt.Errorf("the target of link %.100q has more than %d bytes", name, maxTarget)
	}
	return string(target), err
}
