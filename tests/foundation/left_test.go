package foundation

import (
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// checkLeft: a foundation that was taken down has left nothing on the machine,
// however often it was killed: no process, mount, control group, interface, table
// or temporary file.
func checkLeft(t *testing.T, data, temp string) {
	t.Helper()
	if out, _ := exec.Command("pgrep", "-af", "dew .*"+data).Output(); len(out) > 0 {
		t.Errorf("processes are left:\n%s", out)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); strings.HasPrefix(f[1], data+"/") || strings.HasPrefix(f[1], temp+"/") {
			t.Errorf("a mount is left: %s", line)
		}
	}
	entries, err := os.ReadDir(temp)
	if err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		t.Errorf("%s is left among the temporary files", e.Name())
	}
	id, err := os.ReadFile(filepath.Join(data, "cell", "id"))
	if err != nil {
		return // it had no cell
	}
	name := fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(strings.TrimSpace(string(id))))) // as cell names what it makes
	if out, _ := exec.Command("find", "/sys/fs/cgroup", "-type", "d", "-name", "c"+name+"-*").Output(); len(out) > 0 {
		t.Errorf("control groups are left:\n%s", out)
	}
	if link, err := net.InterfaceByName("dew-" + name); err == nil {
		t.Errorf("the interface %s is left", link.Name)
	}
	if out, _ := exec.Command("nft", "list", "tables").Output(); strings.Contains(string(out), "dew-"+name) {
		t.Errorf("a table is left:\n%s", out)
	}
}
