package client

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func load(t *testing.T, path string) *Config {
	t.Helper()
	c, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func fieldsOf(t *testing.T, path string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(b, &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

// TestConfigOfTwoWriters: what the other has written meanwhile stays, unless it
// is the field that we change.
func TestConfigOfTwoWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", ".cf", "config.json")
	ours := load(t, path)
	ours.Target, ours.AccessToken = "https://a", "bearer one"
	if err := ours.Save(); err != nil {
		t.Fatal(err)
	}
	theirs := load(t, path)
	theirs.Org = Named{"guid", "theirs"}
	theirs.AccessToken = "bearer theirs"
	if err := theirs.Save(); err != nil {
		t.Fatal(err)
	}
	ours.RefreshToken = "new"
	if err := ours.Save(); err != nil {
		t.Fatal(err)
	}
	got := load(t, path)
	if got.Org.Name != "theirs" || got.AccessToken != "bearer theirs" || got.RefreshToken != "new" || got.Target != "https://a" || got.Version != configVersion {
		t.Errorf("%+v", got.Settings)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if dir, err := os.Stat(filepath.Dir(path)); err != nil || dir.Mode().Perm() != 0o700 {
		t.Errorf("folder %v, %v", dir.Mode(), err)
	}
	if list, _ := os.ReadDir(filepath.Dir(path)); len(list) != 1 {
		t.Errorf("left beside the file: %v", list)
	}
}

// TestConfigThatIsALink: somebody keeps it among their dot files.
func TestConfigThatIsALink(t *testing.T) {
	dir := t.TempDir()
	real, path := filepath.Join(dir, "real.json"), filepath.Join(dir, "config.json")
	if err := os.WriteFile(real, []byte(`{"ConfigVersion":4,"Locale":"de"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, path); err != nil {
		t.Fatal(err)
	}
	c := load(t, path)
	c.Target = "https://a"
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	if f := fieldsOf(t, real); f["Locale"] != "de" || f["Target"] != "https://a" {
		t.Errorf("%v", f)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
}

func TestConfigThatCannotBeUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	for _, text := range []string{"{", "[]", `{"Target": 1, "ConfigVersion": 4}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadConfig(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v", text, err)
		}
	}
	for _, text := range []string{"", "\n", "{}", `{"ConfigVersion": 3, "Target": "https://old"}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if c := load(t, path); c.Settings != (Settings{}) {
			t.Errorf("%s: %+v", text, c.Settings)
		}
	}
	if err := load(t, path).Save(); err != nil { // nothing to say: nothing is written
		t.Error(err)
	}
	if b, _ := os.ReadFile(path); !strings.Contains(string(b), "old") {
		t.Errorf("written without need: %s", b)
	}
}

func TestConfigPath(t *testing.T) {
	t.Setenv("CF_HOME", "/x")
	if got, err := ConfigPath(); err != nil || got != "/x/.cf/config.json" {
		t.Errorf("%s, %v", got, err)
	}
	t.Setenv("CF_HOME", "")
	t.Setenv("HOME", "/home/me")
	if got, err := ConfigPath(); err != nil || got != "/home/me/.cf/config.json" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestFindLocal(t *testing.T) {
	dir := t.TempDir()
	if _, err := FindLocal(dir); !Absent(err) {
		t.Errorf("nothing there: %v", err)
	}
	if err := Publish(dir, "http://127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	if _, err := FindLocal(dir); !Absent(err) {
		t.Errorf("no password: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, PasswordFile), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := FindLocal(dir); err != nil || *l != (Local{"http://127.0.0.1:1", "secret", ""}) {
		t.Errorf("%v, %v", l, err)
	}
}
