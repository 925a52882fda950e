package control

import (
	"bytes"
	"syscall"
	"testing"

	"github.com/dewpaas/dew/abi/control"
)

// channel is a control channel with room for so many bytes.
type channel struct {
	room int
	got  []byte
}

func (c *channel) write(p []byte) (int, syscall.Errno) {
	n := min(c.room, len(p))
	if n == 0 {
		return 0, syscall.EAGAIN
	}
	c.room -= n
	c.got = append(c.got, p[:n]...)
	return n, 0
}

func TestFullChannelDropsWholeFrames(t *testing.T) {
	c := &channel{room: 40}
	s := &sender{write: c.write}
	line := func(text string) control.Frame {
		return control.Frame{Kind: control.Report, Payload: []byte(text)}
	}
	if !s.send(line("first line of the log")) { // 33 bytes
		t.Fatal("the first was dropped")
	}
	if !s.send(line("second, cut after 7 bytes")) {
		t.Error("a frame that has begun must go on")
	}
	if s.send(line("third")) {
		t.Error("the third is on its way through a full channel")
	}
	c.room = 1000
	if !s.send(line("fourth")) {
		t.Error("there is room again")
	}
	var texts []string
	for b := c.got; len(b) > 0; {
		f, n, err := control.Parse(b)
		if err != nil || n == 0 {
			t.Fatalf("%d bytes are no frame: %v", len(b), err)
		}
		texts = append(texts, string(f.Payload))
		b = b[n:]
	}
	if len(texts) != 3 || texts[1] != "second, cut after 7 bytes" || texts[2] != "fourth" {
		t.Errorf("received %q", texts)
	}
}

func TestAnswersHaveTheirContents(t *testing.T) {
	if b := stacks(); !bytes.Contains(b, []byte("TestAnswersHaveTheirContents")) {
		t.Error("the stacks do not have this test")
	}
	if b := metrics(); !bytes.Contains(b, []byte("/sched/goroutines:goroutines ")) {
		t.Errorf("metrics are %s", b)
	}
	b := heap()
	for b = b[8:]; len(b) > 0; { // every record ends where the next begins
		if len(b) < 40 {
			t.Fatalf("%d bytes are left", len(b))
		}
		frames := int(control.U32(b[32:]))
		if len(b) < 40+8*frames {
			t.Fatalf("a record of %d frames in %d bytes", frames, len(b))
		}
		b = b[40+8*frames:]
	}
}

func TestDefaultsAreThoseOfGo(t *testing.T) {
	for sig, want := range map[syscall.Signal]action{
		syscall.SIGTERM: end, syscall.SIGHUP: end, syscall.SIGINT: end, syscall.SIGKILL: end,
		syscall.SIGQUIT: dump, syscall.SIGABRT: dump, syscall.SIGSYS: dump, syscall.SIGSEGV: dump,
		syscall.SIGUSR1: ignore, syscall.SIGCHLD: ignore, syscall.SIGPIPE: ignore, syscall.SIGSTOP: ignore,
	} {
		if defaults[sig] != want {
			t.Errorf("%v: %v, want %v", sig, defaults[sig], want)
		}
	}
}

// FuzzTake: however the bytes are cut, the same frames come out, and the rest
// is less than a frame.
func FuzzTake(f *testing.F) {
	two := control.Append(control.Append(nil, control.Frame{Kind: control.Signal, Payload: []byte{15, 0, 0, 0}}), control.Frame{Kind: control.Stacks, ID: 3})
	f.Add(two, 5)
	f.Add(two, 20)
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255}, 1)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		var whole, parts []byte
		_, ok := take(b, func(f control.Frame) { whole = control.Append(whole, f) })
		if cut < 0 || cut > len(b) {
			return
		}
		collect := func(f control.Frame) { parts = control.Append(parts, f) }
		rest, ok1 := take(b[:cut], collect)
		if ok1 {
			var ok2 bool
			rest, ok2 = take(append(rest, b[cut:]...), collect)
			if ok2 != ok {
				t.Fatalf("accepted whole %v, in parts %v", ok, ok2)
			}
		}
		if ok && (!bytes.Equal(whole, parts) || len(whole)+len(rest) != len(b)) {
			t.Fatalf("%d bytes of frames whole, %d in parts, rest %d of %d", len(whole), len(parts), len(rest), len(b))
		}
	})
}
