package nats

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
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

// Options say where NATS is.
type Options struct {
	URLs        string       // with commas between
	Credentials string       // a file with a user's token and key, or ""
	TLS         *tls.Config  // nil: as the URLs say
	Log         *slog.Logger // told when the connection breaks and comes back; nil: nobody is
}

// Connect connects to servers elsewhere. Servers that do not answer yet are no
// error: the connection is made when they do.
func Connect(o Options) (*Bus, error) {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	options := []nats.Option{nats.RetryOnFailedConnect(true), nats.ReconnectWait(time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("bus: the connection is lost; all goes on, more slowly, and log lines are lost", "err", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) { log.Info("bus: connected again", "to", c.ConnectedAddr()) }),
		nats.ConnectHandler(func(c *nats.Conn) { log.Info("bus: connected", "to", c.ConnectedAddr()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if !errors.Is(err, nats.ErrSlowConsumer) { // lost messages are counted
				log.Warn("bus: NATS complains", "err", err)
			}
		})}
	if o.Credentials != "" {
		options = append(options, nats.UserCredentials(o.Credentials))
	}
	if o.TLS != nil {
		options = append(options, nats.Secure(o.TLS))
	}
	b, err := connect(o.URLs, options...)
	if err == nil && !b.conn.IsConnected() {
		log.Warn("bus: NATS does not answer yet; all goes on, more slowly, and log lines are lost")
	}
	return b, err
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
	if !b.conn.IsConnected() {
		return s, nil // the subscription is made with the connection
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
