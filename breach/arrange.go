package breach

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What there is to gain. Each sets the values that its attacks need.

// secretFile is a file of the host that everyone may read. {file} is its path.
func secretFile(s *scene) error {
	path := filepath.Join(s.dir, "secret")
	s.set("file", path)
	return os.WriteFile(path, []byte(s.token), 0o644)
}

// secretNeighbour is another guest that has the token in its environment, its
// memory and its image. {pid} is its process on the host, {at} the token's
// address there.
func secretNeighbour(s *scene) error {
	n, err := s.suite.newScene(&Row{Tender: s.row.Tender, Steps: []string{"neighbour"}}, neighbourStand(s))
	if err != nil {
		return err
	}
	s.later(n.close)
	n.env = []string{"LOOT=" + s.token}
	if n.image, err = imageOf(n, []byte(s.token), 0o644); err != nil {
		return err
	}
	if err := n.start(n.row.Steps); err != nil {
		return fmt.Errorf("start a neighbour: %w", err)
	}
	if holds, err := n.until(s.suite.ctx, "holding"); err != nil || !holds {
		return fmt.Errorf("the neighbour said %q: %w", n.said, err)
	}
	_, at, _ := strings.Cut(n.said.String(), "ready ")
	at, _, _ = strings.Cut(at, "\n")
	s.neighbour = n
	s.setNumber("pid", n.body.PID())
	s.set("at", strings.TrimSpace(at))
	return nil
}

// neighbourStand is where neighbours of a scene are: behind the walls, or in
// another container where the attacker is in one.
func neighbourStand(s *scene) stand {
	if s.baseline != nil {
		return s.baseline
	}
	return guarded
}

// imageOf makes an image of a scene.
func imageOf(s *scene, content []byte, mode os.FileMode) (*os.File, error) {
	path := filepath.Join(s.dir, "image")
	if err := os.WriteFile(path, content, mode); err != nil {
		return nil, err
	}
	flags := os.O_RDONLY
	if s.writable {
		flags = os.O_RDWR
		os.Chmod(path, mode|0o222)
	}
	f, err := os.OpenFile(path, flags, 0)
	if err == nil {
		s.later(func() { f.Close() })
	}
	return f, err
}

// ownImage gives the attacker an image that it may not change.
func ownImage(s *scene) (err error) {
	s.image, err = imageOf(s, bytes.Repeat([]byte("as staged "), 1000), 0o644)
	return err
}

// payloadImage is an image that is a program: it tells the token when it runs.
// {payload} is its path on the host, {n} its length.
func payloadImage(s *scene) (err error) {
	b := payload(s.token)
	s.image, err = imageOf(s, b, 0o755)
	s.set("payload", filepath.Join(s.dir, "image"))
	s.setNumber("n", len(b))
	return err
}

// inheritedFile is a descriptor of the starting process that is not
// close-on-exec, with the token behind it.
func inheritedFile(s *scene) error {
	if err := secretFile(s); err != nil {
		return err
	}
	fd, err := unix.Open(s.values["file"], unix.O_RDONLY, 0)
	s.later(func() { unix.Close(fd) })
	return err
}

// sessionKey is a key of the session that starts guests. {key} is its name.
func sessionKey(s *scene) error {
	s.set("key", keyName)
	return s.suite.room.addKey(s.token)
}

// segment is System V shared memory of the host. {key} is its key.
func segment(s *scene) error {
	const key = 0xdeb0
	s.setNumber("key", key)
	id, err := s.suite.room.sharedMemory(key, s.token)
	if err == nil {
		s.later(func() { s.suite.room.forgetMemory(id) })
	}
	return err
}

// kernelMessage makes the token a message of the kernel's log.
func kernelMessage(s *scene) error {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	record := make([]byte, 8192)
	s.token = ""
	for range 1 << 14 {
		n, err := unix.Read(fd, record)
		if err != nil && err != unix.EPIPE {
			break
		}
		_, text, _ := strings.Cut(string(record[:max(n, 0)]), ";")
		text, _, _ = strings.Cut(text, "\n")
		if len(text) > 40 && !strings.ContainsAny(text, "\\\x1b") {
			s.token = text
		}
	}
	if s.token == "" {
		return errors.New("the kernel's log is empty")
	}
	return nil
}

// traffic is datagrams with the token on the room's loopback.
func traffic(s *scene) error {
	return s.suite.room.do(func() error {
		c, err := net.Dial("udp", "127.0.0.1:9")
		if err != nil {
			return err
		}
		stop := make(chan struct{})
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					c.Write([]byte(s.token))
				}
			}
		}()
		s.later(func() { close(stop); <-stopped; c.Close() })
		return nil
	})
}

// listener accepts what attackers say. {port} is its TCP port on the room's
// loopback, {name} its abstract Unix name.
func listener(network string) func(s *scene) error {
	return func(s *scene) error {
		address := "127.0.0.1:0"
		if network == "unix" {
			address = "@" + s.name
			s.set("name", s.name)
		}
		l, err := s.suite.room.listen(network, address)
		if err != nil {
			return err
		}
		if a, ok := l.Addr().(*net.TCPAddr); ok {
			s.setNumber("port", a.Port)
		}
		s.heard = make(chan string, 16)
		served := make(chan struct{})
		go func() {
			defer close(served)
			s.serve(l)
		}()
		s.later(func() { l.Close(); <-served })
		return nil
	}
}

// serve passes on the first words of each connection.
func (s *scene) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		c.SetDeadline(time.Now().Add(2 * time.Second))
		b := make([]byte, 256)
		n, _ := c.Read(b)
		c.Close()
		select {
		case s.heard <- string(b[:n]):
		default:
		}
	}
}

// programFile gives the scene a program file of its own. {program} is its path.
func programFile(s *scene) error {
	if s.baseline != nil {
		s.set("program", "/attacker")
		return nil
	}
	return s.copyProgram()
}

// mountPoint is a folder that everyone can enter. {dir} is its path.
func mountPoint(s *scene) error {
	path := filepath.Join(s.dir, "mnt")
	s.set("dir", path)
	return os.Mkdir(path, 0o777)
}

// hostPID is the suite's own process. {pid} is its number, {file} as secretFile.
func hostPID(s *scene) error {
	s.setNumber("pid", os.Getpid())
	return nil
}

// leftBehind is the attacker's earlier run, which leaves a file. {where} is its
// path.
func leftBehind(s *scene) error {
	s.set("where", "/left")
	if s.off {
		s.set("where", filepath.Join(s.dir, "left"))
	}
	row := *s.row
	row.Steps = []string{"leave {where} {token}"}
	first, err := s.suite.newScene(&row, s.stand)
	if err != nil {
		return err
	}
	defer first.close()
	first.dir, first.values, first.baseline, first.limits = s.dir, s.values, s.baseline, s.limits
	if err := first.start(first.filled()); err != nil {
		return err
	}
	if _, err := first.until(s.suite.ctx, "nothing is waited for"); err != nil {
		return err
	}
	if !first.said.has("leave: made") {
		return fmt.Errorf("the first run says %q", first.lastWords())
	}
	return nil
}
