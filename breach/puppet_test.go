package breach

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTakeOver: a process makes calls that are not its own, and goes on.
func TestTakeOver(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a process is traced")
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	for range 3 {
		err := takeOver(cmd.Process.Pid, func(p *puppet) error {
			if got, err := p.call(unix.SYS_GETPID); err != nil || got != int64(cmd.Process.Pid) {
				t.Errorf("it is process %d: %v", got, err)
			}
			fd, err := p.call(unix.SYS_OPENAT, ^uintptr(99), p.text("/proc/self/comm"), unix.O_RDONLY)
			to := p.put(make([]byte, 16))
			n, err2 := p.call(unix.SYS_READ, uintptr(fd), to, 16)
			if err != nil || err2 != nil || p.see(to, 5) != "sleep" {
				t.Errorf("descriptor %d, %d bytes read, %q: %v, %v", fd, n, p.see(to, 5), err, err2)
			}
			if got, err := p.call(unix.SYS_CLOSE, uintptr(fd)); err != nil || got != 0 {
				t.Errorf("close: %d, %v", got, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := takeOver(cmd.Process.Pid, func(p *puppet) error { _, err := p.call(unix.SYS_EXIT_GROUP, 7); return err }); err != nil {
		t.Error(err)
	}
	cmd.Wait()
	if cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("it ended with %v", cmd.ProcessState)
	}
}
