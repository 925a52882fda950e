package breach

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestPayloadTellsWhatOnlyItKnows: the text comes out when it runs, and is not
// in its bytes.
func TestPayloadTellsWhatOnlyItKnows(t *testing.T) {
	const text = "loot-0123456789abcdef"
	b := payload(text)
	if bytes.Contains(b, []byte(text)) || bytes.Contains(b, []byte("loot")) {
		t.Error("the text can be read without running it")
	}
	path := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path).CombinedOutput()
	if err != nil || string(out) != text {
		t.Errorf("%q, %v", out, err)
	}
}
