package staging

import (
	"archive/zip"
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"
)

func TestLinksOfAPackage(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, target := range map[string]string{"d/link": "../file", "long": strings.Repeat("a/", maxTarget)} {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(fs.ModeSymlink | 0o777)
		e, err := w.CreateHeader(h)
		check(t, err)
		_, err = e.Write([]byte(target))
		check(t, err)
	}
	e, err := w.Create("file")
	check(t, err)
	_, err = e.Write([]byte("text"))
	check(t, err)
	check(t, w.Close())
	z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	check(t, err)
	var files fs.FS = archive{z}
	if target, err := fs.ReadLink(files, "d/link"); target != "../file" || err != nil {
		t.Errorf("%q, %v", target, err)
	}
	if info, err := fs.Lstat(files, "d/link"); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Error(info, err)
	}
	if _, err := fs.ReadLink(files, "long"); err == nil {
		t.Error("a target longer than any path was read")
	}
	if _, err := fs.ReadLink(files, "file"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a file is a link: %v", err)
	}
	if _, err := fs.ReadLink(files, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
