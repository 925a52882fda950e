package nats

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/dewpaas/dew/bus"
	"github.com/dewpaas/dew/bus/bustest"
)

func TestEmbedded(t *testing.T) {
	bustest.Run(t, func(t *testing.T) bus.Bus {
		b, err := Embed()
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
}

// external is a server as operators run it, on a port of loopback.
func external(t *testing.T, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(readyTime) {
		t.Fatal("the server does not start")
	}
	t.Cleanup(s.Shutdown)
	return s
}

func TestElsewhere(t *testing.T) {
	s := external(t, -1)
	bustest.Run(t, func(t *testing.T) bus.Bus {
		b, err := Connect(Options{URLs: s.ClientURL()})
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
}

// TestServerComesBack: what is published meanwhile is lost without an error, and
// what is published afterwards comes.
func TestServerComesBack(t *testing.T) {
	s := external(t, -1)
	port := s.Addr().(*net.TCPAddr).Port
	b, err := Connect(Options{URLs: s.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	got := make(chan string, 1000)
	if _, err := b.Subscribe("a", func(body []byte) { got <- string(body) }); err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	s.WaitForShutdown()
	if err := b.Publish("a", []byte("lost")); err != nil {
		t.Errorf("publish to nobody: %v", err)
	}
	external(t, port)
	arrives(t, b, got, "again")
}

// arrives publishes text until it is heard: what was sent while there was no
// server is lost.
func arrives(t *testing.T, b *Bus, got <-chan string, text string) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		if err := b.Publish("a", []byte(text)); err != nil {
			t.Fatal(err)
		}
		select {
		case m := <-got:
			if m == text {
				return
			}
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			t.Fatal("there is no connection")
		}
	}
}

// TestServerComesLate: who starts before the server is connected when it comes.
func TestServerComesLate(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	b, err := Connect(Options{URLs: fmt.Sprintf("nats://127.0.0.1:%d", port)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	got := make(chan string, 1000)
	if _, err := b.Subscribe("a", func(body []byte) { got <- string(body) }); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish("a", []byte("lost")); err != nil {
		t.Errorf("publish to nobody: %v", err)
	}
	external(t, port)
	arrives(t, b, got, "now")
}

func TestWrongURL(t *testing.T) {
	if b, err := Connect(Options{URLs: "nats://%zz"}); err == nil {
		b.Close()
		t.Error("connected")
	}
}
