package bustest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dewpaas/dew/bus"
)

// patience bounds every wait; a passing run never needs it.
const patience = 30 * time.Second

// Run runs the suite. open makes a new bus each time it is called.
func Run(t *testing.T, open func(t *testing.T) bus.Bus) {
	for _, c := range []struct {
		name string
		test func(*testing.T, bus.Bus)
	}{
		{"everybody gets what is published, in order", everybody},
		{"nobody gets what is not for them", subjects},
		{"a slow subscriber loses, nobody waits", slow},
		{"a closed subscription is quiet", quiet},
		{"what cannot be carried is refused", refused},
		{"a closed bus says so", closed},
		{"topics carry their type and nothing else", topics},
		{"many at once", many},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t)
			defer b.Close()
			c.test(t, b)
		})
	}
}

// inbox collects messages.
type inbox chan string

func (in inbox) take(body []byte) { in <- string(body) }

func (in inbox) next(t *testing.T) string {
	t.Helper()
	select {
	case m := <-in:
		return m
	case <-time.After(patience):
		t.Fatal("no message came")
		return ""
	}
}

func subscribe(t *testing.T, b bus.Bus, subject string, f func([]byte)) bus.Subscription {
	t.Helper()
	s, err := b.Subscribe(subject, f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func publish(t *testing.T, b bus.Bus, subject, body string) {
	t.Helper()
	if err := b.Publish(subject, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

func everybody(t *testing.T, b bus.Bus) {
	one, two := make(inbox, 200), make(inbox, 200)
	subscribe(t, b, "a.b", one.take)
	subscribe(t, b, "a.b", two.take)
	for n := range 100 {
		publish(t, b, "a.b", fmt.Sprint(n))
	}
	publish(t, b, "a.b", "")
	for _, in := range []inbox{one, two} {
		for n := range 100 {
			if m := in.next(t); m != fmt.Sprint(n) {
				t.Fatalf("message %d is %q", n, m)
			}
		}
		if m := in.next(t); m != "" {
			t.Errorf("an empty message is %q", m)
		}
	}
}

func subjects(t *testing.T, b bus.Bus) {
	in := make(inbox, 10)
	subscribe(t, b, "a.b", in.take)
	for _, other := range []string{"a", "a.b.c", "a.c", "b"} {
		publish(t, b, other, other)
	}
	publish(t, b, "a.b", "mine")
	if m := in.next(t); m != "mine" {
		t.Errorf("got %q", m)
	}
}

func slow(t *testing.T, b bus.Bus) {
	hold, fast := make(chan struct{}), make(inbox, 10)
	var first sync.Once
	begun := make(chan struct{})
	s := subscribe(t, b, "s", func([]byte) {
		first.Do(func() { close(begun) })
		<-hold
	})
	publish(t, b, "s", "x")
	<-begun
	for range 20_000 {
		publish(t, b, "s", "x")
	}
	subscribe(t, b, "f", fast.take)
	publish(t, b, "f", "still here")
	if m := fast.next(t); m != "still here" {
		t.Error(m)
	}
	deadline := time.After(patience)
	for s.Lost() == 0 {
		select {
		case <-deadline:
			t.Fatal("nothing is lost, so everything is kept")
		case <-time.After(time.Millisecond):
		}
	}
	close(hold)
}

func quiet(t *testing.T, b bus.Bus) {
	var mu sync.Mutex
	ended := false
	s := subscribe(t, b, "q", func([]byte) {
		mu.Lock()
		defer mu.Unlock()
		if ended {
			t.Error("called after Close")
		}
	})
	other := make(inbox, 10)
	subscribe(t, b, "q", other.take)
	publish(t, b, "q", "1")
	other.next(t)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	mu.Lock()
	ended = true
	mu.Unlock()
	publish(t, b, "q", "2")
	other.next(t)
	if err := s.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func refused(t *testing.T, b bus.Bus) {
	for _, subject := range []string{"", "a b", "a.*", ">", "a..b", ".a", "a.", strings.Repeat("a", 300)} {
		if err := b.Publish(subject, nil); err == nil {
			t.Errorf("published to %q", subject)
		}
		if _, err := b.Subscribe(subject, func([]byte) {}); err == nil {
			t.Errorf("subscribed to %q", subject)
		}
	}
	if err := b.Publish("a", make([]byte, bus.MaxBody+1)); err == nil {
		t.Error("published too much")
	}
	in := make(inbox, 1)
	subscribe(t, b, "a", in.take)
	publish(t, b, "a", strings.Repeat("x", bus.MaxBody))
	if m := in.next(t); len(m) != bus.MaxBody {
		t.Errorf("%d bytes of the largest message came", len(m))
	}
}

func closed(t *testing.T, b bus.Bus) {
	s := subscribe(t, b, "c", func([]byte) {})
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := b.Publish("c", nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("publish: %v", err)
	}
	if _, err := b.Subscribe("c", func([]byte) {}); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("subscribe: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func topics(t *testing.T, b bus.Bus) {
	in := make(chan bus.Change, 10)
	if _, err := bus.Changes().Subscribe(b, func(c bus.Change) { in <- c }); err != nil {
		t.Fatal(err)
	}
	publish(t, b, string(bus.Changes()), "no JSON")
	publish(t, b, string(bus.Changes()), `{"nouns":7}`)
	if err := bus.Changes().Publish(b, bus.Change{Whole: true}); err != nil {
		t.Fatal(err)
	}
	select {
	case c := <-in:
		if !c.Whole {
			t.Errorf("%+v", c)
		}
	case <-time.After(patience):
		t.Fatal("no message came")
	}
}

func many(t *testing.T, b bus.Bus) {
	const publishers, each = 8, 100
	in := make(inbox, publishers*each)
	subscribe(t, b, "m", in.take)
	var all sync.WaitGroup
	for range publishers {
		all.Go(func() {
			for range each {
				if err := b.Publish("m", []byte("x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for range publishers * each {
		in.next(t)
	}
}
