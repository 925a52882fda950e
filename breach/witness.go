package breach

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dewpaas/dew/abi/control"
	"github.com/dewpaas/dew/tender"
)

// stolen: the attacker tells the token, which it could only know from where
// it was laid out.
func stolen(arrange ...func(*scene) error) Witness {
	return Witness{arrange: arrange, gained: func(s *scene) (bool, error) { return s.said.has(s.token), nil }}
}

// heard: the listener got the token.
func heard(arrange ...func(*scene) error) Witness {
	return Witness{arrange: arrange, gained: func(s *scene) (bool, error) {
		for {
			select {
			case text := <-s.heard:
				if text == s.token {
					return true, nil
				}
			case <-time.After(20 * time.Millisecond):
				return false, nil
			}
		}
	}}
}

// opened: the attacker's process has a descriptor of such a thing.
func opened(what string) Witness {
	return Witness{gained: func(s *scene) (bool, error) {
		for _, link := range linksOf(s.body.PID()) {
			if strings.HasPrefix(link, what) {
				return true, nil
			}
		}
		return false, nil
	}}
}

// procFile reads a file of /proc about the attacker; nothing when it is gone.
func (s *scene) procFile(name string) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.body.PID(), name))
	return string(b)
}

// proc: a file of /proc about the attacker holds such words.
func proc(name, words string, arrange ...func(*scene) error) Witness {
	return Witness{arrange: arrange, gained: func(s *scene) (bool, error) {
		return strings.Contains(s.procFile(name), strings.ReplaceAll(words, "{dir}", s.values["dir"])), nil
	}}
}

// status is a number in /proc/PID/status.
func (s *scene) status(field string) int {
	for line := range strings.Lines(s.procFile("status")) {
		if name, value, ok := strings.Cut(line, ":"); ok && name == field {
			n, _ := strconv.Atoi(strings.Fields(value)[0])
			return n
		}
	}
	return -1
}

// children of the attacker, of all its threads.
func (s *scene) children() (pids []string) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.body.PID()))
	for _, name := range files {
		b, _ := os.ReadFile(name)
		pids = append(pids, strings.Fields(string(b))...)
	}
	return pids
}

// multiplied: there is a second process.
func multiplied() Witness {
	return Witness{gained: func(s *scene) (bool, error) { return len(s.children()) > 0, nil }}
}

// newUserSpace: a child of the attacker has a user namespace of its own, and
// with it all capabilities there.
func newUserSpace() Witness {
	return Witness{gained: func(s *scene) (bool, error) {
		ours, err := os.Readlink("/proc/self/ns/user")
		for _, pid := range s.children() {
			if theirs, err := os.Readlink("/proc/" + pid + "/ns/user"); err == nil && theirs != ours {
				return true, nil
			}
		}
		return false, err
	}}
}

// joined: a thread of the attacker is in the neighbour's network.
func joined() Witness {
	return Witness{arrange: []func(*scene) error{secretNeighbour}, gained: func(s *scene) (bool, error) {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", s.neighbour.body.PID()))
		if err != nil {
			return false, err
		}
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/ns/net", s.body.PID()))
		for _, l := range links {
			if own, err := os.Readlink(l); err == nil && own == theirs {
				return true, nil
			}
		}
		return false, nil
	}}
}

// harmed: the neighbour has ended, or was stopped.
func harmed() Witness {
	return Witness{arrange: []func(*scene) error{secretNeighbour}, gained: func(s *scene) (bool, error) {
		select {
		case <-s.neighbour.ended:
			return true, nil
		case <-time.After(200 * time.Millisecond): // a signal takes its time
		}
		state := s.neighbour.procFile("stat")
		end := strings.LastIndexByte(state, ')')
		return end > 0 && len(state) > end+2 && state[end+2] == 'T', nil
	}}
}

// overwritten: the token is in the neighbour's memory, where other text was.
func overwritten() Witness {
	return Witness{arrange: []func(*scene) error{secretNeighbour, func(s *scene) error {
		s.token = strings.ToUpper(s.token)
		s.set("token", s.token)
		return nil
	}}, gained: func(s *scene) (bool, error) {
		at, err := strconv.ParseUint(s.values["at"], 10, 64)
		if err != nil {
			return false, err
		}
		b, err := readMemory(s.neighbour.body.PID(), uintptr(at), len(s.token))
		return string(b) == s.token, err
	}}
}

// changed: a file of the host has the token in it.
func changed(path func(*scene) string, arrange ...func(*scene) error) Witness {
	return Witness{arrange: arrange, gained: func(s *scene) (bool, error) {
		b, err := os.ReadFile(path(s))
		return bytes.Contains(b, []byte(s.token)), err
	}}
}

func imagePath(s *scene) string { return filepath.Join(s.dir, "image") }

// programPath is where the program of the next start is read from.
func programPath(s *scene) string {
	if s.baseline != nil {
		return filepath.Join(s.dir, "root", "attacker")
	}
	return s.program
}

// recordChanged: the boot record has the token in it.
func recordChanged() Witness {
	return Witness{gained: func(s *scene) (bool, error) {
		if s.record == nil { // of a guest, through its descriptor
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/fd/8", s.body.PID()))
			return err == nil && bytes.Contains(b, []byte(s.token)), nil
		}
		b := make([]byte, 4096)
		n, _ := s.record.ReadAt(b, 0)
		return bytes.Contains(b[:n], []byte(s.token)), nil
	}}
}

// named: the room's host name is the token.
func named() Witness {
	return Witness{gained: func(s *scene) (bool, error) {
		name, err := s.suite.room.hostName()
		return name == s.token, err
	}}
}

