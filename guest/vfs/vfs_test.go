package vfs

import (
	"bytes"
	"io"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/dewpaas/dew/abi/image"
	"github.com/dewpaas/dew/guest/fd"
)

func imageFile(path, content string) image.Source {
	return image.Source{Path: path, Mode: image.ModeRegular | 0o644, Size: uint64(len(content)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
}

// sample is a file system over an image.
func sample(t testing.TB, quota uint64) *FS {
	t.Helper()
	var b bytes.Buffer
	err := image.Write(&b, []image.Source{
		imageFile("app/web", strings.Repeat("w", 3*pageSize+10)),
		imageFile("app/public/index.html", "<p>hello"),
		imageFile("etc/hosts", "127.0.0.1 localhost\n"),
		{Path: "app/current", Mode: image.ModeSymlink | 0o777, Target: "public"},
		{Path: "loop", Mode: image.ModeSymlink | 0o777, Target: "loop"},
		{Path: "tmp", Mode: image.ModeDir | 0o1777},
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := image.Open(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return New(r, quota)
}

func open(t testing.TB, f *FS, path string, flags int) *Handle {
	t.Helper()
	h, err := f.Open(f.Root(), path, flags, 0o644)
	if err != 0 {
		t.Fatalf("open %s: %v", path, err)
	}
	return h.(*Handle)
}

func read(t testing.TB, f *FS, path string) string {
	t.Helper()
	h := open(t, f, path, syscall.O_RDONLY)
	defer h.Close()
	b := make([]byte, 1<<20)
	n, err := h.Read(b, 0)
	if err != 0 {
		t.Fatal(err)
	}
	return string(b[:n])
}

func write(t testing.TB, f *FS, path, s string) {
	t.Helper()
	h := open(t, f, path, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC)
	defer h.Close()
	if n, err := h.Write([]byte(s), fd.AtPosition); err != 0 || n != len(s) {
		t.Fatalf("wrote %d: %v", n, err)
	}
}

func names(t testing.TB, f *FS, path string) string {
	t.Helper()
	h := open(t, f, path, syscall.O_RDONLY|syscall.O_DIRECTORY)
	defer h.Close()
	var all []string
	b := make([]byte, 64) // small, so that a listing takes several calls
	for {
		n, err := h.Dirents(b)
		if err != 0 {
			t.Fatal(err)
		}
		if n == 0 {
			return strings.Join(all, " ")
		}
		for rest := b[:n]; len(rest) > 0; {
			size := *(*uint16)(unsafe.Pointer(&rest[16]))
			name, _, _ := strings.Cut(string(rest[19:size]), "\x00")
			all = append(all, name)
			rest = rest[size:]
		}
	}
}

func TestPathsLeadWhereLinuxWouldGo(t *testing.T) {
	f := sample(t, 1<<20)
	long := strings.Repeat("n", maxName+1)
	for path, want := range map[string]syscall.Errno{
		"/":                          0,
		"//app//web":                 0,
		"app/./public/../web":        0,
		"/../../app/web":             0,
		"/app/current/index.html":    0,
		"/app/current/":              0,
		"/app/web/":                  syscall.ENOTDIR,
		"/app/web/..":                syscall.ENOTDIR,
		"/app/missing":               syscall.ENOENT,
		"/missing/web":               syscall.ENOENT,
		"":                           syscall.ENOENT,
		"/loop":                      syscall.ELOOP,
		"/" + long:                   syscall.ENAMETOOLONG,
		strings.Repeat("/", pathMax): syscall.ENAMETOOLONG,
	} {
		var st syscall.Stat_t
		if err := f.Stat(f.Root(), path, true, &st); err != want {
			t.Errorf("%.40q: %v, want %v", path, err, want)
		}
	}
	if s, err := f.Readlink(f.Root(), "/app/current"); err != 0 || s != "public" {
		t.Errorf("readlink: %q, %v", s, err)
	}
}

func TestImageFilesAreCopiedWhenWritten(t *testing.T) {
	f := sample(t, 1<<20)
	h := open(t, f, "/app/web", syscall.O_RDWR)
	h.Write([]byte("X"), pageSize+5)
	if used, _ := f.Usage(); used != pageSize {
		t.Errorf("one byte took %d bytes, want a page", used)
	}
	want := []byte(strings.Repeat("w", 3*pageSize+10))
	want[pageSize+5] = 'X'
	if got := read(t, f, "/app/web"); got != string(want) {
		t.Error("the other bytes changed")
	}
	if err := h.Truncate(10); err != 0 {
		t.Fatal(err)
	}
	h.Truncate(20)
	if got := read(t, f, "/app/web"); got != strings.Repeat("w", 10)+strings.Repeat("\x00", 10) {
		t.Errorf("after truncation %q", got)
	}
}

func TestNamesComeAndGo(t *testing.T) {
	f := sample(t, 1<<20)
	root := f.Root()
	write(t, f, "/app/new", "1")
	if err := f.Unlink(root, "/app/web", false); err != 0 {
		t.Fatal(err)
	}
	if err := f.Rename(root, "/app/public", root, "/tmp/moved", 0); err != 0 {
		t.Fatal(err)
	}
	if got := names(t, f, "/app"); got != ". .. current new" {
		t.Errorf("app has %s", got)
	}
	if got := read(t, f, "/tmp/moved/index.html"); got != "<p>hello" {
		t.Errorf("moved folder has %q", got)
	}
	for what, got := range map[string]syscall.Errno{
		"unlink folder":         f.Unlink(root, "/app", false),
		"rmdir full":            f.Unlink(root, "/app", true),
		"rmdir file":            f.Unlink(root, "/app/new", true),
		"rename into itself":    f.Rename(root, "/app", root, "/app/sub", 0),
		"rename onto full":      f.Rename(root, "/tmp/moved", root, "/app", 0),
		"rename missing":        f.Rename(root, "/no", root, "/x", 0),
		"rename file to folder": f.Rename(root, "/app/new", root, "/tmp", 0),
		"mkdir there":           f.Mkdir(root, "/app", 0o755),
		"link folder":           f.Link(root, "/app", root, "/y", false),
		"no replace":            f.Rename(root, "/app/new", root, "/etc/hosts", RenameNoReplace),
	} {
		want := map[string]syscall.Errno{"unlink folder": syscall.EISDIR, "rmdir full": syscall.ENOTEMPTY,
			"rmdir file": syscall.ENOTDIR, "rename into itself": syscall.EINVAL, "rename onto full": syscall.ENOTEMPTY,
			"rename missing": syscall.ENOENT, "rename file to folder": syscall.EISDIR, "mkdir there": syscall.EEXIST,
			"link folder": syscall.EPERM, "no replace": syscall.EEXIST}[what]
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	if err := f.Rename(root, "/app/new", root, "/etc/hosts", RenameExchange); err != 0 {
		t.Fatal(err)
	}
	if read(t, f, "/etc/hosts") != "1" || read(t, f, "/app/new") != "127.0.0.1 localhost\n" {
		t.Error("not exchanged")
	}
}

func TestUnlinkedFileLivesUntilItIsClosed(t *testing.T) {
	f := sample(t, 1<<20)
	before, _ := f.Usage()
	h := open(t, f, "/tmp/x", syscall.O_RDWR|syscall.O_CREAT)
	h.Write(make([]byte, 5*pageSize), fd.AtPosition)
	f.Unlink(f.Root(), "/tmp/x", false)
	if n, err := h.Read(make([]byte, 10), 0); n != 10 || err != 0 {
		t.Errorf("read %d: %v", n, err)
	}
	h.Close()
	if after, _ := f.Usage(); after != before {
		t.Errorf("%d bytes are not given back", after-before)
	}
}

func TestQuotaIsTheEnd(t *testing.T) {
	const quota = 20 * pageSize
	f := sample(t, quota)
	h := open(t, f, "/tmp/big", syscall.O_RDWR|syscall.O_CREAT)
	total := 0
	for {
		n, err := h.Write(make([]byte, 3*pageSize), fd.AtPosition)
		total += n
		if err != 0 {
			if err != syscall.ENOSPC {
				t.Fatal(err)
			}
			break
		}
	}
	if used, _ := f.Usage(); used > quota || total < 15*pageSize {
		t.Errorf("%d bytes written, %d of %d used", total, used, quota)
	}
	for i := 0; ; i++ { // names cost too
		err := f.Mkdir(f.Root(), "/tmp/"+strings.Repeat("d", i%200+1)+string(rune('a'+i%26))+strings.Repeat("x", i/200), 0o755)
		if err == syscall.ENOSPC {
			break
		}
		if i > 10000 {
			t.Fatal("directories are free")
		}
	}
	if err := h.Allocate(0, 0, 1<<39); err != syscall.ENOSPC {
		t.Errorf("fallocate: %v", err)
	}
	if err := h.Truncate(1 << 39); err != 0 {
		t.Errorf("a hole costs nothing: %v", err)
	}
	if _, err := h.Write([]byte("x"), maxFile); err != syscall.EFBIG {
		t.Errorf("beyond the longest file: %v", err)
	}
}

func TestSharedMemoryIsTheFile(t *testing.T) {
	f := sample(t, 1<<20)
	h := open(t, f, "/tmp/m", syscall.O_RDWR|syscall.O_CREAT)
	h.Write([]byte("before"), 0)
	mem := new([2 * pageSize]byte)
	if err := h.Share(0, 2*pageSize, unsafe.Pointer(mem)); err != 0 {
		t.Fatal(err)
	}
	copy(mem[pageSize:], "through memory")
	h.Write([]byte("through the file"), 0)
	h.Truncate(pageSize + 7)
	if got := read(t, f, "/tmp/m"); !strings.HasPrefix(got, "through the file") || got[pageSize:] != "through" {
		t.Errorf("the file has %q", got[pageSize:])
	}
	if string(mem[:16]) != "through the file" {
		t.Errorf("memory has %q", mem[:16])
	}
	if err := h.Share(pageSize, pageSize, unsafe.Pointer(mem)); err != syscall.EBUSY {
		t.Errorf("the same range twice: %v", err)
	}
	h.Node().Unshare(unsafe.Pointer(mem))
	mem[0] = '!'
	if got := read(t, f, "/tmp/m"); got[0] != 't' {
		t.Error("memory that was given back is still the file's")
	}
	h.Close()
}

func TestLocksConflictBetweenDescriptions(t *testing.T) {
	f := sample(t, 1<<20)
	a, b := open(t, f, "/etc/hosts", syscall.O_RDONLY), open(t, f, "/etc/hosts", syscall.O_RDONLY)
	const try = lockNB
	if a.Flock(lockShared|try) != 0 || b.Flock(lockShared|try) != 0 {
		t.Fatal("two shared locks do not go together")
	}
	if err := a.Flock(lockExclusive | try); err != syscall.EWOULDBLOCK {
		t.Errorf("exclusive beside shared: %v", err)
	}
	done := make(chan syscall.Errno)
	go func() { done <- a.Flock(lockExclusive) }()
	b.Close() // gives its lock back
	if err := <-done; err != 0 {
		t.Error(err)
	}
}

func TestMemfdSeals(t *testing.T) {
	f := sample(t, 1<<20)
	h, err := f.Memfd("x", true)
	if err != 0 {
		t.Fatal(err)
	}
	h.Write([]byte("fixed"), 0)
	if err := h.AddSeals(sealWrite | sealShrink | sealGrow | SealSeal); err != 0 {
		t.Fatal(err)
	}
	if _, err := h.Write([]byte("x"), 0); err != syscall.EPERM {
		t.Errorf("write: %v", err)
	}
	if err := h.Truncate(1); err != syscall.EPERM {
		t.Errorf("shrink: %v", err)
	}
	if err := h.AddSeals(0); err != syscall.EPERM {
		t.Errorf("another seal: %v", err)
	}
}
