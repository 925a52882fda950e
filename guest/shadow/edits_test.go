package shadow

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The installed Go is the one that droplets are built with: every edit must
// find its place in it.
func TestEveryEditMatchesOnce(t *testing.T) {
	installed, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	goroot := strings.TrimSpace(string(installed))
	edited := map[string]string{}
	for _, e := range Edits() {
		text, ok := edited[e.File]
		if !ok {
			b, err := os.ReadFile(filepath.Join(goroot, "src", e.File))
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		if n := strings.Count(text, e.Old); n != 1 {
			t.Errorf("%s has %d places for %.60q", e.File, n, e.Old)
		}
		if e.Old == e.New {
			t.Errorf("%s: the edit of %.60q changes nothing", e.File, e.Old)
		}
		edited[e.File] = strings.Replace(text, e.Old, e.New, 1)
	}
}
