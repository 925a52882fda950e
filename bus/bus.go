package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// MaxBody bounds a message, in bytes. Larger ones are refused by Publish.
const MaxBody = 512 << 10

// Bus carries bytes by subject.
type Bus interface {
	// Publish sends a message to all who are subscribed to exactly this subject.
	Publish(subject string, body []byte) error
	// Subscribe calls f with each message, one after the other. The body is f's.
	Subscribe(subject string, f func(body []byte)) (Subscription, error)
	// Close ends all subscriptions. Publish and Subscribe fail afterwards.
	Close() error
}

// Subscription is one subscriber.
type Subscription interface {
	// Close returns when f is not running any more and will not be called again.
	Close() error
	// Lost is how many messages came faster than f took them.
	Lost() int64
}

// ErrClosed is returned by a bus that was closed.
var ErrClosed = errors.New("the bus is closed")

// Check refuses subjects and bodies that some bus could not carry.
func Check(subject string, body []byte) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	switch {
	case subject == "" || len(subject) > 200 || strings.Trim(subject, letters) != "" || strings.Contains("."+subject+".", ".."):
		return fmt.Errorf("subject %.80q: want words of letters, digits, '-' and '_' with dots between", subject)
	case len(body) > MaxBody:
		return fmt.Errorf("message of %d bytes for %s: want at most %d", len(body), subject, MaxBody)
	}
	return nil
}

// Topic is a subject whose messages are of one type, as JSON.
type Topic[T any] string

// Publish sends a message.
func (t Topic[T]) Publish(b Bus, message T) error {
	body, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("publish %s: %w", t, err)
	}
	return b.Publish(string(t), body)
}

// Subscribe calls f with each message of the topic. What is none is dropped.
func (t Topic[T]) Subscribe(b Bus, f func(T)) (Subscription, error) {
	return b.Subscribe(string(t), func(body []byte) {
		var message T
		if json.Unmarshal(body, &message) == nil {
			f(message)
		}
	})
}
