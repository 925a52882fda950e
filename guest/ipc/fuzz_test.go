package ipc

import (
	"syscall"
	"testing"

	"github.com/dewpaas/dew/guest/fd"
)

// FuzzEpoll: after any sequence of writes, reads, registrations and closings,
// a level-triggered epoll reports exactly the registered files that are ready,
// each once, and says of itself that it is readable exactly then.
func FuzzEpoll(f *testing.F) {
	f.Add([]byte{0x10, 0x00, 0x11, 0x01, 0x20, 0x00})
	f.Add([]byte{0x10, 0x12, 0x02, 0x02, 0x22, 0x32, 0x12, 0x03, 0x13})
	f.Fuzz(func(t *testing.T, steps []byte) {
		p := NewEpoll()
		var events [4]*Event
		var in [4]bool
		for i := range events {
			events[i] = NewEvent(0, false)
		}
		one, b := make([]byte, 8), make([]byte, 8)
		one[0] = 1
		for _, s := range steps {
			i := int(s & 3)
			switch s >> 4 & 3 {
			case 0:
				events[i].Write(one, fd.AtPosition)
			case 1:
				err := p.Control(syscall.EPOLL_CTL_ADD, i, events[i], EpollEvent{Events: syscall.EPOLLIN, Data: [2]int32{int32(i)}})
				if (err == 0) == in[i] {
					t.Fatalf("adding %d, there %v: %v", i, in[i], err)
				}
				in[i] = true
			case 2:
				events[i].Read(b, fd.AtPosition)
			case 3:
				err := p.Control(syscall.EPOLL_CTL_DEL, i, events[i], EpollEvent{})
				if (err == 0) != in[i] {
					t.Fatalf("removing %d, there %v: %v", i, in[i], err)
				}
				in[i] = false
			}
			checkEpoll(t, p, events, in)
		}
	})
}

func checkEpoll(t *testing.T, p *Epoll, events [4]*Event, in [4]bool) {
	var want, got [4]bool
	any := false
	for i := range events {
		want[i] = in[i] && events[i].Ready()&fd.Readable != 0
		any = any || want[i]
	}
	if readable := p.Ready()&fd.Readable != 0; readable != any {
		t.Fatalf("readable %v, want %v", readable, any)
	}
	out := make([]EpollEvent, 8)
	for _, e := range out[:p.Wait(out, 0)] {
		if got[e.Data[0]] {
			t.Fatalf("%d is reported twice", e.Data[0])
		}
		got[e.Data[0]] = true
	}
	if got != want {
		t.Fatalf("reported %v, want %v", got, want)
	}
}