// linked: the room's network has an interface more.
func linked(name string) Witness {
	return Witness{
		arrange: []func(*scene) error{func(s *scene) error {
			s.later(func() { s.suite.room.removeLink(name) })
			return nil
		}},
		gained: func(s *scene) (bool, error) { return s.suite.room.hasLink(name) }}
}

// realTime: the attacker's process comes before all ordinary ones.
func realTime() Witness {
	return Witness{gained: func(s *scene) (bool, error) {
		const fifo = 1
		return s.alive() && policyOf(s.body.PID()) == fifo, nil
	}}
}

// took: more of something than the limit, by the kernel's count.
func took(count func(*scene) int, atLeast int) Witness {
	return Witness{gained: func(s *scene) (bool, error) { return count(s) >= atLeast, nil }}
}

func threads(s *scene) int     { return s.status("Threads") }
func descriptors(s *scene) int { return len(linksOf(s.body.PID())) }

// memory in MiB, the most that the host has given while the attacker held it.
func memory(s *scene) int { return s.status("VmHWM") >> 10 }

// spent: more CPU time than the quota allows, in two seconds. The quota is far
// below what a busy machine has left for the run without it.
func spent(quota float64) Witness {
	return Witness{
		arrange: []func(*scene) error{func(s *scene) error {
			s.limits.CPUs, s.patience = quota, 1500*time.Millisecond
			if s.off {
				s.limits.CPUs, s.patience = 0, 25*time.Second
			}
			return nil
		}},
		gained: func(s *scene) (bool, error) {
			before, begin := cpuTime(s), time.Now()
			select {
			case <-time.After(2 * time.Second):
			case <-s.ended:
			}
			return float64(cpuTime(s)-before) > 1.6*quota*float64(time.Since(begin)), nil
		}}
}

// cpuTime of the attacker's process, as /proc/PID/stat tells in ticks of 10 ms.
func cpuTime(s *scene) time.Duration {
	stat := s.procFile("stat")
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// outlived: the attacker still runs although it was told to end.
func outlived() Witness {
	return Witness{
		after: func(s *scene) error {
			if !s.politeOnly {
				return s.body.Kill()
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			s.body.(tender.Instance).Link().Signal(ctx, syscall.SIGTERM)
			return nil
		},
		gained: func(s *scene) (bool, error) {
			select {
			case <-s.ended:
				return false, nil
			case <-time.After(time.Second):
				return true, nil
			}
		}}
}

// piled: the host keeps more of the attacker's log than a pipe holds, while
// nobody reads it.
func piled() Witness {
	return Witness{
		arrange: []func(*scene) error{func(s *scene) error { s.deaf = true; return nil }},
		gained: func(s *scene) (bool, error) {
			if s.toFile {
				info, err := s.out.Stat()
				return err == nil && info.Size() > 1<<20, err
			}
			n, err := waiting(s.out)
			return n > 1<<20, err
		}}
}

// link of a guest, or nil.
func (s *scene) link() *tender.Link {
	if i, ok := s.body.(tender.Instance); ok {
		return i.Link()
	}
	return nil
}

// kept: the caretaker keeps more than so many of what the guest tells.
func kept(kind control.Kind, count func(*tender.Link) int, bound int) Witness {
	return Witness{gained: func(s *scene) (bool, error) {
		if s.believe {
			return s.control.count(kind) > bound, nil
		}
		return count(s.link()) > bound, nil
	}}
}

// suffered: what a guest said had an effect on a caretaker that believes it, or
// on the real one.
func suffered(believing func(credulous) bool, real func(*scene) bool) Witness {
	return Witness{gained: func(s *scene) (bool, error) {
		if s.believe {
			return believing(s.control.suffered()), nil
		}
		return real(s), nil
	}}
}

// soonClosed tells whether a channel is closed within what a busy machine needs.
func soonClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-time.After(5 * time.Second):
		return false
	}
}

func hasControls(lines []string) bool {
	return strings.ContainsAny(strings.Join(lines, ""), "\x1b\r\n\x07")
}

// fromFuture: by the caretaker's own clock, which orders the timeline.
func fromFuture(marks []tender.Mark) bool {
	for _, m := range marks {
		if time.Until(m.Seen) > time.Hour {
			return true
		}
	}
	return false
}

// longAnswer is more than a caretaker should keep of one answer, in bytes.
const longAnswer = 70 << 20

// endless: an answer is kept that is longer than any should be. The question
// is asked at once, so that it is the first.
func endless() Witness {
	w := suffered(
		func(c credulous) bool { return c.bytes > longAnswer },
		func(s *scene) bool {
			answer := <-s.answer
			s.answer <- answer // for the next look
			return len(answer) > longAnswer
		})
	w.begun = func(s *scene) error {
		if l := s.link(); l != nil && !s.believe {
			s.answer = make(chan []byte, 1)
			go func() { s.answer <- ask(l) }()
		}
		return nil
	}
	return w
}

// ask puts a question to the guest; no answer is nil.
func ask(l *tender.Link) []byte {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	answer, err := l.Ask(ctx, control.Metrics, nil)
	if err != nil {
		return nil
	}
	return answer
}

// early: an answer that was there before the question is taken for it. The
// question is put when all answers have passed.
func early() Witness {
	w := suffered(
		func(c credulous) bool { return c.replies == earlyAnswers },
		func(s *scene) bool { return bytes.Contains(ask(s.link()), []byte(s.token)) })
	w.after = func(s *scene) error {
		for end := time.Now().Add(10 * time.Second); s.control.count(control.Reply) < earlyAnswers; {
			if time.Now().After(end) {
				return fmt.Errorf("%d of %d answers have come", s.control.count(control.Reply), earlyAnswers)
			}
			time.Sleep(time.Millisecond)
		}
		return nil
	}
	return w
}

// earlyAnswers is how many the attacker gives (breach/attacker, control.go).
const earlyAnswers = 100
