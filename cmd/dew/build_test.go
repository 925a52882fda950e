package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dewpaas/dew/cmd/dew/profile"
	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/stager/sandbox"
	"github.com/dewpaas/dew/tender/process"
)

func TestMain(m *testing.M) {
	if sandbox.Inside() {
		os.Exit(sandbox.Serve())
	}
	testscript.Main(m, map[string]func(){"dew": main}) // scripts call the test binary as dew
}

func writeTree(t *testing.T, files map[string]string) string {
	dir := filepath.Join(t.TempDir(), "greet")
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const greeter = `package main

import (
	"fmt"
	"os"
)

func main() {
	b, err := os.ReadFile("static/greeting.txt")
	fmt.Println(string(b), os.Args[1:], os.Getenv("WHO"), err)
	if len(os.Args) > 1 && os.Args[1] == "crash" {
		panic("as asked")
	}
}
`

func greet(t *testing.T) string {
	return writeTree(t, map[string]string{"go.mod": "module example.com/greet\n\ngo 1.26\n", "main.go": greeter, "static/greeting.txt": "hello from a file",
		"Procfile": "web: greet $WHO\nworker: greet work\n"})
}

func TestBuildInspectRun(t *testing.T) {
	dir := greet(t)
	file := filepath.Join(filepath.Dir(dir), "out.dew")
	code, out, errOut := runForTest(t, "build", "-o", file, dir)
	if code != 0 || errOut != "" || !strings.HasPrefix(out, file+"  sha256:") {
		t.Fatalf("code %d, %s%s", code, out, errOut)
	}
	code, out, errOut = runForTest(t, "inspect", file)
	for _, want := range []string{"digest     sha256:", "program    greet", "process    web", "greet $WHO", "process    worker", "module     example.com/greet"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("code %d, no %q in\n%s%s", code, want, out, errOut)
		}
	}
	_, out, _ = runForTest(t, "inspect", "--json", file)
	var j struct {
		Digest   string
		Manifest droplet.Manifest
	}
	if err := json.Unmarshal([]byte(out), &j); err != nil || !strings.HasPrefix(j.Digest, "sha256:") || j.Manifest.Programs[0].Name != "greet" {
		t.Errorf("%v in %s", err, out)
	}
	for flag, want := range map[string]string{"--sbom": "CycloneDX", "--provenance": "slsa.dev", "--files": "/app/static/greeting.txt\n"} {
		if _, out, errOut := runForTest(t, "inspect", flag, file); !strings.Contains(out, want) {
			t.Errorf("%s: %s%s", flag, out, errOut)
		}
	}
	if _, err := process.New(); err != nil {
		t.Skip(err)
	}
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-e", "WHO=a b", file}, 0, "hello from a file [a b] a b <nil>\n"},
		{[]string{"--process", "worker", file, "--", "more"}, 0, "hello from a file [work more]  <nil>\n"},
		{[]string{"-c", "WHO=me ./greet 'x y'", dir}, 0, "hello from a file [x y] me <nil>\n"},
		{[]string{"-c", "greet crash", file}, 2, "hello from a file [crash]  <nil>\n"},
		{[]string{"--process", "none", file}, 1, ""},
		{[]string{"-c", "other", file}, 1, ""},
	} {
		code, out, errOut := runForTest(t, append([]string{"run"}, c.args...)...)
		if code != c.code || out != c.want {
			t.Errorf("%q: code %d, %q\n%s", c.args, code, out, errOut)
		}
		if c.code == 2 && !strings.Contains(errOut, "example.com/greet/main.go:12") {
			t.Errorf("the panic is not symbolised:\n%s", errOut)
		}
		if c.code == 1 && !strings.Contains(errOut, "dew: error: ") {
			t.Errorf("%q: %s", c.args, errOut)
		}
	}
}

// A stripped program keeps the line table that profiles are read with.
func TestSymbolsOfADroplet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.dew")
	if code, _, errOut := runForTest(t, "build", "-o", file, greet(t)); code != 0 {
		t.Fatal(errOut)
	}
	d, err := droplet.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	f, err := d.Program("greet")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := profile.OpenSymbols(f.Name()); err != nil {
		t.Error(err)
	}
}

func TestBrokenSource(t *testing.T) {
	dir := writeTree(t, map[string]string{"go.mod": "module example.com/greet\n\ngo 1.26\n", "main.go": "package main\n\nfunc main() { x() }\n"})
	t.Chdir(t.TempDir())
	code, out, errOut := runForTest(t, "build", dir)
	if code != 1 || out != "" || !strings.Contains(errOut, "./main.go:3:15: undefined: x\n") || !strings.HasSuffix(errOut, "dew: error: the program does not build\n") {
		t.Errorf("code %d, stdout %q, stderr\n%s", code, out, errOut)
	}
	if left, _ := os.ReadDir("."); len(left) != 0 {
		t.Errorf("%v is left behind", left)
	}
}

func TestWhatIsNoDroplet(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"inspect", text}, {"inspect", "/dev/null"}, {"run", text}, {"run", filepath.Join(t.TempDir(), "none")}, {"run", t.TempDir()}, {"build", text}} {
		if code, out, errOut := runForTest(t, args...); code != 1 || out != "" || !strings.Contains(errOut, "dew: error: ") {
			t.Errorf("%q: code %d, %s%s", args, code, out, errOut)
		}
	}
}

func TestDefaultOutput(t *testing.T) {
	for from, want := range map[string]string{"example.com/m/cmd/web@v1.0.0": "web.dew", ".": "dew.dew", "/srv/app": "app.dew"} {
		if got := defaultOutput(from, nil); got != want {
			t.Errorf("%s: %s, want %s", from, got, want)
		}
	}
}
