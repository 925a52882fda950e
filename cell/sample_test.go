package cell

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dewpaas/dew/cf"
)

// limit reads a file of an instance's control groups, by its names in both versions.
func (h *house) limit(p *cf.Placement, names ...string) string {
	h.Helper()
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", h.cell.instances[p.GUID].guest.PID()))
	if err != nil {
		h.Fatal(err)
	}
	for line := range strings.Lines(string(groups)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3) // cgroups(7)
		for _, name := range names {
			if b, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", f[1], f[2], name)); err == nil && strings.Contains(f[2], p.GUID) {
				return strings.TrimSpace(string(b))
			}
		}
	}
	h.Fatalf("no %v of the instance in\n%s", names, groups)
	return ""
}

// TestLimitsAndUse: what an instance may use is enforced outside of it, and what it
// uses is seen from there.
func TestLimitsAndUse(t *testing.T) {
	h := newHouse(t)
	h.open(func(c *Config) { c.MemoryMB = 1024 })
	p := h.placement("app", "./app")
	p.DiskMB, p.Launch.LogRate = 4, 1000
	big := h.placement("app", "./app")
	big.MemoryMB = 128
	r := h.untilState(h.place(p), cf.InstanceRunning)
	h.untilState(h.place(big), cf.InstanceRunning)
	if got := h.limit(p, "memory.limit_in_bytes", "memory.max"); got != fmt.Sprint(64<<20) {
		t.Errorf("%s bytes of memory", got)
	}
	if got := h.limit(p, "pids.max"); got != "512" {
		t.Errorf("%s threads", got)
	}
	small, twice := h.limit(p, "cpu.shares", "cpu.weight"), h.limit(big, "cpu.shares", "cpu.weight")
	if pair := small + " " + twice; pair != "64 128" && pair != "8 16" {
		t.Errorf("shares of the CPU: %s", pair)
	}

	use := func() cf.Usage { return h.cell.Usage()[p.GUID] }
	h.until("the droplet is counted", func() bool { return use().DiskBytes > 1_000_000 })
	droplet := use().DiskBytes
	if got := h.get(r, "/write?bytes=3000000"); got != "<nil>" {
		t.Errorf("a file within the quota: %s", got)
	}
	h.until("the file is counted", func() bool { n := use().DiskBytes - droplet; return n >= 3_000_000 && n < 3_500_000 })
	if got := h.get(r, "/write?bytes=5000000"); !strings.Contains(got, "no space left on device") {
		t.Errorf("a file beyond the quota: %s", got)
	}
	if u := use(); u.MemoryBytes < 4<<20 || u.MemoryBytes > 64<<20 || u.Entitled <= 0 {
		t.Errorf("%+v", u)
	}
	h.get(r, "/burn")
	h.until("the CPU is counted", func() bool { return use().CPU > 0.05 })
	h.get(r, "/log?lines=100")
	h.untilLogged("[APP/PROC/WEB/0] ERR app instance exceeded log rate limit (1000 bytes/sec)")
	if n := strings.Count(h.lines.text(), "xxxxx\n"); n >= 100 {
		t.Errorf("%d lines passed", n)
	}
}
