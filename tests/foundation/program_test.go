package foundation

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// program is a way to build dew, once for all tests.
type program struct {
	once sync.Once
	path string
	err  error
}

// The ways: as its users have it, and with a wall clock that tests set.
var (
	ordinary, settable program
	folder             string // of the programs
)

// raced tells whether dew is to be built with the race detector: ./do race asks for
// it. What it finds fails the test.
func raced() bool { return os.Getenv("DEW_TEST_RACE") != "" }

func TestMain(m *testing.M) {
	var err error
	if folder, err = os.MkdirTemp("", "dew-test-"); err != nil {
		panic(err)
	}
	if raced() {
		// Into files: what keepers say is not seen otherwise.
		os.Setenv("GORACE", "atexit_sleep_ms=0 log_path="+filepath.Join(folder, "race"))
	}
	code := m.Run()
	os.RemoveAll(folder)
	os.Exit(code)
}

// dew builds the binary.
func dew(t *testing.T) string {
	t.Helper()
	return ordinary.build(t, "dew", func(string) ([]string, error) { return nil, nil })
}

// dewWithClock builds one whose wall clock is off by what the file in DEW_TEST_CLOCK
// says: nothing else sets the clock of a static program and not the machine's.
func dewWithClock(t *testing.T) string {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("needs amd64: the clock of package runtime is replaced")
	}
	return settable.build(t, "dew-clock", overlay)
}

func (p *program) build(t *testing.T, name string, prepare func(dir string) ([]string, error)) string {
	t.Helper()
	p.once.Do(func() {
		p.path = filepath.Join(folder, name)
		flags, err := prepare(folder)
		if err != nil {
			p.err = err
			return
		}
		env := append(os.Environ(), "CGO_ENABLED=0")
		if raced() {
			flags, env = append(flags, "-race"), append(env, "CGO_ENABLED=1")
		}
		build := exec.Command("go", append(append([]string{"build", "-o", p.path}, flags...), "../../cmd/dew")...)
		build.Env = env
		if out, err := build.CombinedOutput(); err != nil {
			p.err = fmt.Errorf("build dew: %w\n%s", err, out)
		}
	})
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.path
}

// overlay replaces the clock of package runtime and adds who sets it to cmd/dew.
func overlay(dir string) ([]string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	std := filepath.Join(strings.TrimSpace(string(root)), "src", "runtime")
	asm, err := os.ReadFile(filepath.Join(std, "time_linux_amd64.s"))
	if err != nil {
		return nil, err
	}
	text := strings.Replace(string(asm), "TEXT time·now<ABIInternal>", "TEXT ·realClock<ABIInternal>", 1)
	if text == string(asm) {
		return nil, fmt.Errorf("%s/time_linux_amd64.s defines time·now in another way now", std)
	}
	text = strings.Replace(text, "#include \"go_tls.h\"\n", "", 1) // it is beside the original, and not used
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	clock := filepath.Join(dir, "time_linux_amd64.s")
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(std, "time_linux_amd64.s"):          clock,
		filepath.Join(std, "timeasm.go"):                  filepath.Join(here, "testdata/clock/time.go"),
		filepath.Join(here, "../../cmd/dew/set_clock.go"): filepath.Join(here, "testdata/clock/main.go"),
	}})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(clock, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return []string{"-overlay", file}, os.WriteFile(file, list, 0o600)
}

// checkRaces fails the test with what the race detector has found since the last
// look.
func checkRaces(t *testing.T) {
	t.Helper()
	list, _ := filepath.Glob(filepath.Join(folder, "race.*")) // the pattern is well-formed
	for _, file := range list {
		b, err := os.ReadFile(file)
		if err == nil {
			err = os.Remove(file)
		}
		t.Errorf("the race detector says, %v:\n%s", err, b)
	}
}
