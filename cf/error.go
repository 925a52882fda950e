package cf

import (
	"errors"
	"fmt"
)

// Kind says what the caller can do about an error. The set is closed: append
// only, and never change what a kind means.
type Kind uint8

// The kinds of errors. Unknown is a bug or a broken machine, and is never
// explained to a tenant.
const (
	Unknown     Kind = iota
	Invalid          // the request cannot be right, whatever the state
	NotFound         // no such thing, or none the caller may see
	Exists           // a name or a pair is taken
	Conflict         // the state forbids it now
	Forbidden        // the caller is known and may not
	Exhausted        // a quota or a disk is full
	Unavailable      // a part that is needed does not answer
)

var kindNames = [...]string{"unknown", "invalid", "not found", "exists", "conflict", "forbidden", "exhausted", "unavailable"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Error is what fails across rooms: what was tried, what kind of failure it
// was, and the cause.
type Error struct {
	Op   string
	Kind Kind
	Err  error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Op + ": " + e.Kind.String()
	}
	return e.Op + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error whose cause is formatted as by fmt.Errorf.
func Errorf(op string, kind Kind, format string, args ...any) error {
	return &Error{Op: op, Kind: kind, Err: fmt.Errorf(format, args...)}
}

// KindOf finds the kind of the outermost Error in err's chain.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Unknown
}
