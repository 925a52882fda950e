package inprocess

import (
	"bytes"
	"sync"

	"github.com/dewpaas/dew/bus"
)

// maxQueue is how many messages wait for one subscriber.
const maxQueue = 1024

// Bus carries messages within the process.
type Bus struct {
	mu     sync.Mutex // guards all below
	closed bool
	all    map[string]map[*subscription]bool
}

var _ bus.Bus = (*Bus)(nil)

// New makes a bus.
func New() *Bus { return &Bus{all: map[string]map[*subscription]bool{}} }

// Publish implements bus.Bus.
func (b *Bus) Publish(subject string, body []byte) error {
	if err := bus.Check(subject, body); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return bus.ErrClosed
	}
	for s := range b.all[subject] {
		s.add(bytes.Clone(body))
	}
	return nil
}

// Subscribe implements bus.Bus.
func (b *Bus) Subscribe(subject string, f func([]byte)) (bus.Subscription, error) {
	if err := bus.Check(subject, nil); err != nil {
		return nil, err
	}
	s := &subscription{bus: b, subject: subject, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, bus.ErrClosed
	}
	if b.all[subject] == nil {
		b.all[subject] = map[*subscription]bool{}
	}
	b.all[subject][s] = true
	go s.run(f)
	return s, nil
}

// Close implements bus.Bus.
func (b *Bus) Close() error {
	b.mu.Lock()
	b.closed = true
	var all []*subscription
	for _, list := range b.all {
		for s := range list {
			all = append(all, s)
		}
	}
	b.mu.Unlock()
	for _, s := range all {
		s.Close()
	}
	return nil
}

// subscription is one subscriber.
type subscription struct {
	bus     *Bus
	subject string
	wake    chan struct{}
	stop    chan struct{}
	once    sync.Once
	done    chan struct{}

	mu    sync.Mutex // guards what follows
	queue [][]byte
	lost  int64
}

// add queues a message, or loses the oldest.
func (s *subscription) add(body []byte) {
	s.mu.Lock()
	if len(s.queue) == maxQueue {
		s.queue = s.queue[1:]
		s.lost++
	}
	s.queue = append(s.queue, body)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *subscription) run(f func([]byte)) {
	defer close(s.done)
	for {
		select {
		case <-s.stop:
			return
		case <-s.wake:
		}
		for body := s.take(); body != nil; body = s.take() {
			f(body)
		}
	}
}

// take returns the next message, or nil when there is none or the subscription
// has ended.
func (s *subscription) take() []byte {
	select {
	case <-s.stop:
		return nil
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil
	}
	body := s.queue[0]
	s.queue = s.queue[1:]
	if body == nil {
		body = []byte{}
	}
	return body
}

// Close implements bus.Subscription.
func (s *subscription) Close() error {
	s.once.Do(func() {
		s.bus.mu.Lock()
		delete(s.bus.all[s.subject], s)
		s.bus.mu.Unlock()
		close(s.stop)
	})
	<-s.done
	return nil
}

// Lost implements bus.Subscription.
func (s *subscription) Lost() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}
