package vfs

import (
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// model is a file system as one map from clean path to content; directories
// end in a slash. It knows no links.
type model map[string]string

func (m model) isDir(p string) bool  { _, ok := m[p+"/"]; return ok || p == "/" }
func (m model) isFile(p string) bool { _, ok := m[p]; return ok }

func (m model) children(p string) []string {
	prefix := strings.TrimSuffix(p, "/") + "/"
	var all []string
	for k := range m {
		rest, ok := strings.CutPrefix(k, prefix)
		if rest = strings.TrimSuffix(rest, "/"); ok && rest != "" && !strings.Contains(rest, "/") {
			all = append(all, rest)
		}
	}
	slices.Sort(all)
	return all
}

// do plays one step on the model and returns whether it succeeds.
func (m model) do(op byte, p, q string) bool {
	free := !m.isDir(p) && !m.isFile(p) && m.isDir(path.Dir(p))
	switch op {
	case 0: // mkdir
		if free {
			m[p+"/"] = ""
		}
		return free
	case 1: // write
		if m.isFile(p) || free {
			m[p] = q
			return true
		}
		return false
	case 2: // unlink
		ok := m.isFile(p)
		delete(m, p)
		return ok
	case 3: // rmdir
		ok := p != "/" && m.isDir(p) && len(m.children(p)) == 0
		if ok {
			delete(m, p+"/")
		}
		return ok
	}
	return m.rename(p, q)
}

func (m model) rename(p, q string) bool {
	switch {
	case p == "/" || q == "/" || !m.isDir(p) && !m.isFile(p) || !m.isDir(path.Dir(q)):
		return false
	case m.isDir(p) && strings.HasPrefix(q+"/", p+"/"):
		return q == p
	case strings.HasPrefix(p+"/", q+"/") && p != q:
		return false
	case m.isFile(p) && m.isDir(q), m.isDir(p) && m.isFile(q):
		return false
	case p == q:
		return true
	case m.isDir(q) && len(m.children(q)) > 0:
		return false
	}
	delete(m, q+"/")
	for k, v := range m {
		if rest, ok := strings.CutPrefix(k, p); ok && (rest == "" || rest[0] == '/') {
			delete(m, k)
			defer func() { m[q+rest] = v }()
		}
	}
	return true
}

// FuzzTree: any sequence of steps leaves the tree that the model has, and each
// step succeeds where it does in the model. Steps are three bytes: operation,
// path, other path.
func FuzzTree(f *testing.F) {
	f.Add([]byte{0, 1, 0, 1, 5, 2, 4, 1, 3, 2, 7, 0})
	f.Add([]byte{1, 0, 9, 2, 0, 0, 0, 0, 0, 4, 0, 2, 3, 2, 0})
	f.Add([]byte{4, 9, 1, 4, 1, 9, 3, 8, 0})
	names := []string{"/a", "/b", "/c", "/a/x", "/a/y", "/b/x", "/b/x/z", "/", "/d", "/d/old", "/a//x", "/a/./../b", "/d/e/.."}
	f.Fuzz(func(t *testing.T, steps []byte) {
		fs, m := sampleTree(t)
		for ; len(steps) >= 3; steps = steps[3:] {
			op, p, q := steps[0]%5, names[int(steps[1])%len(names)], names[int(steps[2])%len(names)]
			if op > 1 && op < 5 && strings.HasSuffix(p, "..") || op == 4 && strings.HasSuffix(q, "..") {
				continue // names that no call may remove: another test's
			}
			if strings.Contains(p, "/../") && !fsHas(fs, "/a") || strings.Contains(q, "/../") && !fsHas(fs, "/a") {
				continue // the model has no way through what is not there
			}
			if strings.HasSuffix(p, "..") && !fsHas(fs, "/d/e") {
				continue
			}
			want := m.do(op, path.Clean(p), path.Clean(q))
			if op == 1 {
				want = want && !m.isDir(path.Clean(p))
			}
			if got := play(fs, op, p, path.Clean(q), q); got != want {
				t.Fatalf("step %d %s %s: %v, the model says %v", op, p, q, got, want)
			}
		}
		compare(t, fs, m, "/")
	})
}

func fsHas(f *FS, p string) bool {
	n, err := f.Find(f.Root(), p, true)
	return err == 0 && n.IsDir()
}

func sampleTree(t *testing.T) (*FS, model) {
	f := New(nil, 1<<20)
	f.Mkdir(f.Root(), "/d", 0o755)
	write(t, f, "/d/old", "old")
	return f, model{"/d/": "", "/d/old": "old"}
}

func play(f *FS, op byte, p, text, q string) bool {
	root := f.Root()
	switch op {
	case 0:
		return f.Mkdir(root, p, 0o755) == 0
	case 1:
		h, err := f.Open(root, p, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC, 0o644)
		if err != 0 {
			return false
		}
		defer h.Close()
		_, err = h.Write([]byte(text), 0)
		return err == 0
	case 2:
		return f.Unlink(root, p, false) == 0
	case 3:
		return f.Unlink(root, p, true) == 0
	}
	return f.Rename(root, p, root, q, 0) == 0
}

func compare(t *testing.T, f *FS, m model, dir string) {
	want := strings.TrimSpace(". .. " + strings.Join(m.children(dir), " "))
	if got := names(t, f, dir); got != want {
		t.Fatalf("%s has %q, the model %q", dir, got, want)
	}
	for _, name := range m.children(dir) {
		p := path.Join(dir, name)
		if m.isDir(p) {
			compare(t, f, m, p)
		} else if got := read(t, f, p); got != m[p] {
			t.Fatalf("%s is %q, in the model %q", p, got, m[p])
		}
	}
}
