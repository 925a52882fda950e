package foundation

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// TestVirtualMachines: instances that are virtual machines live as others do, and an
// app chooses among the kinds that the operator allows.
func TestVirtualMachines(t *testing.T) {
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("needs QEMU: apt install qemu-system-x86")
	}
	s := newSite(t, "", "--tender", "qemu,process")
	s.must("push", "app", "-m", "128M", "-i", "1")
	s.instances("app", 1)
	s.must("scale", "app", "-i", "2")
	before := s.instances("app", 2)
	if n := s.machines(); n != 2 {
		t.Errorf("%d virtual machines", n)
	}
	if logs := s.must("logs", "app", "--recent"); !strings.Contains(logs, "[APP/PROC/WEB/1] OUT version 1") {
		t.Errorf("what the program wrote is not in the log:\n%s", logs)
	}

	s.crash("app")
	s.until("the crash is told", func() bool {
		return strings.Contains(s.must("events", "app"), "APP/PROC/WEB: Exited with status 3")
	})
	s.until("both run again", func() bool { return s.running("app") == 2 && s.machines() == 2 })

	before = s.instances("app", 2)
	if _, err := s.api("DELETE", s.process("app")+"/instances/1", ""); err != nil {
		t.Error(err)
	}
	s.until("instance 1 is another one", func() bool { return s.instances("app", 2)["1"] != before["1"] })
	s.until("both run again", func() bool { return s.running("app") == 2 && s.machines() == 2 })

	before = s.instances("app", 2)
	s.kill()
	s.start()
	if after := s.instances("app", 2); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("dew up was killed: %v became %v", before, after)
	}

	s.choose("app", "process")
	s.instances("app", 2)
	if n := s.machines(); n != 0 {
		t.Errorf("%d virtual machines of an app that wants none", n)
	}
	s.choose("app", "odd")
	s.until("it is told that there is no such tender", func() bool {
		out, err := s.api("GET", s.process("app")+"/stats", "")
		return err == nil && strings.Contains(out, `no cell has a tender of kind \"odd\"`)
	})
	s.must("stop", "app")
	s.until("nothing runs", func() bool { return s.guests() == 0 })
}

// choose starts an app anew with a kind of tender. It need not come up.
func (s *site) choose(app, kind string) {
	s.Helper()
	if _, err := s.api("PATCH", "/v3/apps/"+s.guid(app), fmt.Sprintf(`{"metadata":{"labels":{"dew.tender":%q}}}`, kind)); err != nil {
		s.Fatal(err)
	}
	if _, err := s.api("POST", "/v3/apps/"+s.guid(app)+"/actions/restart", ""); err != nil {
		s.Fatal(err)
	}
	s.until("the old instances are gone", func() bool { return kind == "odd" || s.running(app) == 2 })
}

// machines is how many of the guests are virtual machines.
func (s *site) machines() int {
	n := 0
	for _, keeper := range s.keepers() {
		out, _ := exec.Command("ps", "--ppid", keeper, "-o", "comm=").Output()
		n += strings.Count(string(out), "qemu-system")
	}
	return n
}
