package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// contain makes the rest of a container of the namespaces that the harness has
// started this process in, as the usual runtimes do it (opencontainers/runc
// libcontainer/standard_init_linux.go), and executes the same program again in
// it, with the steps. words are the root directory, the capabilities as a
// mask, the user, 1 for no_new_privs, and the file with the seccomp filter.
func contain(words args, steps []string) {
	runtime.LockOSThread()
	if err := enterContainer(words); err != nil {
		fmt.Println("contain:", err)
		os.Exit(9)
	}
	call(syscall.SYS_EXECVE, cString("/attacker"), pointers(append([]string{"attacker"}, steps...)...), pointers(os.Environ()...))
	os.Exit(9)
}

// do makes calls until one fails.
type do struct{ err error }

func (d *do) call(number uintptr, a ...uintptr) {
	if d.err == nil {
		_, d.err = try(number, a...)
	}
}

func (d *do) mount(what, where, kind string, flags uintptr, data string) {
	if d.err == nil {
		if d.err = only(try(syscall.SYS_MOUNT, cString(what), cString(where), cString(kind), flags, cString(data))); d.err != nil {
			d.err = fmt.Errorf("mount %s: %w", where, d.err)
		}
	}
}

func enterContainer(a args) error {
	root, caps, user, noNew, filter := a.text(0), a.number(1), a.number(2), a.number(3), a.text(4)
	const gate = 3 // is closed by the harness when this process is in its control group
	program, err := os.ReadFile(filter)
	if err != nil {
		return err
	}
	d := new(do)
	d.call(syscall.SYS_READ, gate, address(&low), 1)
	const closeRange, onExec = 436, 4 // CLOSE_RANGE_CLOEXEC: all but stdio and the image
	d.call(closeRange, gate, 5, onExec)
	d.call(closeRange, 7, 1<<32-1, onExec)
	d.mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	d.mount(root, root, "", syscall.MS_BIND|syscall.MS_REC, "")
	d.mount("proc", root+"/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, "")
	for _, name := range []string{"null", "zero", "urandom"} {
		d.mount("/dev/"+name, root+"/dev/"+name, "", syscall.MS_BIND, "")
	}
	// What the OCI default masks or makes read-only below /proc.
	for _, name := range []string{"/kcore", "/keys", "/timer_list", "/sysrq-trigger"} {
		if _, err := os.Stat(root + "/proc" + name); err == nil {
			d.mount("/dev/null", root+"/proc"+name, "", syscall.MS_BIND, "")
		}
	}
	d.mount(root+"/proc/sys", root+"/proc/sys", "", syscall.MS_BIND, "")
	d.mount("", root+"/proc/sys", "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
	d.call(syscall.SYS_CHDIR, cString(root))
	d.call(syscall.SYS_PIVOT_ROOT, cString("."), cString("."))
	d.call(syscall.SYS_UMOUNT2, cString("."), 2) // MNT_DETACH
	d.call(syscall.SYS_CHDIR, cString("/"))
	d.call(syscall.SYS_SETHOSTNAME, cString("container"), 9)
	d.rights(caps, user, noNew, program)
	return d.err
}

// rights gives up what the container is not to have. Capabilities survive the
// change of user by PR_SET_KEEPCAPS, and are then set to what was asked for.
func (d *do) rights(caps, user, noNew uintptr, filter []byte) {
	for c := range uintptr(41) {
		if caps>>c&1 == 0 {
			d.call(syscall.SYS_PRCTL, 24, c) // PR_CAPBSET_DROP
		}
	}
	if noNew != 0 {
		d.call(syscall.SYS_PRCTL, 38, 1, 0, 0, 0) // PR_SET_NO_NEW_PRIVS
	}
	kept = append(kept, filter)
	type program struct {
		n uint16
		p *byte
	}
	wall := &program{uint16(len(filter) / 8), unsafe.SliceData(filter)}
	d.call(317, 1, 0, address(wall)) // seccomp, SECCOMP_SET_MODE_FILTER, while it may
	d.call(syscall.SYS_PRCTL, 8, 1)  // PR_SET_KEEPCAPS
	d.call(syscall.SYS_SETRESGID, user, user, user)
	d.call(syscall.SYS_SETRESUID, user, user, user)
	sets := &[6]uint32{uint32(caps), uint32(caps), 0, uint32(caps >> 32), uint32(caps >> 32), 0}
	d.call(syscall.SYS_CAPSET, address(&[2]uint32{0x20080522, 0}), address(sets))
}
