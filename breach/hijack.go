package breach

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// hijacks are what an attacker has who has taken over the QEMU around its
// guest, by a flaw in a device that nobody knows of. QEMU is made to make the
// calls, where it is: behind its jail, or, without it, as an ordinary process.
func hijacks() []Attack {
	return []Attack{
		hijack("hijack-read-file", "the content of a file of the host, for who owns QEMU", told, func(s *scene, p *puppet) error {
			return s.reads(p, s.values["file"])
		}, secretFile),
		hijack("hijack-read-proc", "the environment of another instance, for who owns QEMU", told, func(s *scene, p *puppet) error {
			return s.reads(p, "/proc/"+s.values["pid"]+"/environ")
		}, sealedNeighbour),
		hijack("hijack-read-memory", "the memory of another instance, for who owns QEMU", told, func(s *scene, p *puppet) error {
			to := p.put(make([]byte, len(s.token)))
			local, remote := p.vector(uint64(to), len(s.token)), p.vector(s.number("at"), len(s.token))
			_, err := p.call(unix.SYS_PROCESS_VM_READV, uintptr(s.number("pid")), local, 1, remote, 1, 0)
			s.loot = p.see(to, len(s.token))
			return err
		}, sealedNeighbour),
		hijack("hijack-write-memory", "the memory of another instance is changed by who owns QEMU", overwrittenThere, func(s *scene, p *puppet) error {
			from := p.put([]byte(s.token))
			local, remote := p.vector(uint64(from), len(s.token)), p.vector(s.number("at"), len(s.token))
			_, err := p.call(unix.SYS_PROCESS_VM_WRITEV, uintptr(s.number("pid")), local, 1, remote, 1, 0)
			return err
		}, sealedNeighbour, otherToken),
		hijack("hijack-ptrace", "another instance obeys who owns QEMU", func(s *scene) (bool, error) {
			return s.neighbour.status("TracerPid") == s.body.PID(), nil
		}, func(s *scene, p *puppet) error {
			_, err := p.call(unix.SYS_PTRACE, unix.PTRACE_ATTACH, uintptr(s.number("pid")))
			return err
		}, sealedNeighbour),
		hijack("hijack-kill", "another instance ends by who owns QEMU", harmed().gained, func(s *scene, p *puppet) error {
			_, err := p.call(unix.SYS_KILL, uintptr(s.number("pid")), uintptr(unix.SIGKILL))
			return err
		}, sealedNeighbour),
		hijack("hijack-exec", "another program of the host runs for who owns QEMU", stolen().gained, func(s *scene, p *puppet) error {
			path := p.text(s.values["payload"])
			_, err := p.call(unix.SYS_EXECVE, path, p.put(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(path)), 0)), 0)
			return err
		}, payloadImage),
		hijack("hijack-fork", "a second process, for who owns QEMU", func(s *scene) (bool, error) {
			children := s.children()
			for _, c := range children {
				pid := 0
				fmt.Sscan(c, &pid)
				unix.Kill(pid, unix.SIGKILL)
			}
			return len(children) > 0, nil
		}, func(s *scene, p *puppet) error { _, err := p.call(unix.SYS_FORK); return err }),
		hijack("hijack-loopback", "a word with a server on the host's loopback, for who owns QEMU", heard().gained, func(s *scene, p *puppet) error {
			to := make([]byte, 16)
			binary.NativeEndian.PutUint16(to, unix.AF_INET)
			binary.BigEndian.PutUint16(to[2:], uint16(s.number("port")))
			copy(to[4:], []byte{127, 0, 0, 1})
			return s.says(p, unix.AF_INET, to)
		}, listener("tcp")),
		hijack("hijack-unix", "a word with a server on an abstract Unix socket of the host, for who owns QEMU", heard().gained, func(s *scene, p *puppet) error {
			to := binary.NativeEndian.AppendUint16(nil, unix.AF_UNIX)
			return s.says(p, unix.AF_UNIX, append(append(to, 0), s.values["name"]...))
		}, listener("unix")),
		hijack("hijack-program", "the program of all its instances is changed by who owns QEMU", changed(programPath).gained, func(s *scene, p *puppet) error {
			from := p.text(s.token)
			for fd := uintptr(3); fd < 24; fd++ { // whatever it has open
				if _, err := p.call(unix.SYS_PWRITE64, fd, from, uintptr(len(s.token)), 4096); err != nil {
					return err
				}
			}
			return nil
		}, programFile),
		hijack("hijack-bpf", "a BPF map, for who owns QEMU", opened("anon_inode:bpf-map").gained, func(s *scene, p *puppet) error {
			attributes := make([]byte, 72)
			for i, v := range []uint32{2, 4, 8, 1} { // BPF_MAP_TYPE_ARRAY, key, value, entries
				binary.NativeEndian.PutUint32(attributes[4*i:], v)
			}
			_, err := p.call(unix.SYS_BPF, 0, p.put(attributes), uintptr(len(attributes)))
			return err
		}),
	}
}

