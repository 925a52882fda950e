package nats

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/dewpaas/dew/bus"
)

// Bus is a connection to NATS.
type Bus struct {
	conn   *nats.Conn
	server *server.Server // nil: elsewhere
}

var _ bus.Bus = (*Bus)(nil)

// maxQueue is how many messages wait for one subscriber.
const maxQueue = 1024

// readyTime bounds the start of a server in this process.
const readyTime = 30 * time.Second

// Embed starts a server in this process that nobody else can reach.
func Embed() (*Bus, error) {
	s, err := server.NewServer(&server.Options{ServerName: "dew", DontListen: true, NoSigs: true, NoLog: true, NoSystemAccount: true, MaxPayload: bus.MaxBody + 4096})
	if err != nil {
		return nil, fmt.Errorf("make the NATS server: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(readyTime) {
		s.Shutdown()
		return nil, errors.New("the NATS server in this process does not start")
	}
	b, err := connect("", nats.InProcessServer(s))
	if err != nil {
		s.Shutdown()
		return nil, err
	}
	b.server = s
	return b, nil
}

// Connect connects to servers elsewhere: URLs with commas between. credentials
// is a file with a user's token and key, or "".
func Connect(urls, credentials string) (*Bus, error) {
	var options []nats.Option
	if credentials != "" {
		options = append(options, nats.UserCredentials(credentials))
	}
	return connect(urls, options...)
}

func connect(urls string, more ...nats.Option) (*Bus, error) {
	conn, err := nats.Connect(urls, append(more, nats.Name("dew"), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1))...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return &Bus{conn: conn}, nil
}

// Publish implements bus.Bus.
func (b *Bus) Publish(subject string, body []byte) error {
	if err := bus.Check(subject, body); err != nil {
		return err
	}
	return told(b.conn.Publish(subject, body))
}

// told puts the client's errors in the words of the contract. While a connection
// is made anew messages are lost, which is no error.
func told(err error) error {
	switch {
	case errors.Is(err, nats.ErrConnectionClosed):
		return bus.ErrClosed
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		return nil
	}
	return err
}

// Subscribe implements bus.Bus.
func (b *Bus) Subscribe(subject string, f func([]byte)) (bus.Subscription, error) {
	if err := bus.Check(subject, nil); err != nil {
		return nil, err
	}
	s := &subscription{ended: make(chan struct{})}
	var err error
	s.nats, err = b.conn.Subscribe(subject, func(m *nats.Msg) { f(m.Data) })
	if err != nil {
		return nil, told(err)
	}
	s.nats.SetClosedHandler(func(string) { close(s.ended) })
	if err := s.nats.SetPendingLimits(maxQueue, maxQueue*bus.MaxBody); err != nil {
		return nil, told(err)
	}
	// Who has subscribed gets what is published from now on, wherever.
	return s, told(b.conn.Flush())
}

// Close implements bus.Bus.
func (b *Bus) Close() error {
	b.conn.Close()
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
	return nil
}

// subscription is one subscriber.
type subscription struct {
	nats  *nats.Subscription
	ended chan struct{}
}

// Close implements bus.Subscription.
func (s *subscription) Close() error {
	err := s.nats.Unsubscribe()
	<-s.ended
	if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrBadSubscription) {
		return nil
	}
	return err
}

// Lost implements bus.Subscription.
func (s *subscription) Lost() int64 {
	n, err := s.nats.Dropped()
	if err != nil {
		return 0
	}
	return int64(n)
}
