package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func natsServer() Program {
	return Program{
		Name:    "nats-server",
		Package: "github.com/nats-io/nats-server/v2@v2.15.2",
		Args:    []string{"--addr", "0.0.0.0", "--port", "4222", "--jetstream", "--store_dir", "/tmp/nats"},
		Port:    4222,
		Checks: []Check{
			{"1,000 messages in order", natsPublish},
			{"request and reply", natsRequest},
			{"a stream on disk keeps what it was told", natsStream},
		},
	}
}

func natsConnect(ctx context.Context, addr string) (*nats.Conn, error) {
	wait := CheckTimeout
	if d, ok := ctx.Deadline(); ok {
		wait = time.Until(d)
	}
	return nats.Connect("nats://"+addr, nats.Timeout(wait), nats.NoReconnect())
}

func natsPublish(ctx context.Context, addr string) error {
	c, err := natsConnect(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	sub, err := c.SubscribeSync("dew.>")
	if err != nil {
		return err
	}
	const count = 1000
	for i := range count {
		if err := c.Publish("dew.count", fmt.Appendf(nil, "%d", i)); err != nil {
			return err
		}
	}
	for i := range count {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
		if string(m.Data) != fmt.Sprint(i) {
			return fmt.Errorf("message %d says %q", i, m.Data)
		}
	}
	return nil
}

func natsRequest(ctx context.Context, addr string) error {
	c, err := natsConnect(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Subscribe("twice", func(m *nats.Msg) { m.Respond(append(m.Data, m.Data...)) }); err != nil {
		return err
	}
	m, err := c.RequestWithContext(ctx, "twice", []byte("dew"))
	if err != nil {
		return err
	}
	if string(m.Data) != "dewdew" {
		return fmt.Errorf("reply %q", m.Data)
	}
	return nil
}

func natsStream(ctx context.Context, addr string) error {
	c, err := natsConnect(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	js, err := jetstream.New(c)
	if err != nil {
		return err
	}
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "drops", Subjects: []string{"drops.*"}})
	if err != nil {
		return err
	}
	for i := range 20 {
		if _, err := js.Publish(ctx, "drops.a", fmt.Appendf(nil, "drop %d", i)); err != nil {
			return fmt.Errorf("publish %d: %w", i, err)
		}
	}
	m, err := stream.GetMsg(ctx, 20)
	if err != nil {
		return err
	}
	if string(m.Data) != "drop 19" {
		return fmt.Errorf("message 20 says %q", m.Data)
	}
	return nil
}