// hijack is an attack by calls of the QEMU process itself.
func hijack(name, goal string, gained func(*scene) (bool, error), do func(*scene, *puppet) error, arrange ...func(*scene) error) Attack {
	w := Witness{arrange: arrange, gained: gained, after: func(s *scene) error {
		return takeOver(s.body.PID(), func(p *puppet) error { return do(s, p) })
	}}
	return Attack{Name: name, Class: Escape, Goal: goal, Rows: []Row{{Tender: QEMU, Guard: qemuJail(), Steps: []string{"hold"}, Witness: w}}}
}

// qemuJail is where QEMU is.
func qemuJail() Guard {
	return Guard{Name: "QEMU's jail", What: "namespaces, an empty root, a user of its own without capabilities, and QEMU's seccomp sandbox (tender/qemu)",
		off: func(s *scene) { s.stand = openQEMU }}
}

// openQEMU is a QEMU as an ordinary process of root, with a machine that stands
// still. It has the program open, for writing too.
func openQEMU(s *scene, stdout *os.File, _ []string) (body, error) {
	program, err := os.OpenFile(s.program, os.O_RDWR, 0)
	if s.program == s.suite.program { // that of all scenes
		program, err = os.Open(s.program)
	}
	if err != nil {
		return nil, err
	}
	defer program.Close()
	cmd := exec.Command("qemu-system-x86_64", "-M", "none", "-nodefaults", "-display", "none", "-monitor", "none", "-S")
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.ExtraFiles = stdout, stdout, s.dir, []*os.File{program}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	b := &bareBody{cmd: cmd, done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go b.collect()
	fmt.Fprintln(stdout, "holding") // for a guest that there is none of
	return b, nil
}

// sealedNeighbour is a neighbour behind the process tender, whose memory is that
// of its process.
func sealedNeighbour(s *scene) error {
	kind := s.row
	row := *s.row
	row.Tender = Process
	s.row = &row
	defer func() { s.row = kind }()
	return secretNeighbour(s)
}

// otherToken is one that the neighbour has not.
func otherToken(s *scene) error {
	s.token = strings.ToUpper(s.token)
	return nil
}

func overwrittenThere(s *scene) (bool, error) {
	b, err := readMemory(s.neighbour.body.PID(), uintptr(s.number("at")), len(s.token))
	return string(b) == s.token, err
}

// told: what was read is the token.
func told(s *scene) (bool, error) { return strings.Contains(s.loot, s.token), nil }

// number is a value of the scene.
func (s *scene) number(name string) (n uint64) {
	fmt.Sscan(s.values[name], &n)
	return n
}

// reads has QEMU read a file.
func (s *scene) reads(p *puppet, path string) error {
	fd, err := p.call(unix.SYS_OPENAT, ^uintptr(99), p.text(path), unix.O_RDONLY) // AT_FDCWD is -100
	if err != nil || fd < 0 {
		return err
	}
	const most = 4096
	to := p.put(make([]byte, most))
	_, err = p.call(unix.SYS_READ, uintptr(fd), to, most)
	s.loot = p.see(to, most)
	return err
}

// says has QEMU connect to an address and say the token.
func (s *scene) says(p *puppet, family uintptr, to []byte) error {
	fd, err := p.call(unix.SYS_SOCKET, family, unix.SOCK_STREAM, 0)
	if err != nil || fd < 0 {
		return err
	}
	if answer, err := p.call(unix.SYS_CONNECT, uintptr(fd), p.put(to), uintptr(len(to))); err != nil || answer < 0 {
		return err
	}
	_, err = p.call(unix.SYS_WRITE, uintptr(fd), p.text(s.token), uintptr(len(s.token)))
	return err
}

// vector is a struct iovec in its memory.
func (p *puppet) vector(at uint64, n int) uintptr {
	return p.put(binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, at), uint64(n)))
}
